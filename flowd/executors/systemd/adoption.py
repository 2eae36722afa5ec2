"""Takes up an attempt that an earlier daemon has left, by its record on disk and by what systemd knows of its unit."""

import logging

from flowd.domain.exit import Exit
from flowd.executors.exit_facts import exit_of
from flowd.executors.systemd.bus import BusError, Manager
from flowd.executors.systemd.tracked_unit import TrackedUnit
from flowd.executors.systemd.unit_records import UnitRecord, UnitRecords

log = logging.getLogger("flowd.units")


async def adopt(manager: Manager, record: UnitRecord, records: UnitRecords, *, boot_id: str) -> TrackedUnit | None:
    """The attempt of a record: one that has ended, or one that is to be followed to its end.

    Returns:
        None where no process of it was ever started; nothing is left of it then.

    Raises:
        BusError: systemd does not answer.
    """
    unit = TrackedUnit(record)
    if record.exit is not None:
        unit.end(exit_of(record.exit))
    elif record.boot_id != boot_id:
        unit.end(Exit())  # units do not outlive a boot
    else:
        about = await manager.describe_at(unit.path)
        if about["LoadState"] == "not-found" and not record.is_started and record.cause is None:
            # systemd was never asked: what it starts stays until we have read its end.
            records.remove(record.id)
            unit.remove_output()
            return None
        await _reference(manager, record.unit)
    return unit


async def _reference(manager: Manager, unit: str) -> None:
    """Keep systemd from forgetting a unit before we have read how it ended."""
    try:
        await manager.ref(unit)
    except BusError as error:
        if error.is_lost:
            raise
        # The end of this one may be forgotten; that is no reason to leave all others alone.
        log.warning("unit cannot be held", extra={"unit": unit, "error": str(error)})
