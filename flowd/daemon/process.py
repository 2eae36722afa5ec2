"""Makes this process the daemon of a workspace: its log, the lock on the state folder, and the exit code."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable

from flowd.daemon import refusing
from flowd.daemon.exits import EXIT_BAD_STATE, EXIT_NOT_YET, EXIT_STORAGE_FAILED
from flowd.daemon.life import Daemon
from flowd.domain.errors import NotYetError, StateError, StorageFailedError
from flowd.domain.redaction import Redactor
from flowd.formats.terminal import escaped
from flowd.observe import logs, stream
from flowd.observe.sdnotify import Notifier
from flowd.service import parents
from flowd.settings import unknown
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.state.lock import Lock

log = logging.getLogger("flowd.daemon")


def serve(settings: Settings, read_settings: Callable[[], Settings]) -> int:
    """Run the daemon until it is told to stop; return the process's exit code. ``read_settings`` reads them anew."""
    redactor = Redactor(settings.redact, os.environ)
    redactor.learn_values(settings.store.passwords if settings.store else ())
    logs.configure(settings.log_format, settings.log_level, redactor.text)  # type: ignore[arg-type]
    for sentence in (*(doubt.sentence() for doubt in settings.doubts), *unknown.find(os.environ, settings)):
        log.warning(sentence)
    if settings.link_sentence:
        log.warning(settings.link_sentence, extra={"remedy": settings.link_remedy})
    if settings.closed_sentence:
        log.warning(settings.closed_sentence)
    try:
        parents.refuse_in_unit(settings.state_dir, os.environ)
        state_folder.prepare(settings.state_dir, settings.workspace)
        with Lock(settings.state_dir):
            sys.setswitchinterval(0.0005)
            return asyncio.run(Daemon(settings, redactor, read_settings).run())
    except NotYetError as error:
        _say(error.message)
        return EXIT_NOT_YET
    except StateError as error:
        # One line for people; no traceback, because nothing is wrong with flowd itself.
        _say(error.message)
        turn_away(error)
        return EXIT_STORAGE_FAILED if state_folder.is_disk_failure(error) else EXIT_BAD_STATE
    except ExceptionGroup as group:  # of the tasks that take up what an earlier daemon left
        if not isinstance(failure := group.exceptions[0], StorageFailedError):
            raise
        _say(failure.message)
        return EXIT_STORAGE_FAILED


def turn_away(error: StateError) -> None:
    """Tell systemd, and callers who wait at its sockets, why nothing will serve them for now."""
    notifier = Notifier.of(os.environ)
    notifier.status(f"cannot serve: {' '.join(error.message.split())}")  # it is one line
    refusing.turn_away(error)


def _say(message: str) -> None:
    """One line for people, unless nobody takes it."""
    if stream.is_writable(sys.stderr):
        print(f"flowd: {escaped(message)}", file=sys.stderr)  # noqa: T201
