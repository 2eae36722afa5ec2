"""Scans the flow folders into a snapshot. Only what changed is read; a broken package keeps its last good flow."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flowd.catalog.files import links_of
from flowd.catalog.package import Package, load
from flowd.catalog.precedence import Found, assemble
from flowd.catalog.schema_process import SchemaProcess
from flowd.catalog.schemas import Elsewhere
from flowd.catalog.workspace_tasks import FILE, Tasks, read_tasks
from flowd.domain.flow import MANIFEST, BrokenPackage, Flow, Origin, Snapshot
from flowd.domain.schedule import TASKS, Schedule
from flowd.state import ownership, trust
from flowd.watching.folders import Folders

ROOTS = ((".codex/flows", Origin.INSTALLED), ("flows", Origin.SOURCE))
"""Relative to the workspace, in order of precedence."""

_STATE_DIR = ".codex/flowd"


@dataclass(frozen=True, slots=True)
class _Entry:
    package: Package
    good: Flow | None

    @property
    def found(self) -> Found:
        broken = self.package.broken
        if broken is None:
            return Found(flow=self.package.flow)
        if self.good is None:
            return Found(broken=broken)
        named = broken if self.package.name else replace(broken, name=self.good.name)
        return Found(flow=replace(self.good, stale=True), broken=named)


class Scanner:
    """Looks at the roots of one workspace and remembers what it saw. For one thread at a time.

    Args:
        workspace: Where ``.codex/flows`` and ``flows`` lie.
        roots: Other roots in order of precedence; relative ones are relative to the workspace.
        is_vouched: Take packages whoever can write them.
        has_tasks: Have the tasks of the workspace, too.
    """

    def __init__(
        self,
        workspace: Path,
        roots: Sequence[tuple[str | Path, Origin]] | None = None,
        *,
        is_vouched: bool = False,
        has_tasks: bool = False,
    ) -> None:
        self._is_vouched = is_vouched
        self._has_tasks = has_tasks
        self._tasks: tuple[Schedule, ...] = ()
        self._workspace = os.path.abspath(workspace)
        given = ROOTS if roots is None else roots
        self._roots = [(os.path.normpath(os.path.join(self._workspace, root)), origin) for root, origin in given]
        self._entries: dict[str, _Entry] = {}
        self._children: dict[str, None] = {}
        self._folders: Folders | None = None
        self._in_force: dict[str, str] = {}

    def scan(self) -> Snapshot:
        """The snapshot of what is on disk now. Unchanged packages cost a few stats each.

        A package that was fine and is broken now stays in force as it was, marked stale, as long as it is there.
        Nothing that lies in the roots makes this raise.
        """
        before, self._entries = self._entries, {}
        children, self._children = self._children, {}
        with SchemaProcess() as elsewhere:
            found = [item for root, origin in self._roots for item in self._scan_root(root, origin, before, elsewhere)]
        if self._children != children or not _same_packages(before, self._entries):
            self._folders = None
        snapshot = assemble(found, self._in_force)
        self._in_force = {flow.name: flow.root for flow in snapshot.flows}
        return self._with_tasks(snapshot) if self._has_tasks else snapshot

    def _with_tasks(self, snapshot: Snapshot) -> Snapshot:
        """With the tasks of the workspace; where these are broken now, with those that it had."""
        read = read_tasks(Path(self._workspace))
        if isinstance(read, Tasks) and not self._is_vouched and read.schedules:
            found = ownership.problem([os.path.join(self._workspace, FILE)])
            if found is not None and not trust.is_trusted(Path(self._workspace)):
                read = BrokenPackage(
                    os.path.join(self._workspace, ".codex"),
                    TASKS,
                    Origin.SOURCE,
                    os.path.join(self._workspace, FILE),
                    f"it is not trusted: {found}",
                    f"Take it over (chown, chmod go-w), or trust all of the workspace: flowd trust {self._workspace}",
                    types=(),
                )
        if isinstance(read, BrokenPackage):
            broken = replace(read, stale=bool(self._tasks))
            return replace(snapshot, tasks=self._tasks, broken=(*snapshot.broken, broken))
        self._tasks = () if read is None else read.schedules
        return replace(snapshot, tasks=self._tasks)

    def folders(self) -> Folders:
        """The folders in which a change may change the snapshot, as of the last scan; never the state folder."""
        if self._folders is None:
            self._folders = self._find_folders()
        return self._folders

    def _scan_root(self, root: str, origin: Origin, before: Mapping[str, _Entry], elsewhere: Elsewhere) -> list[Found]:
        try:
            children = _children(root)
        except FileNotFoundError:
            return []
        except OSError as error:
            return self._broken_root(root, origin, error, before)
        return [item for folder in children for item in self._scan_child(folder, origin, before.get(folder), elsewhere)]

    def _scan_child(self, folder: str, origin: Origin, entry: _Entry | None, elsewhere: Elsewhere) -> list[Found]:
        self._children[folder] = None
        current = None if entry is None else _current(entry)
        if current is None:
            if not _has_manifest(folder):
                return []
            if refusal := self._refusal(folder, origin):
                return [Found(broken=refusal)]
            current = _refreshed(self._checked(load(folder, origin, elsewhere), folder, origin), entry)
        self._entries[folder] = current
        return [current.found]

    def _refusal(self, folder: str, origin: Origin) -> BrokenPackage | None:
        """Why the folder is not even read, or None."""
        above, name = os.path.split(folder)
        shown = folder.encode("utf-8", "backslashreplace").decode()
        if shown != folder:
            error, remedy = "the folder's name is not Unicode", "Rename the folder."
        elif any(letter < " " for letter in name):
            # A line about the package could else look like one about another.
            shown = os.path.join(above, name.encode("unicode_escape").decode())
            error, remedy = "the folder's name has a control character", "Rename the folder."
        elif os.path.islink(folder) and not self._is_inside(folder):
            error = f"the folder is a link out of the workspace, to {os.path.realpath(folder)}"
            remedy = "Copy the package into the workspace, or link to a folder inside it."
        else:
            return None
        return BrokenPackage(shown, os.path.basename(shown), origin, shown, error, remedy)

    def _checked(self, package: Package, folder: str, origin: Origin) -> Package:
        """The package, or why it is not taken: somebody else can write to one of its files."""
        if self._is_vouched:
            return package
        found = ownership.problem([folder, *package.reading.stamps])
        if found is None or trust.is_trusted(Path(self._workspace)):
            return package
        error = f"the package is not trusted: {found}, and whoever can write there decides what runs as you"
        remedy = f"Take it over (chown, chmod go-w), or trust all of the workspace: flowd trust {self._workspace}"
        broken = BrokenPackage(folder, os.path.basename(folder), origin, folder, error, remedy)
        return replace(package, flow=None, broken=broken)

    def _is_inside(self, folder: str) -> bool:
        real = os.path.realpath(self._workspace)
        return os.path.commonpath([os.path.realpath(folder), real]) == real

    def _broken_root(self, root: str, origin: Origin, error: OSError, before: Mapping[str, _Entry]) -> list[Found]:
        """The root as one entry. What cannot be looked at may still be there, so its flows stay; a file has none."""
        kept = {} if error.errno == errno.ENOTDIR else {f: e for f, e in before.items() if os.path.dirname(f) == root}
        self._entries.update(kept)
        self._children.update(dict.fromkeys(kept))
        flows = [Found(flow=replace(entry.good, stale=True)) for entry in kept.values() if entry.good]
        message = f"the flow folder cannot be read: {error.strerror or error}"
        remedy = "Make it a folder that flowd may read, or remove it."
        name = os.path.relpath(root, self._workspace)
        broken = BrokenPackage(root, name, origin, root, message, remedy, stale=bool(flows))
        return [Found(broken=broken, is_package=False), *flows]

    def _find_folders(self) -> Folders:
        wanted: dict[str, set[str]] = {}
        for child in self._children:
            wanted.setdefault(child, set()).add(MANIFEST)
        for folder, entry in self._entries.items():
            for path in entry.package.reading.stamps:
                for above, name in _path_up(path, folder):
                    wanted.setdefault(above, set()).add(name)
            for above, name in entry.package.links:
                wanted.setdefault(above, set()).add(name)
        if self._has_tasks:
            for above, name in _path_up(os.path.join(self._workspace, FILE), self._workspace):
                wanted.setdefault(above, set()).add(name)
        for root, _ in self._roots:
            for above, name in (*_path_up(root, self._workspace), *links_of(root, self._workspace)):
                wanted.setdefault(above, set()).add(name)
        found: dict[str, frozenset[str] | None] = {folder: frozenset(names) for folder, names in wanted.items()}
        found.update((root, None) for root, _ in self._roots)
        state = os.path.join(self._workspace, _STATE_DIR)
        return {folder: names for folder, names in found.items() if not f"{folder}/".startswith(f"{state}/")}


def scan_once(workspace: Path, *, is_vouched: bool = False) -> Snapshot:
    """The snapshot of a workspace now, for those who look once."""
    return Scanner(workspace, is_vouched=is_vouched).scan()


def _children(root: str) -> list[str]:
    """Folders in a root, links to folders included, in the order of JavaScript's string comparison."""
    with os.scandir(root) as listed:
        names = [item.name for item in listed if item.is_dir(follow_symlinks=False) or _links_to_folder(item)]
    names.sort(key=lambda name: name.encode("utf-16-be", "surrogatepass"))
    return [os.path.join(root, name) for name in names]


