"""Draws the settings as a settings file has them, each with where it comes from."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from flowd.cli import printing

_WIDTH = 36
"""Columns of a setting, where it is no longer: of 80, the rest is for where it is from."""


def draw(settings: Iterable[Mapping[str, Any]], workspace: str = "") -> None:
    """Settings as ``daemon.status`` tells them, a line each. All of it is TOML: what cannot be copied, and what is said
    of a setting, stand behind a ``#``."""
    for one in settings:
        printing.line(f"{_line(one).ljust(_WIDTH)}  # {_origin(one, workspace)}{_ways(one)}")


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
