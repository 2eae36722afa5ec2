"""A few of the random sequences that ``make model`` plays by the thousand, and that a difference would be seen."""

import random

import pytest
from model.play import DifferenceError, play

from flowd.engine.scheduler import Scheduler
from flowd.store.sql import queue


@pytest.mark.timeout(240)
def test_the_engine_does_what_its_model_says() -> None:
    seed = random.SystemRandom().randrange(10**9)
    play(seed, 60)


def test_a_scheduler_that_sets_no_timer_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scheduler, "ring_at", lambda *_: None)
    with pytest.raises(DifferenceError):
        play(1, 40)


def test_a_queue_that_starts_the_newest_first_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "NEXT", queue.NEXT.replace("r.ready_seq LIMIT", "r.ready_seq DESC LIMIT"))
    with pytest.raises(DifferenceError):
        play(1, 40)
