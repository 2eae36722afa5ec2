"""What a page tells of what steps say to an event."""

import doctest

from flowd.page import verdicts


def test_doctests() -> None:
    assert doctest.testmod(verdicts).failed == 0


def test_of_thousands_of_steps_those_that_match_are_told_and_how_many_others_there_are() -> None:
    others = [{"step": f"s{number}", "matches": False, "reason": "type"} for number in range(2000)]
    matching = [{"step": f"m{number}", "matches": True, "reason": "matched"} for number in range(3)]
    told = verdicts.nearest({"steps": [*others, *matching], "broken": []})
    assert [step["step"] for step in told["steps"][:3]] == ["m0", "m1", "m2"]
    assert (len(told["steps"]), told["leftOut"], told["broken"]) == (verdicts.SHOWN, 2003 - verdicts.SHOWN, [])
