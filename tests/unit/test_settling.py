"""When changes are told that come one after the other."""

import itertools

from flowd.domain.settling import Settling


def settled(*changes_ms: int) -> Settling:
    it = Settling(settle_ms=300, longest_ms=3_000)
    for at_ms in changes_ms:
        it.changed(at_ms)
    return it


def test_without_a_change_nothing_is_due() -> None:
    assert settled().due_ms is None


def test_changes_are_due_when_they_have_settled() -> None:
    it = settled(1_000, 1_200, 1_250)
    assert it.due_ms == 1_550
    assert not it.is_quiet(1_549)
    assert it.is_quiet(1_550)


def test_changes_that_never_settle_are_due_all_the_same() -> None:
    it = settled(*range(1_000, 9_000, 100))
    assert it.due_ms == 4_000
    assert not it.is_quiet(4_000)


def test_what_changes_while_the_rest_is_told_is_due_by_itself() -> None:
    it = settled(1_000)
    it.taken()
    assert it.due_ms is None
    it.changed(1_310)
    it.told(1_320)
    assert it.due_ms == 1_610


def test_what_could_not_be_told_is_tried_again_after_a_while_that_grows() -> None:
    it, at_ms, waits = settled(1_000), 1_300, []
    for _ in range(7):
        it.taken()
        it.failed(at_ms)
        assert it.due_ms is not None
        waits.append(it.due_ms - at_ms)
        at_ms = it.due_ms
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]
    it.changed(at_ms)
    it.taken()
    it.told(at_ms)
    it.changed(at_ms)
    assert it.due_ms == at_ms + 300


def test_a_round_that_starts_itself_is_slowed_to_one_event_every_two_seconds() -> None:
    it, at_ms, instants = settled(), 0, []
    for _ in range(60):
        it.changed(at_ms)
        assert it.due_ms is not None
        at_ms = it.due_ms
        it.taken()
        it.told(at_ms)
        instants.append(at_ms)
    assert instants[:20] == list(range(300, 6_300, 300))
    assert it.is_slowed(at_ms)
    assert [later - earlier for earlier, later in itertools.pairwise(instants[30:])] == [2_000] * 29
    assert not it.is_slowed(at_ms + 60_000)
    it.changed(at_ms + 60_000)
    assert it.due_ms == at_ms + 60_300
