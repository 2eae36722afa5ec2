"""Reads ``delay_ms``, ``queue_timeout_ms`` and ``[steps.debounce]``. A time that was misread would start a step too
early or never, so every mistake is an error."""

from flowd.catalog.concurrency import read_pointers
from flowd.catalog.table import Table
from flowd.domain.timing import Debounce


def read_delay(step: Table) -> int:
    """How long a step waits; 0 unless it says otherwise.

    What is no whole number of milliseconds up to a year is an error.
    """
    return step.integer("delay_ms")


def read_queue_timeout(step: Table) -> int | None:
    """How long a step's runs may wait for their turn; None for as long as it takes.

    What is no whole number of milliseconds up to a year is an error.
    """
    if "queue_timeout_ms" not in step.values:
        return None
    return step.integer("queue_timeout_ms")


def read_debounce(step: Table) -> Debounce | None:
    """The quiet that a step waits for; None when it waits for none.

    Raises:
        ManifestError: A member is missing, unknown, or has a value that cannot be used; or the step has needs, or a
            delay.
    """
    table = step.needed_table("debounce")
    if table is None:
        return None
    table.refuse_unknown("debounce has the unknown key")
    if step.values.get("needs"):
        step.fail(
            "debounce",
            "debounce counts events, and a step with needs starts when those have ended",
            "Give it to the step that the event starts, or remove needs.",
        )
    if step.values.get("delay_ms"):
        step.fail("delay_ms", "delay_ms goes without debounce, whose quiet_ms waits already", "Remove one of them.")
    if "quiet_ms" not in table.values:
        table.fail(
            "quiet_ms",
            "debounce needs quiet_ms",
            "Add quiet_ms = 2000, or remove the debounce table.",
            code="missing-key",
        )
    quiet_ms = table.integer("quiet_ms")
    max_ms = table.integer("max_ms", low=quiet_ms) if "max_ms" in table.values else None
    return Debounce(quiet_ms, max_ms, table.tried((), read_pointers, table, "debounce"))
