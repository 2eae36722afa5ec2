"""Draws the settings as a settings file has them, each with where it comes from."""

import os
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from flowd.cli import printing
from flowd.domain.errors import FlowdError

_WIDTH = 36
"""Columns of a setting, where it is no longer: of 80, the rest is for where it is from."""


def draw(settings: Iterable[Mapping[str, Any]], workspace: str = "", *, columns: int | None = None) -> None:
    """Settings as ``daemon.status`` tells them, a line each, what somebody has set first. All of it is TOML: what
    cannot be copied, and what is said of a setting, stand behind a ``#``.

    Args:
        columns: Of a screen, which is to hold all of it: of what counts by default, there are only the names.
    """
    by_origin: dict[bool, list[Mapping[str, Any]]] = {False: [], True: []}
    for one in settings:
        by_origin[one.get("origin") == "default"].append(one)
    for one in [*by_origin[False], *(by_origin[True] if columns is None else ())]:
        printing.line(f"{_line(one).ljust(_WIDTH)}  # {_origin(one, workspace)}{_ways(one)}")
    if columns is None or not by_origin[True]:
        return
    nothing = "Nothing is set; all settings" if not by_origin[False] else "These"
    names = ", ".join(str(one.get("name")) for one in by_origin[True])
    told = f"{nothing} count by default (`flowd status --config | cat` shows their values): {names}."
    for text in textwrap.wrap(told, columns - 2, break_long_words=False, break_on_hyphens=False):
        printing.line(f"# {text}")


def draw_files(workspace: Path) -> None:
    """The settings that a daemon would start with here, as the files and the environment are."""
    from flowd.settings import sources  # noqa: PLC0415 - only where no daemon can be asked

    try:
        settings = sources.load(workspace, is_vouched=True)
    except FlowdError as error:
        if not tell_wrong(workspace):
            printing.note(f"flowd: {error.message}")
        return
    draw(settings.table, str(settings.workspace), columns=printing.screen_columns())


def tell_wrong(workspace: Path, *, more: str = "") -> bool:
    """Say on stderr what is wrong in the files, and ``more``. Whether there is anything."""
    from flowd.settings.findings import find  # noqa: PLC0415 - only once the settings are asked for

    wrong = [finding for finding in find(workspace) if finding.is_error]
    for finding in wrong:
        printing.note(f"flowd: {finding.sentence()}")
    if wrong and more:
        printing.note(f"flowd: {more}")
    return bool(wrong)


def _line(setting: Mapping[str, Any]) -> str:
    """
    >>> _line({"name": "host.name", "value": "a", "line": 'host.name = "a"'})
    'host.name = "a"'
    >>> _line({"name": "http.listen", "value": None, "default": "off"}), _line({"name": "x[0].webhook", "value": "…"})
    ('# http.listen', '# x[0].webhook: …')
    """
    if isinstance(line := setting.get("line"), str):
        return line
    value = setting.get("value")
    return f"# {setting.get('name')}" + ("" if value is None else f": {value}")


def _origin(setting: Mapping[str, Any], workspace: str) -> str:
    """
    >>> _origin({"origin": "/w/.codex/flowd.toml:3"}, "/w"), _origin({"origin": "default", "default": "off"}, "/w")
    ('.codex/flowd.toml:3', 'default: off')
    """
    origin = str(setting.get("origin", "")).replace(f"{workspace}{os.sep}", "") if workspace else setting.get("origin")
    if origin != "default" or "line" in setting:
        return str(origin)
    return f"default: {default}" if (default := setting.get("default")) else "not set"


def _ways(setting: Mapping[str, Any]) -> str:
    """
    >>> _ways({"variables": ["FLOWD_HTTP"], "flag": "--http"}), _ways({})
    (' (FLOWD_HTTP, --http)', '')
    """
    ways = [*setting.get("variables", ()), *filter(None, [setting.get("flag")])]
    return f" ({', '.join(ways)})" if ways else ""
