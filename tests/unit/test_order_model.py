"""The model of runs in order keeps what it says of itself, and its search would find where it does not."""

from collections.abc import Callable

import pytest
from model.flows import End, Flow, Step
from model.model import Model, RefusedError
from model.records import Lane, Run
from model.search import BrokenError, search
from model.truths import Truths


def test_random_sequences_break_nothing() -> None:
    for seed in range(60):
        search(seed, acts=40)


@pytest.mark.parametrize(
    ("owner", "name", "instead"),
    [
        (Lane, "has_room", property(lambda lane: True)),
        (Model, "_is_kept_by_needs", lambda *_: False),
        (Model, "_is_kept_by_person", lambda *_: False),
        (Model, "_is_kept_by_pause", lambda *_: False),
        (Model, "_hand_over", lambda *_: None),
        (Model, "_give_up_key", lambda *_: None),
        (Model, "_look_at_dependents", lambda *_: None),
        (Model, "_is_caused_anew", lambda *_: True),
    ],
)
def test_the_search_finds_what_is_broken(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, instead: Callable[..., object]
) -> None:
    monkeypatch.setattr(owner, name, instead)
    with pytest.raises(BrokenError):
        for seed in range(60):
            search(seed, acts=40)


def test_what_a_daemon_starts_before_it_dies_goes_by_its_own_number_of_places() -> None:
    model = Model([Flow("plain", (Step("plain", "plain", "go"),))], max_parallel=1)
    truths = Truths(model)
    model.parallel(2)
    model.accept("e1", "go", "x")
    model.accept("e2", "go", "x")
    truths.daemon_died()
    model.restart()
    assert truths.broken() == []
    model.places = 3
    model.accept("e3", "go", "x")
    model.places = 1
    assert truths.broken() == ["more was started than there are places"]


CHAIN = Flow("chain", (Step("chain", "a", "go"), Step("chain", "b", None, ("a",)), Step("chain", "c", None, ("b",))))


def chain() -> tuple[Model, Run, Run, Run]:
    model = Model([CHAIN])
    model.accept("e1", "go", "x")
    a, b, c = model.runs
    return model, a, b, c


def test_a_failure_leaves_out_all_below_and_its_retry_puts_it_back() -> None:
    model, a, b, c = chain()
    model.exit(a, End(1))
    assert [(run.status, run.effective, run.reason) for run in (b, c)] == [
        ("completed", "skipped", "needs_not_met")
    ] * 2
    model.retry(a)
    assert (a.status, b.status, c.status) == ("running", "queued", "queued")


def test_a_question_keeps_what_needs_it_until_a_person_has_answered() -> None:
    model, a, b, _ = chain()
    model.exit(a, End(0, "blocked"))
    assert b.waits is not None
    assert (b.waits.kind, b.waits.what) == ("person", a)
    model.resolve(a, "completed")
    assert b.status == "running"
    with pytest.raises(RefusedError, match="already_answered"):
        model.resolve(a, "failed")
