"""Reads ``[[watches]]``. A watch that was misread would stay silent for ever, so every mistake is an error."""

from flowd.catalog.shapes import MAX_NAME_CHARS, MAX_PATTERNS, MAX_WATCHES
from flowd.catalog.table import Table, kind_of
from flowd.domain.event import MAX_TYPE_CHARS
from flowd.domain.watches import Watch
from flowd.watching.patterns import problem_of

_EXAMPLE = 'Write patterns as in a .gitignore, relative to the workspace: paths = ["src/**", "!src/gen/**"].'


def read_watches(manifest: Table, flow: str) -> tuple[Watch, ...]:
    """The watches of a flow.

    Raises:
        ManifestError: A member is missing, unknown, or has a value that cannot be used.
    """
    values = manifest.values.get("watches", [])
    remedy = "Write each under [[watches]], with two brackets on each side."
    if not isinstance(values, list):
        manifest.fail("watches", f"watches must be a list, got {kind_of(values)}", remedy)
    if len(values) > MAX_WATCHES:
        manifest.fail("watches", f"there are more than {MAX_WATCHES} watches", "Give one watch more paths.")
    found: dict[str, Watch] = {}
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            manifest.fail("watches", f"watch {index + 1} must be a table, got {kind_of(value)}", remedy)
        table = manifest.part(value, ("watches", index), f"watch {index + 1}", "watch")
        watch = table.tried(None, _read, table, flow)
        if watch is None:
            continue
        if watch.name in found:
            message = "another watch of this flow has the same name"
            table.error("name", message, "Rename one of them.", code="duplicate-name")
        found[watch.name] = watch
    return tuple(found.values())


def _read(table: Table, flow: str) -> Watch:
    name = table.needed_string("name")
    if len(name) > MAX_NAME_CHARS or "/" in name:
        table.fail("name", f"name {kind_of(name)} has a slash, or more than {MAX_NAME_CHARS} characters", "Shorten it.")
    table.label = f'watch "{name}"'
    table.refuse_unknown("unknown key")
    return Watch(
        flow=flow,
        name=name,
        paths=table.tried((), _paths, table),
        type=table.tried("", _type, table),
        settle_ms=table.integer("settle_ms"),
        gitignore=table.values.get("gitignore") is None or table.boolean("gitignore"),
    )


def _paths(table: Table) -> tuple[str, ...]:
    value = table.values.get("paths")
    if not isinstance(value, list) or not value:
        got = "is missing" if value is None else "is empty" if value == [] else f"must be a list, got {kind_of(value)}"
        table.fail("paths", f"paths {got}", _EXAMPLE)
    if len(value) > MAX_PATTERNS:
        table.fail("paths", f"paths has more than {MAX_PATTERNS} patterns", "Use fewer, or wider ones.")
    for index, line in enumerate(value):
        if not isinstance(line, str):
            table.fail("paths", f"paths must hold strings, got {kind_of(line)}", _EXAMPLE, member=(index,))
        if problem := problem_of(line):
            table.fail("paths", f"path {kind_of(line)} {problem}", _EXAMPLE, member=(index,))
    if all(line.startswith("!") for line in value):
        table.fail("paths", "paths leaves things out, and takes nothing", 'Put what is to be watched first: "src/**".')
    return tuple(value)


def _type(table: Table) -> str:
    found = table.needed_string("type")
    if len(found) > MAX_TYPE_CHARS:
        table.fail("type", f"type is longer than {MAX_TYPE_CHARS} characters", "Shorten it.")
    if found.endswith(".*"):
        table.fail("type", f"type {kind_of(found)} is a prefix of types", "Name the type that the events have.")
    return found
