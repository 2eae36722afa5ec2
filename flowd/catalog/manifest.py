"""Reads the text of a ``flow.toml`` into a flow as data. Opens no files: a schema is only a path here.

What the reference system accepts is accepted, with its defaults; what it silently drops becomes a warning.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from flowd.catalog.concurrency import read_concurrency
from flowd.catalog.hosts import read_runs_on
from flowd.catalog.json_values import json_value, narrow
from flowd.catalog.needs import check_needs
from flowd.catalog.report import Report
from flowd.catalog.schedules import read_schedules
from flowd.catalog.shapes import FlowTable
from flowd.catalog.steps import SchemaUse, read_step
from flowd.catalog.table import ManifestError, Table, kind_of
from flowd.catalog.watches import read_watches
from flowd.domain.concurrency import Concurrency
from flowd.domain.finding import Finding, Severity, sentences
from flowd.domain.schedule import Schedule
from flowd.domain.step import Step
from flowd.domain.watches import Watch
from flowd.formats import toml
from flowd.formats.places import Places

MAX_MANIFEST_BYTES = 1024 * 1024
"""A manifest is written by people; more than this is another file under its name."""

_NAME_LINE = re.compile(r"""^[ \t]*name[ \t]*=[ \t]*(?:"([^"\\\n]+)"|'([^'\n]+)')""", re.MULTILINE)
_FIRST_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that can be used.

    Attributes:
        indices: Where each of the steps stands among all of the text, of which some may not be readable.
        schemas: By these indices, for the steps whose trigger names a schema.
        findings: What is doubtful in it, such as keys that nothing reads.
        places: Where its keys and values are.
        concurrency: Of whole rounds.
        watches: The files whose changes become events.
        doubtful: Names of steps in which something is wrong; none in a manifest that can be used.
    """

    name: str
    version: int | float
    description: str | None
    config: Mapping[str, object] | None
    steps: tuple[Step, ...]
    indices: tuple[int, ...]
    schemas: Mapping[int, SchemaUse]
    findings: tuple[Finding, ...]
    places: Places = field(compare=False, repr=False)
    has_round_dir: bool = False
    concurrency: Concurrency | None = None
    schedules: tuple[Schedule, ...] = ()
    watches: tuple[Watch, ...] = ()
    doubtful: frozenset[str] = frozenset()

    @property
    def warnings(self) -> tuple[str, ...]:
        """The findings as sentences, see `flowd.domain.finding.sentences`."""
        return sentences(self.findings)


class RefusedManifestError(ManifestError):
    """A manifest that cannot be used, with all that is wrong with it.

    Attributes:
        findings: All that is wrong or doubtful, in order; the first error is told by ``message``.
        manifest: What could be read, for looking at the files that it names; None where it is no TOML.
        name: The flow's name, where the text got far enough to have one.
        types: What its triggers wait for, where the text is TOML, and that is not what is wrong.
    """

    def __init__(
        self,
        findings: tuple[Finding, ...],
        manifest: Manifest | None,
        name: str | None,
        types: tuple[str, ...] | None,
    ) -> None:
        first = next(one for one in findings if one.is_error)
        super().__init__(first.message, first.remedy or "", line=first.line)
        self.findings = findings
        self.manifest = manifest
        self.name = name
        self.types = types


def parse(text: bytes, file: str = "") -> Manifest:
    """Read a manifest. Any bytes give a manifest or a `RefusedManifestError`, nothing else.

    Args:
        file: Its absolute path, for findings.

    Raises:
        RefusedManifestError: It is too large, not UTF-8, no TOML, or breaks a rule. All rules that it breaks are told.
    """
    values, places = _toml(_decode(text, file), file)
    report = Report(file, places)
    table = Table(values, report, kind="flow", shape=FlowTable)
    manifest = _manifest(table, report)
    if not report.errors():
        return manifest
    raise RefusedManifestError(manifest.findings, manifest, _usable_name(values.get("name")), _trigger_types(values))


def guess_name(text: bytes) -> str | None:
    """The flow's name in a text that is no TOML: a ``name = "..."`` line before the first table, or None."""
    head = text[:MAX_MANIFEST_BYTES].decode("utf-8-sig", "replace")
    table = _FIRST_TABLE.search(head)
    found = _NAME_LINE.search(head, 0, table.start() if table else len(head))
    return _usable_name(found[1] or found[2]) if found else None


