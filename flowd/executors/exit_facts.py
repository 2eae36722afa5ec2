"""An exit as JSON-ready facts: in frames and records of the keeper, and in the unit records on disk."""

from collections.abc import Mapping
from typing import Any

from flowd.domain.exit import Exit


def exit_of(facts: Mapping[str, Any]) -> Exit:
    """The exit that such facts describe. What is absent or null is not known.

    >>> exit_of({"code": 3, "leftovers": ["7 sleep"], "survivors": None}) == Exit(code=3, leftovers=("7 sleep",))
    True
    """
    return Exit(
        code=facts.get("code"),
        signal=facts.get("signal"),
        cause=facts.get("cause"),
        leftovers=tuple(facts.get("leftovers") or ()),
        survivors=tuple(facts.get("survivors") or ()),
        max_rss_bytes=facts.get("max_rss_bytes"),
        cpu_ms=facts.get("cpu_ms"),
        out_of_memory=bool(facts.get("out_of_memory")),
        was_writing=bool(facts.get("was_writing")),
        unwritten_bytes=facts.get("unwritten_bytes") or 0,
        shrunk=tuple(facts.get("shrunk") or ()),
        ended_at_ms=facts.get("ended_at_ms"),
        duration_ms=facts.get("duration_ms"),
    )


def facts_of(exit_: Exit) -> dict[str, Any]:
    """The facts of an exit.

    >>> exit_of(facts_of(Exit(code=3, leftovers=("7 sleep",)))) == Exit(code=3, leftovers=("7 sleep",))
    True
    """
    return {name: getattr(exit_, name) for name in Exit.__slots__}
