"""Reads ``.codex/workspace.toml``, where the reference system has tasks: those of kind ``flow`` become schedules."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowd.catalog.files import Reading
from flowd.catalog.json_values import json_value
from flowd.catalog.package import broken_by
from flowd.catalog.report import Report
from flowd.catalog.schedules import read_catch_up, read_timezone
from flowd.catalog.shapes import ScheduleTable
from flowd.catalog.table import Table, kind_of
from flowd.domain import schedule
from flowd.domain.event import MAX_ID_CHARS, MAX_TYPE_CHARS
from flowd.domain.finding import Finding, Severity
from flowd.domain.flow import BrokenPackage, Origin, Snapshot
from flowd.domain.schedule import TASKS, Schedule
from flowd.formats import cron, toml
from flowd.formats.places import Places

FILE = os.path.join(".codex", TASKS)
MAX_BYTES = 1024 * 1024

_KINDS = ("flow", "skill", "command")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OVERRIDDEN = ("id", "type", "source", "occurredAt", "receivedAt", "payload")


@dataclass(frozen=True, slots=True)
class Tasks:
    """What the file has.

    Attributes:
        schedules: Of its tasks of kind ``flow`` that are enabled and have a schedule.
        others: How its other tasks and rules are called, which flowd does not run.
    """

    schedules: tuple[Schedule, ...] = ()
    others: tuple[str, ...] = ()


def read_tasks(workspace: Path) -> Tasks | BrokenPackage | None:
    """The tasks of a workspace; None where it has no such file. What is wrong with one is wrong with the file, as the
    reference system has it."""
    path = workspace / FILE
    try:
        text = Reading().read(str(path), MAX_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        message = f"it cannot be read: {error.strerror or error}"
        return _unreadable(path, message, "Make it a readable file of reasonable size.")
    try:
        source = text.decode("utf-8-sig")
        report = Report(str(path), Places(source))
        table = Table(toml.parse(source), report)
    except UnicodeDecodeError:
        return _unreadable(path, "it is not UTF-8", "Save it as UTF-8.")
    except toml.TomlError as error:
        end = None if error.column is None else error.column + 1
        return _unreadable(path, str(error), "Correct the TOML there.", (error.line, error.column, end))
    tasks = table.tried(Tasks(), _tasks, table, workspace)
    return _broken(path, report.findings()) if report.errors() else tasks


def untold(tasks: Tasks | BrokenPackage | None, *, is_on: bool, snapshot: Snapshot) -> Iterator[str]:
    """A sentence for each thing in the file that comes to nothing."""
    if isinstance(tasks, Tasks):
        for task in tasks.schedules:
            name = task.name.rpartition(":")[2]
            if not is_on:
                yield f"task {name} of {FILE} is not run: workspace_tasks = true in flowd's settings lets flowd run it"
            elif not snapshot.candidates(task.type):
                yield f'task {name} of {FILE}: its events start nothing, as no step waits for type "{task.type}"'
        for other in tasks.others:
            yield f"{other} of {FILE} is not run: flowd runs tasks of kind flow that have a schedule"


def _unreadable(
    path: Path, message: str, remedy: str, place: tuple[int | None, int | None, int | None] = (None, None, None)
) -> BrokenPackage:
    return _broken(path, (Finding(str(path), "unreadable", Severity.ERROR, message, remedy, None, *place),))


def _broken(path: Path, findings: Sequence[Finding]) -> BrokenPackage:
    return replace(broken_by(findings, str(path.parent), Origin.SOURCE, TASKS), types=())


def _tasks(file: Table, workspace: Path) -> Tasks:
    table = _needed(file, "workspace")
    if table is None:
        return Tasks()
    name = table.string("name") or workspace.resolve().name
    found: dict[str, Schedule | None] = {}
    others: list[str] = []
    for index, value in enumerate(_list(table, "tasks")):
        part = file.part(value, ("workspace", "tasks", index), f"task {index + 1}", shape=ScheduleTable)
        part.tried(None, _task, part, name, found, others)
    others += [f"rule {value.get('id', index + 1)}" for index, value in enumerate(_list(table, "reactive"))]
    return Tasks(tuple(task for task in found.values() if task is not None), tuple(others))


def _task(part: Table, workspace: str, found: dict[str, Schedule | None], others: list[str]) -> None:
    """Add a task to those that were found, or to those that flowd does not run."""
    task_id = _id(part)
    if task_id in found:
        part.fail("id", "another task has the same id", "Rename one.", code="duplicate-name")
    kind = part.needed_string("kind", example='"flow"')
    if kind not in _KINDS:
        part.fail("kind", f"kind {kind_of(kind)} is unknown", f"Use one of {', '.join(_KINDS)}.", code="unknown-value")
    found[task_id] = _schedule(part, workspace, task_id) if kind == "flow" else None
    if found[task_id] is None and part.values.get("enabled", True):
        others.append(f"task {task_id} (kind {kind}{', without a schedule' if kind == 'flow' else ''})")


def _needed(file: Table, key: str) -> Table | None:
    value = file.values.get(key)
    if value is not None and not isinstance(value, dict):
        file.fail(key, f"{key} must be a table, got {kind_of(value)}", f"Write it as [{key}].")
    return file.table(key)


def _list(table: Table, key: str) -> list[Mapping[str, object]]:
    value = table.values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        table.fail(key, f"{key} must be a list of tables", f"Write each under [[workspace.{key}]].")
    return value


def _id(part: Table) -> str:
    task_id = part.needed_string("id", example='"a-name"')
    if not _ID.fullmatch(task_id) or len(task_id) > 200:
        part.fail("id", f"id {kind_of(task_id)} is none", 'Use letters, digits, ".", "_" and "-".')
    part.label = f'task "{task_id}"'
    return task_id


def _schedule(part: Table, workspace: str, task_id: str) -> Schedule | None:
    """The schedule of a task; None where it is not enabled, or has none."""
    is_enabled = part.values.get("enabled", True)
    if not isinstance(is_enabled, bool):
        part.fail("enabled", f"enabled must be true or false, got {kind_of(is_enabled)}", "Set it to true or false.")
    flow = part.needed_string("flow", example='"a-name"')
    given = part.table("event")
    event = {} if given is None else {key: json_value(part, value, "event") for key, value in given.values.items()}
    expression, zone, catch_up = part.values.get("schedule"), read_timezone(part), read_catch_up(part)
    if not is_enabled or not isinstance(expression, str):
        return None
    try:
        cron.read_cron(expression, zone)
    except cron.CronError as error:
        part.fail("schedule", f"schedule {kind_of(expression)} {error.message}", error.remedy)
    payload, kind, source = event.get("payload"), event.get("type"), event.get("source")
    event_type, name = kind if isinstance(kind, str) and kind else flow, f"{workspace}:{task_id}"
    if len(event_type) > MAX_TYPE_CHARS or len(schedule.event_id("", name, 0)) > MAX_ID_CHARS:
        part.fail(None, "the type of its events, or their id, is too long", "Shorten the names.")
    return Schedule(
        name,
        expression,
        event_type,
        zone,
        {"taskId": task_id, **payload} if isinstance(payload, dict) else {"taskId": task_id},
        catch_up,
        source if isinstance(source, str) and source else workspace,
        {key: value for key, value in event.items() if key not in _OVERRIDDEN},
    )
