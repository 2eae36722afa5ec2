"""The executor ``systemd``: each attempt is a transient service of a systemd manager, the parent of all steps."""
