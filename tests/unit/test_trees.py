"""What a result says is to come next, read before anything is stored."""

import json

import pytest

from flowd.domain.errors import ChainLimitError
from flowd.domain.result import FlowResult
from flowd.domain.trees import BadNextError, next_events

NOW = "2026-01-01T00:00:00.000Z"


def read(**members: object) -> list[str]:
    text = json.dumps({"status": "changed", **members}, separators=(",", ":"))
    return [event.id for event in next_events(FlowResult("changed", text), first_run_id="run_1", now=NOW, max_events=3)]


def test_events_without_an_id_are_named_by_the_first_run_and_their_place() -> None:
    assert read(next=[{"type": "a"}, {"id": "mine", "type": "a"}, {"type": "a"}]) == ["run_1:0", "mine", "run_1:2"]


@pytest.mark.parametrize("members", [{}, {"next": None}, {"next": []}, {"artifacts": {"next": ["no event"]}}])
def test_most_results_say_nothing_of_what_comes_next(members: dict[str, object]) -> None:
    assert read(**members) == []


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"type": "a"}, "next must be a list of events"),
        ("a", "next must be a list of events"),
        ([{"type": "a"}, "b"], r"next\[1\]: An event is a JSON object"),
        ([{"id": "x"}], r"next\[0\]: .*type is nothing"),
        ([{"id": 7, "type": "a"}], r"next\[0\]: .*id is a number"),
        ([{"id": "a\nb", "type": "a"}], r"next\[0\]: .*control character"),
    ],
)
def test_what_is_no_list_of_events_is_refused_with_its_place(value: object, why: str) -> None:
    with pytest.raises(BadNextError, match=why):
        read(next=value)


def test_more_than_a_tree_may_have_are_not_looked_at() -> None:
    with pytest.raises(ChainLimitError, match="next has 4 events; a tree has 3 at most"):
        read(next=["not even an event"] * 4)
