"""Looks at the files that a manifest names: the scripts and the schemas of its steps."""

import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from flowd.catalog.files import MAX_FILES, Reading, list_files
from flowd.catalog.manifest import Manifest
from flowd.catalog.schema_files import SchemaFileError
from flowd.catalog.schemas import Elsewhere, compile_schema
from flowd.catalog.steps import SchemaUse
from flowd.domain.finding import Finding, Severity
from flowd.domain.flow import MANIFEST
from flowd.domain.payload_check import PayloadCheck
from flowd.domain.script import HEAD_BYTES, head_problem
from flowd.domain.step import CODE_MODE_PROBLEM, Runner, Step


@dataclass(frozen=True, slots=True)
class Looked:
    """What the files are like.

    Attributes:
        steps: Those of the manifest, with compiled checks.
        findings: What is wrong or doubtful.
        is_whole: All scripts are there and can be started, as far as that depends on them alone.
    """

    steps: tuple[Step, ...]
    findings: tuple[Finding, ...]
    is_whole: bool


def resolve(folder: str, path: str) -> str:
    """A path of the manifest as an absolute one. It may lead anywhere."""
    return os.path.normpath(os.path.join(folder, path))


def look(read: Manifest, folder: str, reading: Reading, elsewhere: Elsewhere) -> Looked:
    """Look at all files that a manifest names; at those of a step in which something is wrong only as far as the wrong
    does not matter for them."""
    looking = _Looking(read, folder, reading, elsewhere)
    steps = [looking.step(index, step) for index, step in zip(read.indices, read.steps, strict=True)]
    found = (*looking.findings, *_size(folder))
    return Looked(tuple(steps), found, is_whole=not any(one.code in SCRIPT_CODES for one in found))


SCRIPT_CODES = ("missing-script", "unusable-script")
"""Of findings because of which a step cannot be started for now."""


def _size(folder: str) -> Iterator[Finding]:
    if list_files(folder, MAX_FILES) is None:
        message = (
            f"the package has more than {MAX_FILES} files, so the packageHash of a run covers only flow.toml and the"
            " script; leave out what is made or fetched"
        )
        yield Finding(os.path.join(folder, MANIFEST), "many-files", Severity.WARNING, message)


@dataclass
class _Looking:
    """The files of one package, each schema compiled once."""

    read: Manifest
    folder: str
    reading: Reading
    elsewhere: Elsewhere
    findings: list[Finding] = field(default_factory=list)
    checks: dict[tuple[str, bool], PayloadCheck | None] = field(default_factory=dict)

    def step(self, index: int, step: Step) -> Step:
        """The step with its check."""
        if step.name not in self.read.doubtful:
            self._look_at_script(index, step)
        if step.runner is Runner.CODE_MODE:
            self._note(
                f'step "{step.name}": {CODE_MODE_PROBLEM}; until then, its runs fail', "code-mode", index, "runner"
            )
        use = self.read.schemas.get(index)
        if use is None or step.trigger is None:
            return step
        path = resolve(self.folder, use.path)
        key = (path, use.is_subset)
        if key not in self.checks:
            self.checks[key] = self._compiled(index, step, use, path)
        check = self.checks[key]
        self._doubt_schema(index, step, check)
        return replace(step, trigger=replace(step.trigger, check=check))

    def _note(
        self, message: str, code: str, index: int, *below: str, remedy: str | None = None, is_error: bool = False
    ) -> None:
        span = self.read.places.value("steps", index, *below)
        severity = Severity.ERROR if is_error else Severity.WARNING
        file = os.path.join(self.folder, MANIFEST)
        self.findings.append(Finding(file, code, severity, message, remedy, None, *(span or ())))

    def _look_at_script(self, index: int, step: Step) -> None:
        path = resolve(self.folder, step.script)
        what = f'step "{step.name}": script {step.script}'
        if not self.reading.note(path):
            self._note_unread_script(index, step, path, what)
            return
        problem = _exec_problem(path) if step.runner is Runner.EXEC else None
        if problem is not None:
            self._note(f"{what} {problem}; until then, its runs fail", "unusable-script", index, "script")

    def _note_unread_script(self, index: int, step: Step, path: str, what: str) -> None:
        if not os.path.lexists(path):
            self._note(f"{what} is not there; until it is, its runs fail", "missing-script", index, "script")
        elif not os.path.isfile(path):
            self._note(f"{what} is not a regular file; until it is, its runs fail", "unusable-script", index, "script")
        elif step.runner is not Runner.EXEC or not os.access(path, os.X_OK):  # a program need not be readable
            self._note(f"{what} cannot be read; until it can, its runs fail", "unusable-script", index, "script")

    def _compiled(self, index: int, step: Step, use: SchemaUse, path: str) -> PayloadCheck | None:
        try:
            return compile_schema(
                path,
                package=self.folder,
                read=self.reading.read,
                elsewhere=self.elsewhere,
                is_subset=use.is_subset,
            )
        except SchemaFileError as error:
            if os.path.lexists(path):
                found = Finding(error.file, "bad-schema", Severity.ERROR, error.message, error.remedy, line=error.line)
                self.findings.append(found)
            else:
                # A missing file has no line; the one that names it does.
                message = f'step "{step.name}": schema {use.path} does not exist'
                self._note(message, "missing-schema", index, "trigger", "schema", remedy=error.remedy, is_error=True)
            return None

    def _doubt_schema(self, index: int, step: Step, check: PayloadCheck | None) -> None:
        if step.trigger is None or check is None:
            return
        what = f'step "{step.name}": schema {step.trigger.schema}'
        if check.why_costly:
            message = (
                f"{what} {check.why_costly}, so it is checked in a process of its own; where that takes longer than"
                " max_check_ms for an event, the event does not start this step, and says so"
            )
            self._note(message, "costly-schema", index, "trigger", "schema")
        if check.unchecked_formats:
            names = ", ".join(check.unchecked_formats[:5])
            message = (
                f"{what} has format ({names}), which its draft of JSON Schema does not check; use pattern, or"
                ' "$schema": "http://json-schema.org/draft-07/schema#", where format is checked'
            )
            self._note(message, "unchecked-format", index, "trigger", "schema")


def _exec_problem(path: str) -> str | None:
    """The part of `flowd.runners.places.check_executable` that no environment changes."""
    try:
        if not os.stat(path).st_mode & 0o111:
            return f"is not executable; run `chmod +x {shlex.quote(path)}`"
        with open(path, "rb") as file:
            return head_problem(file.read(HEAD_BYTES))
    except OSError:
        return None
