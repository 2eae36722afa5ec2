"""A few of the random sequences that ``make model`` plays by the thousand, and that a difference would be seen."""

import random
from collections.abc import Callable

import pytest
from model.play import DifferenceError, play

from flowd.domain.waiting import TimeWait
from flowd.engine.scheduler import Scheduler
from flowd.store.sql import bursts, expiring, gates, keys, needs, pauses, queue, times
from flowd.store.sql.passing import Passing

GATES = (("needs", needs), ("time", times), ("pause", pauses), ("key", keys))


@pytest.mark.timeout(240)
def test_the_engine_does_what_its_model_says() -> None:
    seed = random.SystemRandom().randrange(10**9)
    play(seed, 60)


def test_a_scheduler_that_sets_no_timer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "ring_at", lambda *_: None)
    with pytest.raises(DifferenceError):
        play(1, 40)


@pytest.mark.parametrize(
    ("owner", "name", "instead", "seed"),  # a seed that shows it soon
    [
        (times, "look", lambda *_: Passing.FREE, 1),
        (expiring, "end", lambda *_, **__: [], 53),
        (bursts, "come", lambda *_: (TimeWait(1, 1, "debounce"), []), 1),
    ],
)
def test_a_store_that_knows_no_times_is_found_out(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str, instead: Callable[..., object], seed: int
) -> None:
    monkeypatch.setattr(owner, name, instead)
    monkeypatch.setattr(gates, "GATES", tuple((gate, module.look) for gate, module in GATES))
    with pytest.raises(DifferenceError):
        play(seed, 60)


def test_a_queue_that_starts_the_newest_first_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "NEXT", queue.NEXT.replace("r.ready_seq LIMIT", "r.ready_seq DESC LIMIT"))
    with pytest.raises(DifferenceError):
        play(1, 40)
