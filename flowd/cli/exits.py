"""The exit codes, and how a failure becomes one line on stderr."""

import os
import sys
from enum import IntEnum
from typing import TextIO

from flowd.formats.terminal import escaped
from flowd_client.errors import CallError, FlowClientError, InvalidCallError, NotFoundError, UntrustedDaemonError


class Exit(IntEnum):
    """The exit codes that scripts may rely on."""

    GOOD = 0
    RUN_FAILED = 1
    """Under --wait a run ended failed, canceled, blocked or needing intervention, or had not ended in time."""
    USAGE = 2
    """The command line, a file it names, or the event is wrong."""
    NO_DAEMON = 3
    """No daemon listens, or the connection to it was lost or too slow."""
    NOT_FOUND = 4
    REFUSED = 5
    """The daemon declined for any other reason."""
    FAULT = 70
    """A fault in flowd itself (EX_SOFTWARE)."""
    NO_OUTPUT = 74
    """What it has to say cannot be written, to a full disk say (EX_IOERR)."""
    NOT_YET = 75
    """A daemon that systemd runs finds no workspace; another start may find it (EX_TEMPFAIL)."""
    CONFIG = 78
    """The daemon cannot start with its settings or state as they are (EX_CONFIG)."""
    INTERRUPTED = 130
    """Ctrl-C (128 + SIGINT)."""
    BROKEN_PIPE = 141
    """The reader of our output went away (128 + SIGPIPE)."""


class CommandError(Exception):
    """A failure of the command itself, with its exit code."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def code_of(error: FlowClientError) -> Exit:
    """The exit code for a client's error."""
    match error:
        case NotFoundError():
            return Exit.NOT_FOUND
        case InvalidCallError():
            return Exit.USAGE
        case CallError() | UntrustedDaemonError():
            return Exit.REFUSED
        case _:
            return Exit.NO_DAEMON


def tell(message: str) -> None:
    """Print one line on stderr, ``flowd: …``. It is no error when nobody reads stderr."""
    try:
        print("flowd:", escaped(" ".join(message.split())), file=sys.stderr, flush=True)
    except OSError:
        discard(sys.stderr)


def let_go(*streams: TextIO) -> None:
    """Write what is left in these streams, or drop it: at its exit, the interpreter would make our exit code 120."""
    for stream in streams:
        try:
            stream.flush()
        except OSError:
            discard(stream)


def discard(stream: TextIO) -> None:
    """Discard what a broken stream still holds: the interpreter would fail on it at its exit."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, stream.fileno())
    os.close(devnull)