def _decode(text: bytes, file: str) -> str:
    if len(text) > MAX_MANIFEST_BYTES:
        message = f"the manifest is larger than {MAX_MANIFEST_BYTES} bytes"
        raise _unreadable(
            Finding(file, "too-large", Severity.ERROR, message, "Move large data into files of the package.")
        )
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        message = "the manifest is not UTF-8"
        raise _unreadable(Finding(file, "not-utf8", Severity.ERROR, message, "Save it as UTF-8.", line=line)) from None


def _toml(source: str, file: str) -> tuple[dict[str, object], Places]:
    remedy = "Correct the TOML there; https://toml.io has the format."
    try:
        return toml.parse(source), Places(source)
    except toml.TomlError as error:
        remedy = "Flatten its tables." if error.is_nested else remedy
        end = None if error.column is None else error.column + 1
        finding = Finding(file, "invalid-toml", Severity.ERROR, str(error), remedy, None, error.line, error.column, end)
        raise _unreadable(finding) from None


def _unreadable(finding: Finding) -> RefusedManifestError:
    return RefusedManifestError((finding,), None, None, None)


def _manifest(table: Table, report: Report) -> Manifest:
    name = table.tried("", table.needed_string, "name")
    version = table.tried(0, _version, table)
    steps, schemas, doubtful = table.tried(({}, {}, frozenset()), _steps, table)
    read = Manifest(
        name=name,
        version=version,
        description=table.text("description"),
        config=table.tried(None, _config, table),
        steps=tuple(steps.values()),
        indices=tuple(steps),
        schemas=schemas,
        findings=(),
        places=report.places,
        has_round_dir=table.boolean("round_dir"),
        concurrency=table.tried(None, read_concurrency, table, "[concurrency]"),
        schedules=table.tried((), read_schedules, table, name),
        watches=table.tried((), read_watches, table, name),
        doubtful=doubtful,
    )
    _check_guidance(table)
    table.warn_unknown()
    return replace(read, findings=report.findings())


def _version(table: Table) -> int | float:
    value = table.values.get("version")
    # bool is an int in Python; a number that no int64 or double holds cannot be stored or sent.
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(narrow(value)):
        if value is None:
            table.fail("version", "version is missing", "Add version = 1.", code="missing-key")
        table.fail("version", f"version must be a number, got {kind_of(value)}", "Add version = 1.", code="wrong-type")
    assert isinstance(value, int | float)
    return value


def _steps(table: Table) -> tuple[Mapping[int, Step], Mapping[int, SchemaUse], frozenset[str]]:
    values = table.values.get("steps")
    runs_on = table.tried((), read_runs_on, table)
    if not isinstance(values, list) or not values:
        got = "there are no steps" if values is None or values == [] else f"steps must be a list, got {kind_of(values)}"
        remedy = "Add a step under [[steps]], with two brackets on each side."
        table.fail("steps", got, remedy, code="missing-key" if values is None else "wrong-type")
    doubtful: list[str] = []
    steps: dict[int, Step] = {}
    tables: list[Table] = []
    schemas: dict[int, SchemaUse] = {}
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            message = f"step {index + 1} must be a table, got {kind_of(value)}"
            table.error("steps", message, "Write it under [[steps]].", code="wrong-type", member=(index,))
            continue
        part = table.part(value, ("steps", index), f"step {index + 1}", "step")
        before = part.errors()
        step, use = read_step(part, runs_on=runs_on)
        if part.errors() > before:
            doubtful.append(step.name)
        if not step.name:
            continue
        if any(step.name == other.name for other in steps.values()):
            message, remedy = "another step of this flow has the same name", "Rename one: run ids are made of names."
            part.error("name", message, remedy, code="duplicate-name")
        steps[index] = step
        tables.append(part)
        if use is not None:
            schemas[index] = use
    check_needs(list(zip(steps.values(), tables, strict=True)), doubtful)
    return steps, schemas, frozenset(doubtful)


def _config(table: Table) -> dict[str, object] | None:
    config = table.table("config")
    if config is None:
        return None
    return {key: json_value(config, value, "config", 1) for key, value in config.values.items()}


def _check_guidance(table: Table) -> None:
    """Check guidance's shape, so that a mistake is told. Nothing reads it here."""
    guidance = table.table("guidance")
    if guidance is not None:
        guidance.warn_unknown()


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
