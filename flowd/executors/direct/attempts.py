"""The attempts under a keeper, as the daemon knows them: brought in line with every keeper, changed by its frames."""

import errno
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from flowd.domain.exit import Exit
from flowd.domain.launching import BusyStartError, KeeperLostError, Launch, LeaseOverError, NoRoomError, SpawnError
from flowd.executors.direct.attempt import KeeperAttempt
from flowd.executors.direct.refusals import refusal_message
from flowd.executors.exit_facts import exit_of
from flowd.executors.own_files import PASSING
from flowd.keeper.protocol import encode

_ON_DISK = frozenset({"journal", "stdin", "stdout", "stderr"})
"""What a start writes to the state folder's disk; elsewhere, a full disk is the step's own trouble."""
_PROGRAM = frozenset({"program", "resource"})


class KeeperAttempts:
    """All attempts that were begun and are not forgotten, by id."""

    def __init__(self, send: Callable[[bytes], bool], *, can_pidfd: bool) -> None:
        """None is known yet.

        Args:
            send: Sends a frame to the keeper; without a connection it drops the frame and returns False.
            can_pidfd: Whether to hold the leaders of steps by pidfds.
        """
        self._send = send
        self._can_pidfd = can_pidfd
        self._known: dict[str, KeeperAttempt] = {}
        self._unsent_forgets: list[str] = []

    def get(self, attempt_id: str) -> KeeperAttempt | None:
        """An attempt; None where it was never begun, or is forgotten."""
        return self._known.get(attempt_id)

    def begin(self, launch: Launch) -> KeeperAttempt:
        """The attempt to start, or one that was started before."""
        attempt = self._known.setdefault(launch.attempt_id, KeeperAttempt())
        attempt.grace_s, attempt.lease_until_s = launch.grace_s, launch.lease_until_s
        return attempt

    def lease(self, until_s: Mapping[str, float]) -> None:
        """Tell the keeper how long those of these that run may run; the next keeper is told as well."""
        held = {attempt_id: at_s for attempt_id, at_s in until_s.items() if self._is_running(attempt_id)}
        for attempt_id, at_s in held.items():
            self._known[attempt_id].lease_until_s = at_s
        if held:
            self._send(encode({"op": "lease", "until_s": held}))

    def running(self) -> Iterator[KeeperAttempt]:
        """Those whose ends have not been reported."""
        return (attempt for attempt in self._known.values() if attempt.is_running)

    def is_idle(self) -> bool:
        """Whether there is none that runs, is being started, or has ended and is not forgotten by the keeper."""
        return not self._known and not self._unsent_forgets

    def pidfds(self) -> dict[str, int]:
        """The pidfds of the leaders that we hold, by attempt."""
        return {attempt_id: attempt.pidfd for attempt_id, attempt in self._known.items() if attempt.pidfd >= 0}

    def forget(self, attempt_id: str) -> None:
        """Forget an attempt that has ended. `send_forgets` is due then: many are sent together."""
        attempt = self._known.get(attempt_id)
        if attempt is not None and not attempt.is_running:
            del self._known[attempt_id]
            self._unsent_forgets.append(attempt_id)

    def send_forgets(self) -> None:
        """Have the keeper forget what we have forgotten. Without a connection, the next keeper will."""
        if self._unsent_forgets and self._send(encode({"op": "forget", "ids": self._unsent_forgets})):
            self._unsent_forgets = []

    # --- a keeper is there, or is gone

    def reconcile(self, records: list[dict[str, Any]], *, is_first: bool) -> int:
        """Bring what we know in line with all that a keeper knows, and repeat what the last one may not have done.

        Returns:
            How many steps run under it.
        """
        if not is_first:
            # We knew them all, so we have forgotten what we do not know, and the keeper died before it did.
            strange = [record["id"] for record in records if record["id"] not in self._known]
            self._unsent_forgets += [attempt_id for attempt_id in strange if attempt_id not in self._unsent_forgets]
        forgotten = set(self._unsent_forgets)
        known = {record["id"]: record for record in records if record["id"] not in forgotten}
        for attempt_id, record in known.items():
            attempt = self._known.setdefault(attempt_id, KeeperAttempt())
            if record["state"] == "exited":
                attempt.end(exit_of(record))
            elif attempt.is_running:
                self._hold(attempt, record["pid"], record["start"])
        for attempt_id in [attempt_id for attempt_id in self._known if attempt_id not in known]:
            self._is_missing(attempt_id)
        for attempt in self.running():
            if attempt.stop_request is not None:
                self._send(encode(attempt.stop_request))
        self.lease(self._leases())
        self.send_forgets()
        return sum(record["state"] == "running" for record in known.values())

    def _is_running(self, attempt_id: str) -> bool:
        attempt = self._known.get(attempt_id)
        return attempt is not None and attempt.is_running

    def _leases(self) -> dict[str, float]:
        return {name: known.lease_until_s for name, known in self._known.items() if known.lease_until_s is not None}

    def _is_missing(self, attempt_id: str) -> None:
        """The keeper does not know an attempt of ours: it was never begun, or its record is lost with the journal."""
        attempt = self._known[attempt_id]
        if not attempt.was_started:
            del self._known[attempt_id]
        attempt.end(Exit())

    def fail_starts(self, error: KeeperLostError) -> None:
        """The keeper has died: starts without a reply fail. What runs goes on, and the next keeper reports its end."""
        for attempt in self._known.values():
            attempt.reply(error)

    def fail(self, error: KeeperLostError) -> None:
        """Nothing will be reported any more: every waiting call raises this."""
        for attempt in self._known.values():
            attempt.fail(error)

    def close(self) -> None:
        """Close the pidfds."""
        for attempt in self._known.values():
            attempt.close()

    # --- what the keeper says

    def on_frames(self, frames: list[tuple[dict[str, Any], bytes]]) -> None:
        """Take in the frames of one read."""
        started = []
        for header, _ in frames:
            match header["op"]:
                case "started":
                    started.append(header)
                    self._reply(header["id"], header["pid"])
                case "exited":
                    self._known.setdefault(header["id"], KeeperAttempt()).end(exit_of(header))
                case "refused":
                    self._refused(header)
                case "bad":
                    self._reply(header.get("id"), KeeperLostError(f"The keeper failed: {header.get('error')}"))
                case _:
                    pass  # of a newer keeper
        for header in started:  # after the exits, so that a step that has ended already costs no pidfd
            attempt = self._known.get(header["id"])
            if attempt is not None:
                self._hold(attempt, header["pid"], header["start"])

    def _reply(self, attempt_id: Any, result: int | Exception) -> None:
        attempt = self._known.get(attempt_id)
        if attempt is not None:
            attempt.reply(result)

    def _refused(self, header: Mapping[str, Any]) -> None:
        attempt = self._known.pop(header["id"], None)
        if attempt is not None:
            attempt.reply(_refusal(header))
            attempt.end(Exit())

    def _hold(self, attempt: KeeperAttempt, pid: int, start: int) -> None:
        attempt.was_started = True
        if self._can_pidfd and pid and attempt.is_running:
            attempt.hold(pid, start)


def _refusal(header: Mapping[str, Any]) -> SpawnError:
    number, message = header.get("errno"), refusal_message(header)
    if header["what"] == "lease":
        return LeaseOverError(message)
    if header["what"] in _ON_DISK and number in PASSING:
        return NoRoomError(message)
    if header["what"] in _PROGRAM and number in (errno.ETXTBSY, errno.EAGAIN):
        return BusyStartError(message, is_shortage=number == errno.EAGAIN)
    return SpawnError(message)
