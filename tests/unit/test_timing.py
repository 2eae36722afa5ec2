"""What events say of when their runs may start, and how steps and people are told of times."""

from datetime import UTC, datetime, timedelta

import pytest

from flowd.cli import run_words
from flowd.domain.errors import InvalidEventError
from flowd.domain.instants import instant
from flowd.domain.timing import MAX_WAIT_MS, Timing, WantedQuiet, not_before_ms
from flowd.store.sql import timings
from flowd_client.views.run import read_run

NOW_MS = 1_700_000_000_000


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("2026-01-31T14:05:00", "'2026-01-31T14:05:00'; it must be an instant with its offset"),
        ("2026-01-31", "must be an instant"),
        ("10m", "'10m'; it must be an instant"),
        ("", "must be an instant"),
        ("soon", "must be an instant"),
        ("10000-01-01T00:00:00Z", "must be an instant"),
        (1_800_000_000_000, "of JSON type int"),
        (float("nan"), "of JSON type float"),
        (True, "of JSON type bool"),
        ([], "of JSON type list"),
        (instant(NOW_MS + MAX_WAIT_MS + 1), "is more than a year ahead"),
        ("9999-12-31T23:59:59Z", "is more than a year ahead"),
    ],
)
def test_what_is_no_instant_of_the_next_year_is_refused(said: object, problem: str) -> None:
    with pytest.raises(InvalidEventError) as caught:
        not_before_ms({"notBefore": said}, now_ms=NOW_MS)
    assert problem in caught.value.message
    assert caught.value.details == {"member": "notBefore"}


@pytest.mark.parametrize("said", [None, instant(NOW_MS), instant(NOW_MS - 86_400_000), "0001-01-01T00:00:00+23:59"])
def test_what_is_over_and_what_is_not_said_starts_at_once(said: object) -> None:
    assert not_before_ms({"notBefore": said}, now_ms=NOW_MS) is None


def test_an_instant_may_be_written_in_any_zone() -> None:
    assert not_before_ms({"notBefore": "2023-11-15T00:00:00+01:00"}, now_ms=NOW_MS) == 1_700_002_800_000
    assert not_before_ms({"notBefore": instant(NOW_MS + MAX_WAIT_MS)}, now_ms=NOW_MS) == NOW_MS + MAX_WAIT_MS


@pytest.mark.parametrize(
    "timing",
    [
        Timing(),
        Timing(5, 7, 9, WantedQuiet('["ü"]', 1, 2)),
        Timing(quiet=WantedQuiet("[]", 1)),
        Timing(not_before_ms=0),
    ],
)
def test_what_runs_ask_of_times_is_stored_and_read(timing: Timing) -> None:
    text = timings.written(timing)
    assert text is not None
    assert timings.read(text) == timing


def words_of(**waiting: object) -> str | None:
    return run_words.waiting(read_run({"id": "r", "processStatus": "queued", "waitingFor": waiting}))


def test_what_waits_for_a_time_says_so_in_words() -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    assert words_of(until=soon, why="delay") in ("starts in 30 s", "starts in 29 s")
    assert words_of(until=soon, why="debounce") in ("waits for 30 s of quiet", "waits for 29 s of quiet")
    assert words_of(until=soon, why="retry", attempt=2, of=4) in ("attempt 2 of 4 in 30 s", "attempt 2 of 4 in 29 s")
    then = datetime.now(UTC) + timedelta(days=40)
    assert words_of(until=then.isoformat(), why="notBefore") == f"starts at {then.astimezone():%Y-%m-%d %H:%M}"
    assert words_of(until="2001-01-01T00:00:00Z", why="delay") == "starts in a moment"
