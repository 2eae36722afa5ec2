"""Reads the text of a ``flow.toml`` into a flow as data. Opens no files: a schema is only a path here.

What the reference system accepts is accepted, with its defaults; what it silently drops becomes a warning.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from flowd.catalog.concurrency import read_concurrency
from flowd.catalog.hosts import read_runs_on
from flowd.catalog.json_values import json_value, narrow
from flowd.catalog.needs import check_needs
from flowd.catalog.schedules import read_schedules
from flowd.catalog.steps import SchemaUse, read_step
from flowd.catalog.table import ManifestError, Table, kind_of
from flowd.catalog.watches import read_watches
from flowd.domain.concurrency import Concurrency
from flowd.domain.flow import Step
from flowd.domain.schedule import Schedule
from flowd.domain.watches import Watch
from flowd.formats import toml
from flowd.formats.places import Places

MAX_MANIFEST_BYTES = 1024 * 1024
"""A manifest is written by people; more than this is another file under its name."""

MAX_WARNINGS = 50
"""They travel with every list of flows."""

_KNOWN = (
    *("name", "version", "description", "config", "guidance", "steps", "round_dir", "concurrency", "runs_on"),
    *("schedules", "watches"),
)
_NAME_LINE = re.compile(r"""^[ \t]*name[ \t]*=[ \t]*(?:"([^"\\\n]+)"|'([^'\n]+)')""", re.MULTILINE)
_FIRST_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that can be used.

    Attributes:
        schemas: By step name, for the steps whose trigger names a schema.
        warnings: Sentences about what nothing reads.
        concurrency: Of whole rounds.
        watches: The files whose changes become events.
    """

    name: str
    version: int | float
    description: str | None
    config: Mapping[str, object] | None
    steps: tuple[Step, ...]
    schemas: Mapping[str, SchemaUse]
    warnings: tuple[str, ...]
    has_round_dir: bool = False
    concurrency: Concurrency | None = None
    schedules: tuple[Schedule, ...] = ()
    watches: tuple[Watch, ...] = ()


def parse(text: bytes) -> Manifest:
    """Read a manifest. Any bytes give a manifest or a `ManifestError`, nothing else.

    Raises:
        ManifestError: It is too large, not UTF-8, no TOML, or breaks a rule. The first rule that it breaks is told.
    """
    if len(text) > MAX_MANIFEST_BYTES:
        raise ManifestError(
            f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes", "Move large data into files of the package."
        )
    source = _decode(text)
    values = _toml(source)
    try:
        return _manifest(values, Places(source))
    except ManifestError as error:
        error.name = _usable_name(values.get("name"))
        error.types = _trigger_types(values)
        raise


def guess_name(text: bytes) -> str | None:
    """The flow's name in a text that is no TOML: a ``name = "..."`` line before the first table, or None."""
    head = text[:MAX_MANIFEST_BYTES].decode("utf-8-sig", "replace")
    table = _FIRST_TABLE.search(head)
    found = _NAME_LINE.search(head, 0, table.start() if table else len(head))
    return _usable_name(found[1] or found[2]) if found else None


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise ManifestError("the manifest is not UTF-8", "Save it as UTF-8.", line=line) from None


def _toml(source: str) -> dict[str, object]:
    remedy = "Correct the TOML there; https://toml.io has the format."
    try:
        return toml.parse(source)
    except toml.TomlError as error:
        remedy = "Flatten its tables." if error.is_nested else remedy
        raise ManifestError(str(error), remedy, line=error.line) from None


def _manifest(values: dict[str, object], places: Places) -> Manifest:
    warnings: list[str] = []
    table = Table(values, places=places, place=(), label="", warnings=warnings)
    name = table.needed_string("name", example='"a-name"')
    version = _version(table)
    steps, schemas = _steps(table)
    description = table.text("description")
    config = _config(table)
    concurrency = read_concurrency(table, "[concurrency]")
    _check_guidance(table)
    has_round_dir = table.boolean("round_dir")
    schedules = read_schedules(table, name)
    watches = read_watches(table, name)
    table.warn_unknown(_KNOWN)
    told = _bounded(warnings)
    return Manifest(
        name, version, description, config, steps, schemas, told, has_round_dir, concurrency, schedules, watches
    )


def _bounded(warnings: list[str]) -> tuple[str, ...]:
    more = len(warnings) - MAX_WARNINGS
    return tuple(warnings) if more <= 0 else (*warnings[:MAX_WARNINGS], f"and {more} more")


def _version(table: Table) -> int | float:
    value = table.values.get("version")
    # bool is an int in Python; a number that no int64 or double holds cannot be stored or sent.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(narrow(value)):
        got = "is missing" if value is None else f"must be a number, got {kind_of(value)}"
        table.fail("version", f"version {got}", "Add version = 1.")
    assert isinstance(value, int | float)
    return value


def _steps(table: Table) -> tuple[tuple[Step, ...], Mapping[str, SchemaUse]]:
    values = table.values.get("steps")
    runs_on = read_runs_on(table)
    if not isinstance(values, list) or not values:
        got = "there are no steps" if values is None or values == [] else f"steps must be a list, got {kind_of(values)}"
        table.fail("steps", got, "Add a step under [[steps]], with two brackets on each side.")
    steps: dict[str, Step] = {}
    tables: dict[str, Table] = {}
    schemas: dict[str, SchemaUse] = {}
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            table.fail("steps", f"step {index + 1} must be a table, got {kind_of(value)}", "Write it under [[steps]].")
        part = table.part(value, ("steps", index), f"step {index + 1}")
        step, use = read_step(part, runs_on=runs_on)
        if step.name in steps:
            part.fail("name", "another step of this flow has the same name", "Rename one: run ids are made of names.")
        steps[step.name] = step
        tables[step.name] = part
        if use is not None:
            schemas[step.name] = use
    check_needs(steps, tables)
    return tuple(steps.values()), schemas


def _config(table: Table) -> dict[str, object] | None:
    config = table.table("config")
    if config is None:
        return None
    return {key: json_value(config, value, "config", 1) for key, value in config.values.items()}


def _check_guidance(table: Table) -> None:
    """Check guidance's shape, so that a mistake is told. Nothing reads it here."""
    guidance = table.table("guidance")
    if guidance is not None:
        guidance.warn_unknown({"skills"})


def _trigger_types(values: Mapping[str, object]) -> tuple[str, ...] | None:
    """What the triggers of a manifest wait for, whatever else is wrong with it; None where that is what is wrong."""
    steps = values.get("steps")
    if not isinstance(steps, list):
        return None
    triggers = [step.get("trigger") if isinstance(step, dict) else None for step in steps]
    types = [trigger.get("type") if isinstance(trigger, dict) else None for trigger in triggers if trigger is not None]
    known = tuple(found for found in types if isinstance(found, str) and found)
    return known if len(known) == len(types) and all(isinstance(step, dict) for step in steps) else None


def _usable_name(name: object) -> str | None:
    return name if isinstance(name, str) and name.strip() and name.isprintable() else None
