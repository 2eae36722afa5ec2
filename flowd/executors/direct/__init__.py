"""The executor ``direct``: the daemon's side of the keeper process (`flowd.keeper`), the parent of all steps."""
