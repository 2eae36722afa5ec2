"""The attempts that run as units, by id and by their units' objects on the bus."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from flowd.domain.exit import Exit
from flowd.domain.launching import KeeperLostError
from flowd.executors.systemd.bus import unit_path
from flowd.executors.systemd.unit_records import UnitRecord
from flowd.executors.tracked import TrackedAttempt
from flowd.keeper import output_limit


class TrackedUnit(TrackedAttempt):
    """An attempt that runs as a unit, or has ended and is not forgotten.

    Attributes:
        changed: Set when systemd reports a change of the unit, or none will be reported any more.
        shrunk: The streams whose files were cut while it ran, as far as that was seen.
        kill_timer: Runs between a stop and its SIGKILL, where that is to come sooner than the unit's own.
    """

    __slots__ = ("_sizes", "changed", "kill_timer", "record", "shrunk")

    def __init__(self, record: UnitRecord) -> None:
        super().__init__()
        self.record = record
        self.changed = asyncio.Event()
        self.kill_timer: asyncio.TimerHandle | None = None
        self.shrunk: list[str] = []
        self._sizes = [0, 0]

    @property
    def path(self) -> str:
        """The unit's object on the bus."""
        return unit_path(self.record.unit)

    @property
    def output_paths(self) -> tuple[str, str]:
        """The files of both streams."""
        return self.record.stdout_path, self.record.stderr_path

    def look_at_output(self) -> int:
        """The size of the larger output file; notes which of them shrank since the last look."""
        sizes = [output_limit.size_bytes([path]) for path in self.output_paths]
        for stream, before, size in zip(("stdout", "stderr"), self._sizes, sizes, strict=True):
            if size < before and stream not in self.shrunk:
                self.shrunk.append(stream)
        self._sizes = sizes
        return max(sizes)

    def remove_output(self) -> None:
        """Remove both output files, because nothing ran."""
        for path in self.output_paths:
            Path(path).unlink(missing_ok=True)

    def end(self, exit_: Exit) -> None:
        """Report its end. The first one stays."""
        if self.kill_timer is not None:
            self.kill_timer.cancel()
        super().end(exit_)

    def fail(self, error: KeeperLostError) -> None:
        """Its end will not be reported: every waiting call raises this."""
        super().fail(error)
        self.changed.set()


class TrackedUnits:
    """All attempts that were begun and are not forgotten."""

    def __init__(self) -> None:
        self._by_id: dict[str, TrackedUnit] = {}
        self._by_path: dict[str, TrackedUnit] = {}

    def __iter__(self) -> Iterator[TrackedUnit]:
        return iter(tuple(self._by_id.values()))

    def get(self, attempt_id: str) -> TrackedUnit | None:
        """An attempt; None where it was never begun, or is forgotten."""
        return self._by_id.get(attempt_id)

    def add(self, unit: TrackedUnit) -> None:
        """Track an attempt. From now on `on_changed` finds it."""
        self._by_id[unit.record.id] = unit
        self._by_path[unit.path] = unit

    def remove(self, unit: TrackedUnit) -> None:
        """Forget an attempt."""
        self._by_id.pop(unit.record.id, None)
        self._by_path.pop(unit.path, None)

    def rename(self, unit: TrackedUnit, name: str) -> None:
        """Give an attempt's unit another name."""
        self.remove(unit)
        unit.record.unit = name
        self.add(unit)

    def running(self) -> list[TrackedUnit]:
        """Those whose ends have not been reported."""
        return [unit for unit in self._by_id.values() if unit.is_running]

    def on_changed(self, path: str) -> None:
        """systemd reports that the unit at this object has changed."""
        unit = self._by_path.get(path)
        if unit is not None:
            unit.changed.set()
