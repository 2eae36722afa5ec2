"""Needs in a manifest: what is read, and every mistake as an error with its line."""

from itertools import pairwise

import pytest

from flowd.catalog import manifest
from flowd.catalog.manifest import Manifest
from flowd.catalog.table import ManifestError

HEAD = 'name = "f"\nversion = 1\n'


def step(name: str, *lines: str, trigger: str | None = None) -> str:
    """A step of six lines, then what is given."""
    text = f'[[steps]]\nname = "{name}"\nrunner = "exec"\nscript = "s.sh"\n' + "".join(f"{line}\n" for line in lines)
    return text + (f'[steps.trigger]\ntype = "{trigger}"\n' if trigger else "")


def read(*steps: str) -> Manifest:
    return manifest.parse((HEAD + "".join(steps)).encode())


def refusal(*steps: str) -> ManifestError:
    with pytest.raises(ManifestError) as refused:
        read(*steps)
    return refused.value


def test_a_step_needs_others_in_any_order_and_says_after_which_ends_it_runs() -> None:
    read_ = read(
        step("publish", 'needs = ["test", "build"]'),
        step("test", 'needs = ["checkout"]'),
        step("build", 'needs = ["checkout"]', trigger="go.fast"),
        step("tidy", 'needs = ["publish"]', 'when = "finally"'),
        step("checkout", trigger="go.*"),
    )
    assert [(found.name, found.needs, found.when) for found in read_.steps] == [
        ("publish", ("test", "build"), "success"),
        ("test", ("checkout",), "success"),
        ("build", ("checkout",), "success"),
        ("tidy", ("publish",), "finally"),
        ("checkout", (), "success"),
    ]
    assert read_.warnings == ()


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ('needs = "a"', 'Write needs = ["a"].'),
        ("needs = 1", 'Write the names of steps of this flow: needs = ["checkout"].'),
    ],
)
def test_a_name_that_is_no_list_is_told_as_one(line: str, remedy: str) -> None:
    assert refusal(step("a", trigger="go"), step("b", line)).remedy == remedy


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('needs = "a"', 'needs must be a list of steps, got "a"'),
        ("needs = [1]", "needs must hold names of steps, got 1"),
        ('needs = [" "]', 'needs must hold names of steps, got " "'),
        ('needs = ["a", "a"]', 'needs has "a" twice'),
        ('needs = ["b"]', "needs the step itself"),
        ('needs = ["A"]', 'needs "A", which is no step of this flow'),
        ('needs = ["idle"]', 'needs "idle", which no event starts: it has neither a trigger nor needs'),
        ('when = "always"', "when asks how needs ended, and this step has none"),
        ('needs = []\nwhen = "always"', "when asks how needs ended, and this step has none"),
        ('needs = ["a"]\nwhen = "sometimes"', 'when "sometimes" is unknown'),
        ('needs = ["a"]\nwhen = 3', "when 3 is unknown"),
    ],
)
def test_what_cannot_be_needed_is_told_with_its_line(line: str, message: str) -> None:
    error = refusal(step("a", trigger="go"), step("b", line), step("idle"))
    assert error.message == f'step "b": {message}'
    assert error.line == 13 + line.count("\n")


def test_a_circle_is_drawn_and_told_at_its_first_step() -> None:
    error = refusal(
        step("start", trigger="go"),
        step("a", 'needs = ["start", "c"]'),
        step("b", 'needs = ["a"]'),
        step("c", 'needs = ["b"]'),
        step("outside", 'needs = ["c"]'),
    )
    assert error.message == 'step "a": needs go in a circle: a -> c -> b -> a'
    assert error.line == 13


@pytest.mark.parametrize(
    ("above", "own"),
    [("go.slow", "go.fast"), ("go.*", "gone"), ("stop", "go.*"), ("go.a.*", "go.b.*")],
)
def test_a_step_that_no_event_can_start_with_its_need_is_refused(above: str, own: str) -> None:
    error = refusal(step("a", trigger=above), step("b", 'needs = ["a"]'), step("c", 'needs = ["b"]', trigger=own))
    assert error.message == f'step "c": can never run: it takes an event of type {own}, and its need b one of {above}'
    assert error.line == 18


@pytest.mark.parametrize(("above", "own"), [("go.*", "go.fast"), ("go.a", "go.*"), ("go.*", "go.a.*"), ("go", "go")])
def test_triggers_that_one_event_can_match_go_together(above: str, own: str) -> None:
    assert len(read(step("a", trigger=above), step("b", 'needs = ["a"]', trigger=own)).steps) == 2


def test_two_needs_that_no_event_starts_together_are_refused() -> None:
    error = refusal(step("a", trigger="go.a"), step("b", trigger="go.b"), step("c", 'needs = ["a", "b"]'))
    assert error.message == 'step "c": can never run: it takes an event of type go.a, and its need b one of go.b'


def test_a_line_of_thousands_of_steps_is_read_from_its_end() -> None:
    names = [str(number) for number in range(3000)]
    line = [step(name, f'needs = ["{need}"]') for need, name in pairwise(names)]
    assert len(read(*reversed(line), step("0", trigger="go")).steps) == 3000
