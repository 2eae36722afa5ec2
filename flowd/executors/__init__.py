"""What starts and ends steps for the daemon: two executors with one contract (`flowd.ports.Keeper`).

In ``direct`` a keeper process is the parent of all steps; in ``systemd`` a systemd manager starts each as a unit.
What both need is here, beside their folders. Neither imports the other.
"""
