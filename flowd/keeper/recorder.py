"""Records what all steps of a keeper print: drains their pipes as they fill, in the order in which they did.

How exact the order of two streams is: what we find in both at one look is one piece of each, that of the stream
written first before the other. A look takes 20 to 50 µs, so lines that are written further apart are in order.
"""

from __future__ import annotations

import os
import select

from flowd.keeper.pipes import Pipes, slots_in
from flowd.keeper.recording import AT_END, Recording
from flowd.keeper.standby import Standby
from flowd.keeper.turn import Turn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flowd.keeper.step import Step


class Recorder:
    """The recordings of a keeper's steps.

    Attributes:
        standby: The process that has the pipes open with us.
    """

    def __init__(
        self,
        directory: str,
        keeper_id: str,
        *,
        poll: select.poll,
        log: Callable[[str], None],
        epoll: bool,
        splice: bool,
    ) -> None:
        """Open what pipes are left of an earlier keeper. They are not drained before `take_over`.

        Args:
            directory: The keeper's.
            keeper_id: Ours.
            poll: Of the keeper's loop.
            epoll: Whether the system has it: it knows what became ready first, and a thousand pipes cost it nothing.
            splice: Whether the system moves bytes from a pipe to a file.
        """
        self._folder = os.path.join(directory, "pipes")
        self._poll = poll
        self._log = log
        self._epoll = select.epoll() if epoll else None
        if self._epoll is not None:
            poll.register(self._epoll.fileno(), select.POLLIN)
        self._can_splice = splice
        self._null_fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._turn = Turn(os.path.join(directory, "recording.lock"))
        self.standby = Standby(directory, keeper_id, self._turn)
        self._pipes = Pipes(self._folder, f"{keeper_id[7:]}-", on_made=self._on_made, on_removed=self.standby.drop)
        self._open_ends: dict[int, tuple[Recording, int]] = {}
        self._stuck: set[int] = set()
        self._has_failed = False
        for slot in slots_in(self._folder):
            try:
                self._pipes.adopt(slot)
            except OSError:
                self._pipes.remove(slot)  # half made

    # --- a step's life

    def take_slot(self) -> tuple[str, list[int]]:
        """A pair of pipes for a step, and the descriptors for its standard output and standard error; the caller closes
        them. Empty where there can be none: then it writes into its files."""
        try:
            return self._pipes.take()
        except OSError as error:
            if not self._has_failed:
                self._has_failed = True
                self._log(f"no pipes for a step's output, so it can cut what was recorded: {error}")
            return "", []

    def begin(self, step: Step) -> None:
        """Record a step that is about to start; its pipes are open for it."""
        step.recording = self._recording(step)
        self._watch(step.recording)

    def give_back(self, step: Step) -> None:
        """Take back the pipes of a step that was not started after all."""
        if step.recording is not None:
            step.recording.is_discarding = True
            self.end(step.recording, is_clean=False)
        elif step.slot:
            self._pipes.remove(step.slot)

    def end(self, recording: Recording, *, is_clean: bool) -> int:
        """Record what is still in the pipes of a step that has ended.

        Args:
            is_clean: Nothing of it lives. Otherwise what it prints from now on is thrown away.

        Returns:
            How many bytes could not be recorded, because the disk is full.
        """
        ends = self._ends(recording)
        for fd in self._stuck.intersection(ends):
            self._stuck.remove(fd)
            self._register(fd)
        self._drain(self._look(ends))
        recording.close()
        left = self._ends(recording)
        if left:
            lost_bytes = sum(recording.waiting_bytes(self._open_ends[fd][1]) for fd in self._stuck.intersection(left))
            recording.is_discarding = True
            return lost_bytes
        self._pipes.give_back(recording.slot) if is_clean else self._pipes.remove(recording.slot)
        return 0

    def drain_now(self, recording: Recording) -> None:
        """Record what is in the pipes of a step by now."""
        self._drain(self._look(self._ends(recording)))

    def take_over(self, steps: Iterable[Step]) -> None:
        """Record on for these steps of an earlier keeper; what others print, that were left alone, is thrown away."""
        if self._pipes.fds:
            self._start_standby()  # before the earlier one is killed: a step may end when we are, too
        self.standby.end_earlier()
        self.standby.alone()
        unclaimed = set(self._pipes.fds)
        for step in steps:
            if step.slot in unclaimed:
                unclaimed.remove(step.slot)
                step.recording = self._recording(step)
                step.recording.resume()
                self._watch_anew(step.recording)
        for slot in unclaimed:
            recording = Recording(slot, self._pipes.fds[slot], ("", ""), max_output_bytes=0, null_fd=self._null_fd)
            recording.is_discarding = True
            self._watch_anew(recording)

    # --- the loop

    def owns(self, fd: int) -> bool:
        """Whether what this descriptor reports is for `on_ready`."""
        return fd in self._open_ends or (self._epoll is not None and fd == self._epoll.fileno())

    def on_ready(self, fd: int, event: int) -> list[Recording]:
        """Drain what can be drained, and return the recordings that have grown."""
        return self._drain([(fd, event)] if self._epoll is None else self._epoll.poll(0))

    def retry(self) -> None:
        """Try again what could not be written."""
        for fd in self._stuck:
            self._register(fd)
        self._stuck.clear()

    def look_after_standby(self) -> None:
        """Have a standby while there are pipes."""
        if self.standby.has_died() or not self.standby.pid:
            self._start_standby()
            self.standby.alone()

    def close(self) -> None:
        """The keeper ends: remove the pipes, unless somebody who was left alone still prints into one."""
        used = {recording.slot for recording, _ in self._open_ends.values()}
        for slot in [slot for slot in self._pipes.fds if slot not in used]:
            self._pipes.remove(slot)
        if not used:
            self.standby.end()

    # --- inside

    def _recording(self, step: Step) -> Recording:
        return Recording(
            step.slot, self._pipes.fds[step.slot], step.paths, max_output_bytes=step.max_output_bytes,
            null_fd=self._null_fd, can_splice=self._can_splice,
        )  # fmt: skip

    def _start_standby(self) -> None:
        try:
            self.standby.start(self._pipes.fds)
        except OSError as error:
            self._log(f"no standby: {error}")

    def _on_made(self, slot: str) -> None:
        if self.standby.pid:
            self.standby.hold(slot, self._pipes.fds[slot])
        else:
            self.look_after_standby()

    def _watch(self, recording: Recording) -> None:
        for number, fd in enumerate(self._pipes.fds[recording.slot]):
            self._open_ends[fd] = recording, number
            self._register(fd)

    def _watch_anew(self, recording: Recording) -> None:
        """Watch pipes that may have no writer any more, of which polling says nothing to who has just opened them."""
        self._watch(recording)
        self._drain([(fd, select.POLLIN) for fd in self._ends(recording)])

    def _look(self, fds: list[int]) -> list[tuple[int, int]]:
        """What is ready among these pipes, and in which way; that first which became ready first."""
        if not fds:
            return []
        if self._epoll is not None:
            return [found for found in self._epoll.poll(0) if found[0] in fds]
        poll = select.poll()
        for fd in fds:
            poll.register(fd, select.POLLIN)
        return poll.poll(0)

    def _drain(self, ready: Iterable[tuple[int, int]]) -> list[Recording]:
        if self._turn.take():
            self._resume_all()
        try:
            grown = [self._drain_one(fd, event) for fd, event in ready]
            return [recording for recording in grown if recording is not None]
        finally:
            self._turn.over()

    def _resume_all(self) -> None:
        """The standby has drained: the files are where it has left them."""
        for recording in {recording for recording, _ in self._open_ends.values()}:
            if not recording.is_discarding:
                recording.close()
                recording.resume()

    def _drain_one(self, fd: int, event: int) -> Recording | None:
        if fd not in self._open_ends:
            return None
        recording, number = self._open_ends[fd]
        has_grown = False
        moved = AT_END
        try:
            if event & select.POLLIN or recording.has_pending(number):
                moved = recording.drain(number)
                has_grown = moved > 0
            while moved > 0 and (event & select.POLLHUP or recording.has_pending(number)):
                moved = recording.drain(number)
        except OSError:
            moved = 0
            self._unregister(fd)
            self._stuck.add(fd)
        if moved == AT_END:
            self._forget(fd)
            if recording.is_discarding and not self._ends(recording):
                self._pipes.remove(recording.slot)
        return recording if has_grown else None

    def _ends(self, recording: Recording) -> list[int]:
        """Its pipes that somebody may still write into."""
        return [fd for fd in self._pipes.fds.get(recording.slot, ()) if fd in self._open_ends]

    def _forget(self, fd: int) -> None:
        if fd not in self._stuck:
            self._unregister(fd)
        self._stuck.discard(fd)
        del self._open_ends[fd]

    def _register(self, fd: int) -> None:
        (self._epoll or self._poll).register(fd, 1)  # POLLIN and EPOLLIN

    def _unregister(self, fd: int) -> None:
        (self._epoll or self._poll).unregister(fd)
