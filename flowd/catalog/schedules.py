"""Reads ``[[schedules]]``. One that was misread would come at another hour, or never, so every mistake is an error."""

from collections.abc import Sequence
from typing import get_args

from flowd.catalog.json_values import json_value
from flowd.catalog.table import Table, kind_of
from flowd.domain import schedule
from flowd.domain.event import MAX_ID_CHARS, MAX_TYPE_CHARS
from flowd.domain.flow import Flow, Snapshot
from flowd.domain.schedule import CatchUp, Schedule
from flowd.formats import cron
from flowd.formats.guesses import near_word

_WAYS: tuple[CatchUp, ...] = get_args(CatchUp)


def read_schedules(manifest: Table, flow: str) -> tuple[Schedule, ...]:
    """The schedules of a flow, in the order of the manifest.

    Raises:
        ManifestError: One of them cannot be used, or never comes.
    """
    values = manifest.values.get("schedules", [])
    if not isinstance(values, list):
        manifest.fail(
            "schedules",
            f"schedules must be a list, got {kind_of(values)}",
            "Write each under [[schedules]], with two brackets on each side.",
        )
    found: dict[str, Schedule] = {}
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            remedy = "Write it under [[schedules]]."
            manifest.fail("schedules", f"schedule {index + 1} must be a table, got {kind_of(value)}", remedy)
        table = manifest.part(value, ("schedules", index), f"schedule {index + 1}", "schedule")
        read = table.tried(None, _schedule, table, flow)
        if read is None:
            continue
        if read.name in found:
            message = "another schedule of this flow has the same name"
            table.error("name", message, "Rename one.", code="duplicate-name")
        found[read.name] = read
    return tuple(found.values())


def _schedule(table: Table, flow: str) -> Schedule:
    name = table.needed_string("name")
    table.label = f'schedule "{name}"' if name.isprintable() and len(name) <= 60 else table.label
    if len(schedule.event_id(flow, name, 0)) > MAX_ID_CHARS:
        table.fail("name", "name is too long: ids of events are made of it and the flow's name", "Shorten one.")
    table.refuse_unknown("schedules have no key")
    zone = table.tried("UTC", read_timezone, table)
    return Schedule(
        name,
        table.tried("", _cron, table, zone),
        table.tried("", _type, table),
        zone,
        table.tried({}, json_value, table, table.values.get("payload", {}), "payload"),
        read_catch_up(table),
    )


def _cron(table: Table, zone: str) -> str:
    expression = table.needed_string("cron")
    try:
        cron.read_cron(expression, zone)
    except cron.CronError as error:
        table.fail("cron", f"cron {kind_of(expression)} {error.message}", error.remedy)
    return expression


def _type(table: Table) -> str:
    event_type = table.needed_string("type")
    if len(event_type) > MAX_TYPE_CHARS:
        table.fail("type", f"type is longer than {MAX_TYPE_CHARS} characters", "Give it a short name.")
    return event_type


def read_timezone(table: Table) -> str:
    """By whose clock a cron is meant.

    Raises:
        ManifestError: There is no such zone.
    """
    if "timezone" not in table.values:
        return "UTC"
    zone = table.needed_string("timezone", example='"Europe/Berlin"')
    try:
        cron.read_zone(zone)
    except cron.CronError as error:
        table.fail("timezone", f"timezone {kind_of(zone)} {error.message}", error.remedy)
    return zone


def read_catch_up(table: Table) -> CatchUp:
    """What becomes of slots that nobody was there for.

    Something else is an error.
    """
    return table.choice("catch_up", _WAYS, "catch_up")


def with_type_warnings(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    """The flows of a snapshot, with a warning in each that has a schedule whose events start nothing."""
    if not any(flow.schedules for flow in flows):
        return tuple(flows)
    asked = Snapshot(flows=tuple(flows))
    return tuple(_warned(flow, asked) for flow in flows)


def _warned(flow: Flow, snapshot: Snapshot) -> Flow:
    return flow.with_findings(
        flow.doubt(
            ("schedules", index, "type"),
            "starts-nothing",
            f'schedule "{one.name}": its events start nothing, as no step waits for type "{one.type}"',
            suggestion=_near_type(one.type, snapshot),
        )
        for index, one in enumerate(flow.schedules)
        if not snapshot.candidates(one.type)
    )


def _near_type(event_type: str, snapshot: Snapshot) -> str | None:
    types = {step.trigger.type for flow in snapshot.flows for step in flow.steps if step.trigger is not None}
    return near_word(event_type, sorted(types), cutoff=0.8)
