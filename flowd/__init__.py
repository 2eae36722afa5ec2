"""flowd: a daemon that runs flow packages. Import light: the command line reads this for its version."""

__version__ = "0.1.0"
