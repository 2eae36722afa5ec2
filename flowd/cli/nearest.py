"""The nearest misses of an event that matches no step: what was probably meant, in a few lines."""

from collections.abc import Iterable, Iterator

from flowd.cli import printing
from flowd.cli.explain import meant_type, sentences
from flowd.cli.leads import near
from flowd.cli.session import Session
from flowd_client.views.catalog import ExplainView, VerdictView

_MAX_STEPS = 3
_MAX_ERRORS = 3
"""Of a payload that does not fit."""
_MAX_TYPES = 5


def tell(session: Session, view: ExplainView, sentence: str, *, is_broken_told: bool = False) -> None:
    """That nothing matches, and what almost does, on stderr.

    Args:
        view: What every step says to the event.
        sentence: What comes of that; what is nearest follows.
        is_broken_told: Somebody has said already which packages are broken.
    """
    said = list(lines(view, is_broken_told=is_broken_told))
    printing.note(f"flowd: {sentence}{' Nearest:' if said else ''}")
    for text in said:
        printing.note(text)
    if len(view.steps) > 1:
        printing.note(f"`{session.typed('explain')}` with the same event says it of all {len(view.steps)} steps.")


def lines(view: ExplainView, *, is_broken_told: bool = False) -> Iterator[str]:
    """What almost matched, else which types are waited for; empty where that says nothing. For the rest see `tell`."""
    found = _nearest(view)
    for verdict in found[:_MAX_STEPS]:
        said = list(sentences(verdict, view.type))
        yield from (f"  {text}" for text in said[: 1 + _MAX_ERRORS])
        if len(said) > 1 + _MAX_ERRORS:
            yield f"      … and {len(said) - 1 - _MAX_ERRORS} more"
    if meant := meant_type(view):
        yield f"  Did you mean {meant}?"
    for broken in () if is_broken_told else view.broken[:_MAX_STEPS]:
        yield f"  {broken.name} is broken: {broken.sentence()}"
    if not view.steps and not view.broken:
        yield "  There is no flow package. `flowd new NAME` writes one."
    elif not found and (types := _types(view.steps)):
        more = f" and {len(types) - _MAX_TYPES} more" if len(types) > _MAX_TYPES else ""
        yield f"  Steps wait for {', '.join(types[:_MAX_TYPES])}{more}."


def _nearest(view: ExplainView) -> list[VerdictView]:
    """Those that wait for its type, or for one that is spelled much like it."""
    alike = near(view.type or "", _types(view.steps), count=_MAX_STEPS)
    ranked = [verdict for reason in ("schema", "needs") for verdict in view.steps if verdict.reason == reason]
    # A step that needs others is near only where one of those is.
    ranked = [verdict for verdict in ranked if verdict.reason == "schema" or verdict.trigger_type == view.type]
    return ranked + [
        verdict for kind in alike for verdict in view.steps if (verdict.reason, verdict.trigger_type) == ("type", kind)
    ]


def _types(steps: Iterable[VerdictView]) -> list[str]:
    return sorted({verdict.trigger_type for verdict in steps if verdict.trigger_type})
