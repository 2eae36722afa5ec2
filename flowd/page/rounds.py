"""The rounds of an event and of what it caused: on timelines, and which of their runs a retry of what failed means."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from flowd.api.http.responses import HttpError
from flowd.page.timeline import Timeline, on_one_axis, timeline

View = Mapping[str, Any]

AT_ONCE = 4
"""Timelines that a page shows before somebody asks for earlier ones."""
MORE = 12
"""Earlier ones that come with each wish."""
ROWS = 100
"""Of a timeline. Pages say how many they left out."""
_NAMED = 4
_MAX_RETRIED = 100


class Round(NamedTuple):
    """The runs that one accept or one replay made of a flow for an event."""

    event_id: str
    flow: str
    number: int


class Failed(NamedTuple):
    """What a person sees as failed, and may have tried again.

    Attributes:
        runs: How many.
        where: Their rounds, in words.
        rounds: The same for a form. See `read`.
        is_alone: Whether runs of these very rounds are meant. Else each stands for the newest runs of its flow's steps
            as they were when it was the last round: what was replayed since is not meant.
    """

    runs: int
    where: str
    rounds: str
    is_alone: bool


class Chart(NamedTuple):
    """Rounds on one axis. ``left_out`` are runs that are not drawn; ``failed`` are rounds that could be tried again and
    are not what the event is like now, the newest first."""

    caption: str
    drawing: Timeline
    left_out: int
    failed: list[Failed]


def round_of(run: View) -> Round:
    """Which round a run is of."""
    return Round(run["eventId"], run["flowName"], run.get("round", 1))


def newest(runs: Iterable[View]) -> list[View]:
    """The newest run of each step of an event's runs, which come oldest first."""
    return list({(run["flowName"], run["stepName"]): run for run in runs}.values())


def has_failed(run: View) -> bool:
    """Whether a retry of all that failed takes it. One that ended unstarted is put back by the retry of its need."""
    is_final = run["status"] not in ("queued", "running")
    return is_final and run["effectiveStatus"] == "failed" and run.get("reason") != "needs_not_met"


def failed_now(tree: Sequence[View]) -> Failed | None:
    """What has failed of the events as they are now: of the newest run of each step. None where nothing has."""
    failed = [run for event in tree for run in newest(event["runs"]) if has_failed(run)]
    last: dict[tuple[str, str], int] = {}
    for one in (round_of(run) for event in tree for run in event["runs"]):
        last[one[:2]] = max(last.get(one[:2], 0), one.number)
    seen = [Round(*key, last[key]) for key in dict.fromkeys(round_of(run)[:2] for run in failed)]
    return _failed(failed, seen, is_alone=False)


def charts(runs: Sequence[View], now_ms: int, count: int, retried: Sequence[View] = ()) -> tuple[list[Chart], int]:
    """Timelines of the newest rounds, newest first, and how many there are before these. Rounds that are near to each
    other are on one. Failed runs that are among ``retried`` are none of theirs."""
    grouped: dict[Round, list[View]] = {}
    for run in runs:
        grouped.setdefault(round_of(run), []).append(run)
    axes = on_one_axis(list(grouped.values()), now_ms)
    drawn = (_chart(together, now_ms, {run["id"] for run in retried}) for together in axes[::-1][:count])
    return [chart for chart in drawn if chart is not None], max(0, len(axes) - count)


def _chart(together: Sequence[Sequence[View]], now_ms: int, retried: set[str]) -> Chart | None:
    runs = [run for group in together for run in group]
    drawing = timeline(runs[:ROWS], now_ms)
    if drawing is None:
        return None
    in_words = _listed(f"{group[0]['flowName']}, round {group[0].get('round', 1)}" for group in together)
    failed = (_failed_in(group, retried) for group in together[::-1])
    return Chart(in_words, drawing, max(0, len(runs) - ROWS), [one for one in failed if one is not None][:_NAMED])


def _failed_in(group: Sequence[View], retried: set[str]) -> Failed | None:
    failed = [run for run in newest(group) if has_failed(run)]
    if all(run["id"] in retried for run in failed):
        return None
    return _failed(failed, [round_of(failed[0])], is_alone=True)


def _failed(runs: Sequence[View], rounds: Sequence[Round], *, is_alone: bool) -> Failed | None:
    if not runs:
        return None
    # As many as a form may name; what is left then is there for the next one.
    named = rounds[:_MAX_RETRIED]
    those = {one[:2] for one in named}
    meant = [run for run in runs if round_of(run)[:2] in those]
    where = _listed((f"round {run.get('round', 1)} of {run['flowName']}" for run in meant), between=", ")
    return Failed(len(meant), where, json.dumps(named, ensure_ascii=False), is_alone)


def read(text: str | None) -> list[Round]:
    """Rounds as a form names them.

    Raises:
        HttpError: ``bad_request``.

    >>> read('[["e1", "rel", 2]]')
    [Round(event_id='e1', flow='rel', number=2)]
    """
    try:
        return list(_read(json.loads(text or "")))
    except (ValueError, RecursionError):
        raise HttpError("bad_request", "The form does not say of which rounds. Load the page again.") from None


def _read(said: object) -> Iterator[Round]:
    if not isinstance(said, list) or len(said) > _MAX_RETRIED:
        raise ValueError
    for one in said:
        match one:
            case [str(event_id), str(flow), int(number)]:
                yield Round(event_id, flow, number)
            case _:
                raise ValueError


def _listed(names: Iterable[str], between: str = "; ") -> str:
    """The first few of these, each once.

    >>> _listed(["a", "b", "a"]), _listed("abcdef")
    ('a; b', 'a; b; c; d and 2 more')
    """
    found = list(dict.fromkeys(names))
    return between.join(found[:_NAMED]) + (f" and {len(found) - _NAMED} more" if len(found) > _NAMED else "")
