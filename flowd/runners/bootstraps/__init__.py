"""The programs that run module-style steps. Files to be started by an interpreter, never imported by flowd."""