def _links_to_folder(item: os.DirEntry[str]) -> bool:
    try:
        return item.is_symlink() and item.is_dir()
    except OSError:  # a loop of links
        return False


def _has_manifest(folder: str) -> bool:
    """Whether something has that name: a pipe, a folder, or a link to nothing says what it is when it is read."""
    try:
        os.lstat(os.path.join(folder, MANIFEST))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:  # something that cannot be looked at
        return True
    return True


def _current(entry: _Entry) -> _Entry | None:
    """The entry if its files are as they were when they were read, else None."""
    reading = entry.package.reading
    if not reading.is_current():
        return None
    if reading.is_settled():
        return entry
    again = reading.again()
    return replace(entry, package=replace(entry.package, reading=again)) if again.digests == reading.digests else None


def _refreshed(package: Package, entry: _Entry | None) -> _Entry:
    if entry is not None and package.flow is not None and package.flow == entry.good:
        # Nothing that counts has changed: keep the object, and with it its compiled schemas and indexes.
        package = replace(package, flow=entry.good)
    return _Entry(package, package.flow or (entry.good if entry else None))


def _same_packages(before: Mapping[str, _Entry], now: Mapping[str, _Entry]) -> bool:
    if before.keys() != now.keys():
        return False
    pairs = ((before[folder].package, entry.package) for folder, entry in now.items())
    return all(
        old is new or (old.reading.stamps.keys() == new.reading.stamps.keys() and old.links == new.links)
        for old, new in pairs
    )


def _path_up(path: str, top: str) -> Iterator[tuple[str, str]]:
    """Each folder from a path up to ``top`` with the name that leads on; the nearest alone outside ``top``."""
    folder, name = os.path.split(path)
    yield folder, name
    while folder != top and folder.startswith(f"{top}/"):
        folder, name = os.path.split(folder)
        yield folder, name
