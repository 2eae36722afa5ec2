"""Reads one package's folder into its flow, or into what is wrong with it. Knows no other package."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace

from flowd.catalog import manifest
from flowd.catalog.files import Reading, digest_of, links_of
from flowd.catalog.manifest import MAX_MANIFEST_BYTES, Manifest, RefusedManifestError
from flowd.catalog.named_files import Looked, look
from flowd.catalog.schemas import Elsewhere
from flowd.domain.finding import Finding, Severity, in_order
from flowd.domain.flow import MANIFEST, BrokenPackage, Flow, Origin
from flowd.domain.step import Step


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


def load(folder: str, origin: Origin, elsewhere: Elsewhere, *, text: bytes | None = None) -> Package:
    """Read a package. Never raises for anything that its files hold.

    Args:
        folder: Absolute path; it holds a ``flow.toml``.
        elsewhere: Compiles schemas that may be costly.
        text: The manifest, in place of the one on disk.
    """
    package = _load(folder, origin, elsewhere, text)
    base = os.path.dirname(folder)
    links = dict.fromkeys(pair for path in package.reading.stamps for pair in links_of(path, base))
    return replace(package, links=tuple(links))


def _load(folder: str, origin: Origin, elsewhere: Elsewhere, given: bytes | None) -> Package:
    reading = Reading()
    path = os.path.join(folder, MANIFEST)
    text = b""
    try:
        text = reading.read(path, MAX_MANIFEST_BYTES) if given is None else given
        read = manifest.parse(text, path)
    except OSError as error:
        link = os.path.islink(path) and isinstance(error, FileNotFoundError)
        reason = f"it is a link to {os.readlink(path)}, which is not there" if link else error.strerror or error
        message = f"the manifest cannot be read: {reason}"
        remedy = "Make it a readable file of reasonable size."
        finding = Finding(path, "unreadable", Severity.ERROR, message, remedy)
        return _broken(reading, None, broken_by((finding,), folder, origin))
    except RefusedManifestError as error:
        name = error.name or manifest.guess_name(text)
        if error.manifest is None:
            return _broken(reading, name, broken_by(error.findings, folder, origin))
        looked = look(error.manifest, folder, reading, elsewhere)
        draft = _draft(_flow(error.manifest, looked, folder, origin, reading), error.manifest)
        broken = broken_by((*error.findings, *looked.findings), folder, origin)
        return _broken(reading, name, replace(broken, types=error.types, draft=draft))
    looked = look(read, folder, reading, elsewhere)
    flow = _flow(read, looked, folder, origin, reading)
    if any(finding.is_error for finding in looked.findings):
        types = tuple(step.trigger.type for step in read.steps if step.trigger is not None)
        broken = replace(broken_by((*read.findings, *looked.findings), folder, origin), types=types, draft=flow)
        return _broken(reading, read.name, broken)
    return Package(reading, flow=flow, name=read.name)


def _draft(flow: Flow, read: Manifest) -> Flow:
    """What is right in a package that cannot be used, in the places that it has there: of one name, the first step."""
    by_name: dict[str, tuple[int, Step]] = {}
    for index, step in zip(read.indices, flow.steps, strict=True):
        if step.name not in read.doubtful:
            by_name.setdefault(step.name, (index, step))
    indices = [index for index, _ in by_name.values()]

    def where(*place: str | int) -> tuple[int, int, int] | None:
        match place:
            case ("steps", int(index), *below):
                return flow.where("steps", indices[index], *below)
        return flow.where(*place)

    return replace(flow, steps=tuple(step for _, step in by_name.values()), where=where)


def broken_by(findings: Iterable[Finding], folder: str, origin: Origin, name: str = "") -> BrokenPackage:
    """A package of which all this is wrong; of errors in several files, those in its manifest are told first."""
    found = in_order(findings)
    errors = [one for one in found if one.is_error]
    first = next((one for one in errors if os.path.basename(one.file) == MANIFEST), errors[0])
    return BrokenPackage(
        folder, name, origin, first.file, first.message, first.remedy or "", first.line, findings=found
    )


def _flow(read: Manifest, looked: Looked, folder: str, origin: Origin, reading: Reading) -> Flow:
    return Flow(
        name=read.name,
        version=read.version,
        root=folder,
        origin=origin,
        steps=looked.steps,
        package_hash=digest_of(reading.digests, folder),
        description=read.description,
        config=read.config,
        findings=in_order((*read.findings, *looked.findings)),
        is_whole=looked.is_whole,
        has_round_dir=read.has_round_dir,
        concurrency=read.concurrency,
        schedules=read.schedules,
        watches=read.watches,
        where=read.places.value,
    )


def _broken(reading: Reading, name: str | None, broken: BrokenPackage) -> Package:
    return Package(reading, broken=replace(broken, name=name or os.path.basename(broken.root)), name=name)
