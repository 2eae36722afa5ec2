"""Finds the workspace of a command and the socket of its daemon."""

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from flowd.cli.exits import CommandError, Exit, tell
from flowd.domain.errors import StateError
from flowd_client.discovery import (
    REHEARSAL,
    STEP_WORKSPACE,
    find_socket,
    find_workspace,
    is_in_step,
    is_workspace,
    meant_for,
    state_dir,
    workspace_of,
)
from flowd_client.errors import DaemonNotRunningError
from flowd_client.methods import STATUS

if TYPE_CHECKING:
    from flowd.cli.silence import TellingTransport
    from flowd_client.request import Request

T = TypeVar("T")

RESPONSE_S = 30.0
"""How long the daemon may take for a response that waits for nothing on purpose."""

_SOCKET_WITHIN_S = 4.0
"""A daemon looks every second whether its socket is there."""
_LOOK_INTERVAL_S = 0.1


class Session:
    """One invocation of the command line."""

    def __init__(self) -> None:
        self._workspace: Path | None = None
        self._socket: Path | None = None
        self._is_vouched = False

    def choose_workspace(self, value: str) -> None:
        """The ``-w`` option; taken as it is, without looking upwards."""
        self._workspace = Path(value).expanduser().absolute()

    def choose_socket(self, value: str) -> None:
        """The ``--socket`` option."""
        self._socket = Path(value).expanduser().absolute()

    @property
    def chosen_workspace(self) -> Path | None:
        """The ``-w`` option, None when it was not given."""
        return self._workspace

    @property
    def chosen_socket(self) -> Path | None:
        """The ``--socket`` option, None when it was not given."""
        return self._socket

    @cached_property
    def place(self) -> Path:
        """The workspace, absolute, whoever can write to it: for those who only name it, or judge that themselves."""
        return self._workspace or find_workspace()

    @cached_property
    def workspace(self) -> Path:
        """The workspace, absolute.

        Raises:
            CommandError: Another user can write to it, and nobody has vouched for it.
        """
        self._require_trust(is_running=True)
        return self.place

    def vouch(self) -> None:
        """Talk to the workspace's daemon whoever can write to the workspace."""
        self._is_vouched = True

    def _require_trust(self, *, is_running: bool) -> None:
        """Check that the workspace is the caller's own word, so that its settings may be taken, or its packages run."""
        from flowd.state import trust  # noqa: PLC0415 - `--version` does without

        try:
            if not (self._is_vouched or (not is_running and trust.is_service_of_root(self.place))):
                trust.require(self.place)
        except StateError as error:
            raise CommandError(error.message, Exit.REFUSED) from error

    @cached_property
    def socket_path(self) -> Path:
        """Where its daemon listens."""
        if self._socket is not None:
            return self._socket
        is_named = self._workspace is not None
        environ = meant_for(self.place.resolve()) if is_named else os.environ
        if not environ.get("FLOWD_SOCKET"):
            self._require_trust(is_running=False)
        elif not is_named:
            self._tell_whose(Path(environ["FLOWD_SOCKET"]))
        return find_socket(self.place, is_named=is_named)

    def _tell_whose(self, socket: Path) -> None:
        """Say whose daemon it is where the environment decides, and another workspace is around us."""
        told = os.environ.get(STEP_WORKSPACE)
        whose = Path(told) if told and is_in_step() else workspace_of(socket)
        if whose != self.place.resolve() and is_workspace(self.place):
            of = f"the daemon of {whose}" if whose else f"the daemon at {socket}"
            meant = shlex.quote(str(self.place))
            tell(f"FLOWD_SOCKET decides: this is {of}, not of {self.place}. -w {meant} means that.")

    def typed(self, *words: str, **options: str | int | Sequence[str] | None) -> str:
        """A flowd command line for the same daemon, with the ``-w`` and ``--socket`` of this one.

        Args:
            words: The verb and its arguments.
            options: Long options in their order; those that are None or False are left out, True is a flag's, and a
                list repeats its own.
        """
        line = ["flowd", *words]
        if self._workspace is not None:
            line += ["-w", str(self._workspace)]
        if self._socket is not None:
            line += ["--socket", str(self._socket)]
        for name, value in options.items():
            if value is True:
                line.append(f"--{name}")
            elif value is not None and value is not False:
                each = [str(value)] if isinstance(value, str | int) else value
                line += [word for one in each for word in (f"--{name}", one)]
        return shlex.join(line)

    @cached_property
    def transport(self) -> "TellingTransport":
        """To the daemon. Says on stderr when that is silent."""
        from flowd.cli.silence import TellingTransport  # noqa: PLC0415 - 5 ms that `--version` does not pay

        return TellingTransport(lambda: self.socket_path)

    def ask(self, request: "Request[T]") -> Any:
        """The daemon's response exactly as it came; ``request.read`` makes a view of it.

        Raises:
            FlowClientError: Any of its tree.
        """
        timeout_s = request.timeout_s(RESPONSE_S)
        try:
            return self.transport.call(request.method, request.params, timeout_s=timeout_s)
        except DaemonNotRunningError as error:
            pid = self._daemon_pid()
            if pid is None:
                raise
            self._wait_for_socket(pid, error)
        return self.transport.call(request.method, request.params, timeout_s=timeout_s)

    def _daemon_pid(self) -> str | None:
        """The process that has the lock of the workspace's state; None where nobody has."""
        if self._socket is not None or os.environ.get("FLOWD_SOCKET") or os.environ.get(REHEARSAL):
            return None
        from flowd.state.folder import LOCK  # noqa: PLC0415 - only when there is trouble
        from flowd.state.lock import holder, is_locked  # noqa: PLC0415 - only when there is trouble

        lock = state_dir(self.place) / LOCK
        try:
            return holder(lock) if is_locked(lock) else None
        except OSError:
            return None

    def _wait_for_socket(self, pid: str, error: DaemonNotRunningError) -> None:
        """Return when the daemon listens: it has just been started, or its socket was removed and it binds it anew.

        Raises:
            DaemonNotRunningError: It does not.
        """
        deadline_s = time.monotonic() + _SOCKET_WITHIN_S
        while time.monotonic() < deadline_s:
            time.sleep(_LOOK_INTERVAL_S)
            self.__dict__.pop("socket_path", None)  # it may be elsewhere by now
            with suppress(DaemonNotRunningError):
                self.transport.call(STATUS, {}, timeout_s=RESPONSE_S)
                return
        raise DaemonNotRunningError(
            f"A daemon (pid {pid}) serves this workspace, but nothing listens at {self.socket_path}. Its log says why; "
            f"to start anew: kill {pid}, then `flowd serve`.",
            socket_path=str(self.socket_path),
        ) from error

    def view(self, request: "Request[T]") -> T:
        """The daemon's response as a view."""
        return request.read(self.ask(request))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if "transport" in self.__dict__:
            self.transport.close()
