"""Events as they come in: what is filled in, what is refused."""

import pickle
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.domain import errors
from flowd.domain.errors import InvalidEventError
from flowd.domain.event import (
    LOOK_AT_ONCE,
    MAX_DEPTH,
    MAX_ID_CHARS,
    MAX_TYPE_CHARS,
    fingerprint,
    is_too_deep,
    normalise,
)

NOW = "2026-01-01T00:00:00.000Z"


def test_what_the_sender_leaves_out_is_filled_in() -> None:
    event = normalise({"id": "e1", "type": "a"}, now=NOW)
    assert (event.received_at, event.payload, event.source, event.occurred_at) == (NOW, {}, None, None)
    assert event.members == {"id": "e1", "type": "a", "receivedAt": NOW, "payload": {}}


def test_unknown_members_stay() -> None:
    assert normalise({"id": "e1", "type": "a", "x": [1]}, now=NOW).members["x"] == [1]


def test_the_senders_own_object_is_left_alone() -> None:
    sent: dict[str, object] = {"id": "e1", "type": "a", "source": None}
    normalise(sent, now=NOW)
    assert sent == {"id": "e1", "type": "a", "source": None}


@pytest.mark.parametrize("received_at", ["", None, 5, []])
def test_a_time_of_receipt_that_is_none_becomes_now(received_at: object) -> None:
    event = normalise({"id": "e1", "type": "a", "receivedAt": received_at}, now=NOW)
    assert event.received_at == event.members["receivedAt"] == NOW


def test_a_time_of_receipt_is_kept() -> None:
    assert normalise({"id": "e1", "type": "a", "receivedAt": "earlier"}, now=NOW).received_at == "earlier"


@pytest.mark.parametrize("payload", [None, [], "x", 5, False])
def test_a_payload_may_be_any_json(payload: object) -> None:
    event = normalise({"id": "e1", "type": "a", "payload": payload}, now=NOW)
    assert event.payload == payload
    assert event.members["payload"] == payload


def test_null_for_an_optional_member_counts_as_absent() -> None:
    event = normalise({"id": "e1", "type": "a", "source": None, "occurredAt": None}, now=NOW)
    assert "source" not in event.members
    assert "occurredAt" not in event.members


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "x",
        {},
        {"id": "e1"},
        {"type": "a"},
        {"id": "", "type": "a"},
        {"id": "e1", "type": ""},
        {"id": 5, "type": "a"},
        {"id": "e1", "type": None},
        {"id": "a\x00b", "type": "a"},
        {"id": "e1", "type": "a\nb"},
        {"id": "x" * (MAX_ID_CHARS + 1), "type": "a"},
        {"id": "e1", "type": "x" * (MAX_TYPE_CHARS + 1)},
        {"id": "e1", "type": "a", "source": {}},
        {"id": "e1", "type": "a", "occurredAt": 5},
    ],
)
def test_what_is_no_event_is_refused(value: object) -> None:
    with pytest.raises(InvalidEventError) as caught:
        normalise(value, now=NOW)
    assert len(caught.value.message) < 200


def test_the_longest_names_are_taken() -> None:
    assert normalise({"id": "x" * MAX_ID_CHARS, "type": "y" * MAX_TYPE_CHARS}, now=NOW).id == "x" * MAX_ID_CHARS


@given(
    st.dictionaries(st.sampled_from(["id", "type", "source", "occurredAt", "receivedAt", "payload", "x"]), st.text())
)
def test_normalising_twice_changes_nothing(value: dict[str, str]) -> None:
    try:
        once = normalise(value, now=NOW)
    except InvalidEventError:
        return
    assert normalise(once.members, now="later") == once


def test_a_fingerprint_tells_contents_apart() -> None:
    assert fingerprint(b"a") == fingerprint(b"a") != fingerprint(b"b")
    assert len(fingerprint(b"")) == 16


def test_every_refusal_is_the_same_after_another_process_has_sent_it() -> None:
    made = [errors.EventNotFoundError("e"), errors.RunNotFoundError("r"), errors.QueueFullError("full", limit=3)]
    for error in made:
        again = pickle.loads(pickle.dumps(error))
        assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


def looked(value: dict[str, object]) -> tuple[bool, int]:
    """Whether it is too deep, and how often there was a pause."""
    looking = is_too_deep(value)
    pauses = 0
    while True:
        try:
            next(looking)
        except StopIteration as end:
            return bool(end.value), pauses
        pauses += 1


def nested(levels: int, innermost: object) -> dict[str, object]:
    value = innermost
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return {"payload": value}


def test_a_member_below_the_deepest_level_is_too_deep() -> None:
    assert looked(nested(MAX_DEPTH - 1, 0)) == (False, 0)
    assert looked(nested(MAX_DEPTH - 1, [])) == (False, 0)
    assert looked(nested(MAX_DEPTH, 0)) == (True, 0)


@pytest.mark.parametrize(  # made by the test: every process of the tests reads this list
    "make",
    [
        lambda: [0] * 200_000,
        lambda: [[] for _ in range(200_000)],
        lambda: [nested(199, 0) for _ in range(1000)],
        lambda: dict.fromkeys(map(str, range(200_000)), 0),
    ],
    ids=["flat", "empty", "deep", "an object"],
)
def test_a_large_event_is_looked_at_in_pieces(make: Callable[[], object]) -> None:
    is_deep, pauses = looked({"payload": make()})
    assert not is_deep
    assert 5 <= pauses <= 200_000 // LOOK_AT_ONCE + 1
