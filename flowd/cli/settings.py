"""Draws the settings, each as a line that a settings file takes, and with where it comes from."""

from collections.abc import Iterable, Mapping
from typing import Any

from flowd.cli import printing


def draw(settings: Iterable[Mapping[str, Any]]) -> None:
    """A table of settings, as ``daemon.status`` tells them. What cannot be copied stands behind a ``#``."""
    printing.table(
        ("SETTING", "FROM", "ALSO SET BY"), [(_line(one), str(one.get("origin", "")), _ways(one)) for one in settings]
    )


def _line(setting: Mapping[str, Any]) -> str:
    """
    >>> _line({"name": "host.name", "value": "a", "line": 'host.name = "a"'})
    'host.name = "a"'
    >>> _line({"name": "http.listen", "value": None, "default": "off"}), _line({"name": "x[0].webhook", "value": "…"})
    ('# http.listen: off', '# x[0].webhook: …')
    """
    if isinstance(line := setting.get("line"), str):
        return line
    value = setting.get("value")
    told = setting.get("default", "not set") if value is None else value
    return f"# {setting.get('name')}: {told}"


def _ways(setting: Mapping[str, Any]) -> str:
    return ", ".join([*setting.get("variables", ()), *filter(None, [setting.get("flag")])])
