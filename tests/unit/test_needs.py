"""What is said of a run that does not start, because of how its needs ended."""

import doctest

import pytest

from flowd.cli import flows, graph
from flowd.domain import needs
from flowd.domain.needs import NeedEnd, When, unmet
from flowd.domain.run import Reason


def end(status: str, name: str = "a", *, reason: Reason | None = None, is_asked: bool = True) -> NeedEnd:
    return NeedEnd(name, f"run-{name}", status, reason, is_asked=is_asked)


@pytest.mark.parametrize(
    ("when", "ends", "message"),
    [
        ("success", [end("failed"), end("changed", "b")], "needs a, which failed"),
        ("success", [end("canceled")], "needs a, which was canceled"),
        ("success", [end("skipped")], "needs a, which was skipped"),
        ("success", [end("skipped", reason=Reason.NEEDS_NOT_MET)], "needs a, which was not run"),
        ("not_failed", [end("failed"), end("skipped", "b")], "needs a, which failed"),
        (
            "success",
            [end("failed"), end("canceled", "b"), end("failed", "c")],
            "needs a, which failed, b, which was canceled, and c, which failed",
        ),
        (
            "failure",
            [end("changed"), end("canceled", "b")],
            "runs after a failure, and there was none: a changed, and b was canceled",
        ),
    ],
)
def test_the_message_names_what_did_not_end_as_it_should(when: When, ends: list[NeedEnd], message: str) -> None:
    assert unmet(when, ends) == message


@pytest.mark.parametrize("when", needs.WHENS)
def test_what_was_copied_for_a_named_step_ended_as_it_asks(when: When) -> None:
    copied = [end(status, is_asked=False) for status in ("failed", "canceled", "skipped", "changed")]
    assert unmet(when, copied) is None


def test_a_copied_need_does_not_excuse_one_of_the_round() -> None:
    assert unmet("success", [end("failed", is_asked=False), end("failed", "b")]) == "needs b, which failed"
    assert unmet("failure", [end("changed", is_asked=False), end("changed", "b")]) is None


@pytest.mark.parametrize("module", [needs, graph, flows])
def test_doctests(module: object) -> None:
    results = doctest.testmod(module)  # type: ignore[arg-type]
    assert results.attempted
    assert not results.failed
