"""The daemon's exit codes, which tell a supervisor whether a restart can help."""

EXIT_OK = 0
EXIT_KEEPER_LOST = 70  # EX_SOFTWARE: the keeper dies whenever it is started
EXIT_STORAGE_FAILED = 74  # EX_IOERR of sysexits.h: a supervisor restarts flowd when the disk is well again
EXIT_NOT_YET = 75  # EX_TEMPFAIL: a supervisor tries again
EXIT_BAD_STATE = 78  # EX_CONFIG: a restart alone does not help
