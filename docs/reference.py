"""Writes the reference tables of the documentation, which are made of the code: ``make docs``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; all else is left as it is. The tests check that
the tables are current.
"""

import copy
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
import msgspec

from docs import packaging, shapes_reference
from flowd.api.http.hooks import Hooks
from flowd.api.http.responses import JSON
from flowd.api.http.route import Route
from flowd.api.http.routes import Routes
from flowd.api.methods import Methods
from flowd.api.metrics.families import ALL
from flowd.cli.main import cli
from flowd_client import wire
from flowd_client.methods import METHODS

ROOT = Path(__file__).parents[1]
PAGES = tuple(
    ROOT / "docs" / name
    for name in ("reference/api.md", "reference/cli.md", "reference/keys.md", "http.md", "metrics.md", "settings.md")
)

_TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NOTHING: Any = None
"""In the place of an engine: nothing is called here."""


def current(text: str) -> str:
    """The text with its tables as they should be.

    Raises:
        KeyError: There is no table of such a name.
    """
    return _TABLE.sub(lambda found: f"{found[1]}{_TABLES[found[2]]()}\n{found[3]}", text)


def _methods() -> str:
    table = Methods(_NOTHING, status=_NOTHING, drain=_NOTHING).table
    return _table(
        "method | params | what it does",
        ((f"`{name}`", _params(method.params) or "-", METHODS[name].summary) for name, method in table.items()),
    )


def _params(kind: type[msgspec.Struct]) -> str:
    return ", ".join(f"`{field.encode_name}{'' if field.required else '?'}`" for field in msgspec.structs.fields(kind))


def _errors() -> str:
    return _table(
        "slug | code | HTTP | meaning",
        ((f"`{slug}`", str(it.code), str(it.http_status), it.meaning) for slug, it in wire.FAILURES.items()),
    )


def _http_errors() -> str:
    return _table(
        "slug | status | meaning",
        ((f"`{slug}`", str(status), meaning) for slug, (status, meaning) in wire.HTTP_FAILURES.items()),
    )


def _routes() -> str:
    table = Methods(_NOTHING, status=_NOTHING, drain=_NOTHING).table
    routes = Routes(
        table,
        hooks=Hooks({}),
        measure=_NOTHING,
        is_ready=_NOTHING,
        feed=_NOTHING,
        snapshot=_NOTHING,
    )
    return _table("route | scope | response | what it does", map(_route, routes.all))


def _route(route: Route) -> tuple[str, ...]:
    target = route.path
    if route.verb == "GET" and route.takes is not None:
        names = [field.encode_name for field in msgspec.structs.fields(route.takes)]
        query = [name for name in names if f"{{{name}}}" not in target]
        target += f"?{'&'.join(query)}" if query else ""
    about = f"{route.summary} {route.note}".strip()
    return f"`{route.verb} {target}`", route.scope or "-", f"{route.status} {_given(route)}".strip(), about


def _given(route: Route) -> str:
    if route.media != JSON:
        return f"`{route.media}`"
    if route.gives is None:
        return ""
    fields = msgspec.structs.fields(route.gives)
    members = [field.encode_name for field in fields if field.required]
    return f"`{{{', '.join(members if len(members) == len(fields) else [*members, '…'])}}}`"


def _metrics() -> str:
    return _table(
        "name | kind | labels | what it tells",
        ((f"`{it.name}`", it.kind, ", ".join(f"`{label}`" for label in it.labels) or "-", it.about) for it in ALL),
    )


def _verbs() -> str:
    root = click.Context(cli, info_name="flowd", **cli.context_settings)
    return "\n".join(f"### {name}\n\n```console\n$ {name} --help\n{text}\n```\n" for name, text in _helps(root, cli))


def _helps(context: click.Context, group: click.Group) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context, terminal_width=80, max_content_width=80)
        yield inner.command_path, _help(command, inner)
        if isinstance(command, click.Group):
            yield from _helps(inner, command)


def _help(command: click.Command, context: click.Context) -> str:
    """What ``--help`` prints, without the options of every verb."""
    own = copy.copy(command)
    own.params = [it for it in command.params if not packaging.SHARED & {*it.opts}]
    own.add_help_option = False
    lines = own.get_help(context).splitlines()
    return "\n".join(line.rstrip() for line in lines)


def _keys(name: str) -> str:
    return _table("name | may be | default | what it is for", shapes_reference.rows(name))


def _table(head: str, rows: Iterator[tuple[str, ...]]) -> str:
    columns = head.split(" | ")
    lines = [" | ".join(columns), "|".join("---" for _ in columns), *(" | ".join(row) for row in rows)]
    return "\n".join(f"| {line} |" if number != 1 else f"|{line}|" for number, line in enumerate(lines))


_TABLES = {
    "methods": _methods,
    "errors": _errors,
    "http_errors": _http_errors,
    "routes": _routes,
    "verbs": _verbs,
    "metrics": _metrics,
    **{name: partial(_keys, name) for name in (*shapes_reference.shapes(), *shapes_reference.keys())},
}


def main() -> None:
    """Bring all pages up to date, and the man page."""
    shapes_reference.write()
    for page in PAGES:
        page.write_text(current(page.read_text(encoding="utf-8")), encoding="utf-8")
    packaging.MAN_PAGE.write_text(packaging.man_page(), encoding="utf-8")


if __name__ == "__main__":
    main()
