"""Reads one package's folder into its flow, or into what is wrong with it. Knows no other package."""

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from flowd.catalog import manifest
from flowd.catalog.files import MAX_FILES, Reading, digest_of, links_of, list_files
from flowd.catalog.manifest import MAX_MANIFEST_BYTES, Manifest
from flowd.catalog.schema_files import SchemaFileError
from flowd.catalog.schemas import Elsewhere, compile_schema
from flowd.catalog.steps import SchemaUse
from flowd.catalog.table import ManifestError
from flowd.domain.flow import CODE_MODE_PROBLEM, BrokenPackage, Flow, Origin, PayloadCheck, Runner, Step
from flowd.domain.script import HEAD_BYTES, head_problem

MANIFEST = "flow.toml"


@dataclass(frozen=True)
class Package:
    """A package as it was when it was read. Exactly one of ``flow`` and ``broken`` is there.

    Attributes:
        reading: Every file that was looked at.
        name: The manifest's name, as far as it can be told.
        links: Where links on the way to its files lie, and what they lead to: (folder, name) each.
    """

    reading: Reading
    flow: Flow | None = None
    broken: BrokenPackage | None = None
    name: str | None = None
    links: tuple[tuple[str, str], ...] = ()


def load(folder: str, origin: Origin, elsewhere: Elsewhere) -> Package:
    """Read a package. Never raises for anything that its files hold.

    Args:
        folder: Absolute path; it holds a ``flow.toml``.
        elsewhere: Compiles schemas that may be costly.
    """
    package = _load(folder, origin, elsewhere)
    base = os.path.dirname(folder)
    links = dict.fromkeys(pair for path in package.reading.stamps for pair in links_of(path, base))
    return replace(package, links=tuple(links))


def _load(folder: str, origin: Origin, elsewhere: Elsewhere) -> Package:
    reading = Reading()
    path = os.path.join(folder, MANIFEST)
    text = b""
    try:
        text = reading.read(path, MAX_MANIFEST_BYTES)
        read = manifest.parse(text)
    except OSError as error:
        message = f"the manifest cannot be read: {error.strerror or error}"
        remedy = "Make it a readable file of reasonable size."
        return _broken(reading, None, BrokenPackage(folder, "", origin, path, message, remedy))
    except ManifestError as error:
        name = error.name or manifest.guess_name(text)
        broken = BrokenPackage(folder, "", origin, path, error.message, error.remedy, error.line, types=error.types)
        return _broken(reading, name, broken)
    try:
        return Package(reading, flow=_flow(read, folder, origin, reading, elsewhere), name=read.name)
    except SchemaFileError as error:
        types = tuple(step.trigger.type for step in read.steps if step.trigger is not None)
        broken = BrokenPackage(folder, "", origin, error.file, error.message, error.remedy, error.line, types=types)
        return _broken(reading, read.name, broken)


def resolve(folder: str, path: str) -> str:
    """A path of the manifest as an absolute one. It may lead anywhere."""
    return os.path.normpath(os.path.join(folder, path))


def _flow(read: Manifest, folder: str, origin: Origin, reading: Reading, elsewhere: Elsewhere) -> Flow:
    schemas = _Schemas(folder, reading, elsewhere)
    steps = tuple(schemas.with_check(step, read.schemas.get(step.name)) for step in read.steps)
    missing = [warning for step in steps if (warning := _script_warning(step, folder, reading))]
    doubts = [warning for step in steps for warning in _schema_warnings(step)]
    return Flow(
        name=read.name,
        version=read.version,
        root=folder,
        origin=origin,
        steps=steps,
        package_hash=digest_of(reading.digests, folder),
        description=read.description,
        config=read.config,
        warnings=(*read.warnings, *missing, *_runner_warnings(steps), *doubts, *_size_warnings(folder)),
        is_whole=not missing,
        has_round_dir=read.has_round_dir,
        concurrency=read.concurrency,
        schedules=read.schedules,
        watches=read.watches,
    )


def _runner_warnings(steps: Sequence[Step]) -> Iterator[str]:
    for step in steps:
        if step.runner is Runner.CODE_MODE:
            yield f'step "{step.name}": {CODE_MODE_PROBLEM}; until then, its runs fail'


def _size_warnings(folder: str) -> Iterator[str]:
    if list_files(folder, MAX_FILES) is None:
        yield (
            f"the package has more than {MAX_FILES} files, so the packageHash of a run covers only flow.toml and the"
            " script; leave out what is made or fetched"
        )


def _schema_warnings(step: Step) -> Iterator[str]:
    check = step.trigger.check if step.trigger else None
    if step.trigger is None or check is None:
        return
    what = f'step "{step.name}": schema {step.trigger.schema}'
    if check.why_costly:
        yield (
            f"{what} {check.why_costly}, so it is checked in a process of its own; where that takes longer than"
            " max_check_ms for an event, the event does not start this step, and says so"
        )
    if check.unchecked_formats:
        names = ", ".join(check.unchecked_formats[:5])
        yield (
            f"{what} has format ({names}), which its draft of JSON Schema does not check; use pattern, or"
            ' "$schema": "http://json-schema.org/draft-07/schema#", where format is checked'
        )


def _script_warning(step: Step, folder: str, reading: Reading) -> str | None:
    """Why the step cannot be started for now, as far as that depends on its script alone."""
    path = resolve(folder, step.script)
    if not reading.note(path):
        return f'step "{step.name}": script {step.script} is not there; until it is, its runs fail'
    problem = _exec_problem(path) if step.runner is Runner.EXEC else None
    return problem and f'step "{step.name}": script {step.script} {problem}; until then, its runs fail'


def _exec_problem(path: str) -> str | None:
    """The part of `flowd.runners.places.check_executable` that no environment changes."""
    try:
        if not os.stat(path).st_mode & 0o111:
            return f"is not executable; run `chmod +x {shlex.quote(path)}`"
        with open(path, "rb") as file:
            return head_problem(file.read(HEAD_BYTES))
    except OSError:
        return None


@dataclass
class _Schemas:
    """The checks of one package, each schema compiled once."""

    folder: str
    reading: Reading
    elsewhere: Elsewhere
    checks: dict[tuple[str, bool], PayloadCheck] = field(default_factory=dict)

    def with_check(self, step: Step, use: SchemaUse | None) -> Step:
        if use is None or step.trigger is None:
            return step
        path = resolve(self.folder, use.path)
        key = (path, use.is_subset)
        if key not in self.checks:
            self.checks[key] = self._compiled(step, use, path)
        return replace(step, trigger=replace(step.trigger, check=self.checks[key]))

    def _compiled(self, step: Step, use: SchemaUse, path: str) -> PayloadCheck:
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
                raise
            # A missing file has no line; the one that names it does.
            message = f'step "{step.name}": schema {use.path} does not exist'
            raise SchemaFileError(os.path.join(self.folder, MANIFEST), message, error.remedy, use.line) from None


def _broken(reading: Reading, name: str | None, broken: BrokenPackage) -> Package:
    return Package(reading, broken=replace(broken, name=name or os.path.basename(broken.root)), name=name)
