"""What was counted is told right, whichever flows have names."""

import random
from collections import Counter

from flowd.domain.tallies import AT_ONCE, MAX_NAMED, OTHERS, FlowTally, Histogram


def told(tally: FlowTally) -> dict[tuple[str, ...], int]:
    for _ in tally.settle():
        pass
    return dict(tally.told())


def count(tally: FlowTally, flow: str, times: int) -> None:
    for _ in range(times):
        tally.add(flow)


def test_a_value_on_a_bound_is_below_it_and_the_largest_is_counted_too() -> None:
    histogram = Histogram((1, 2))
    for value in (0, 1, 1.5, 2, 2.1):
        histogram.add(value)
    assert histogram.up_to() == [2, 4, 5]
    assert histogram.total == 6.6


def test_the_busiest_flows_have_names_and_the_rest_stands_together() -> None:
    tally = FlowTally()
    for number in range(1000):
        count(tally, f"f{number:04}", number + 1)
    counts = told(tally)
    assert counts.pop((OTHERS,)) == sum(range(1, 901))
    assert counts == {(f"f{number:04}",): number + 1 for number in range(900, 1000)}
    assert len(counts) == MAX_NAMED


def test_a_flow_that_is_called_other_is_among_the_others() -> None:
    tally = FlowTally()
    tally.add(OTHERS)
    tally.add("mine")
    assert told(tally) == {("mine",): 1, (OTHERS,): 1}
    assert [key for key, _ in tally.told()] == [("mine",), (OTHERS,)]


def test_a_flow_takes_anothers_place_once_it_is_half_as_busy_again() -> None:
    tally = FlowTally()
    for number in range(MAX_NAMED):
        count(tally, f"old{number}", 10 + number)
    count(tally, "new", 10)
    assert told(tally)[OTHERS,] == 10
    count(tally, "new", 5)
    assert told(tally)[OTHERS,] == 15, "as busy as 15 is half as busy again as 10, and no more"
    count(tally, "new", 1)
    counts = told(tally)
    assert counts["new",] == 1, "what it did without a name was told already"
    assert counts[OTHERS,] == 15
    assert ("old0",) not in counts


def test_no_count_ever_falls_and_the_rates_add_up_whoever_has_a_name() -> None:
    chance, tally, before, whole = random.Random(7), FlowTally(), Counter[tuple[str, ...]](), 0
    seen: dict[tuple[str, ...], int] = {}
    grown = 0
    for round_ in range(40):
        for _ in range(400):
            tally.add(f"f{chance.randrange(round_ * 5, round_ * 5 + 150)}", chance.choice("ab"))
            whole += 1
        counts = told(tally)
        assert len({key[0] for key in counts} - {OTHERS}) <= MAX_NAMED
        for key, value in counts.items():
            assert value >= seen.get(key, 0)
            grown += value - seen.get(key, 0)
            seen[key] = value
        before.update(counts)
    assert grown == whole


def test_counting_goes_on_between_the_steps_of_a_settlement() -> None:
    tally = FlowTally()
    for number in range(3 * AT_ONCE):
        tally.add("f", str(number))
    steps = 0
    for _ in tally.settle():
        steps += 1
        tally.add("f", "late")
    assert steps == 6
    assert sum(dict(tally.told()).values()) == 3 * AT_ONCE
    assert told(tally)["f", "late"] == 6


def told_from_zero(tally: FlowTally, *known: str) -> dict[tuple[str, ...], int]:
    for _ in tally.settle(known):
        pass
    return dict(tally.told())


def test_known_flows_are_told_before_there_is_anything_to_count() -> None:
    tally = FlowTally()
    assert told_from_zero(tally, "a", "b") == {("a",): 0, ("b",): 0}
    tally.add("b")
    assert told_from_zero(tally, "a", "b", OTHERS) == {("a",): 0, ("b",): 1, (OTHERS,): 0}


def test_flows_that_do_something_have_names_before_those_that_are_only_known() -> None:
    known = [f"idle{number:03}" for number in range(MAX_NAMED + 5)]
    tally = FlowTally()
    counts = told_from_zero(tally, *known)
    assert len(counts) == MAX_NAMED + 1
    assert counts[OTHERS,] == 0
    tally.add("late")
    counts = told_from_zero(tally, *known)
    assert counts["late",] == 1
    assert counts[OTHERS,] == 0
    assert len(counts) == MAX_NAMED + 1
