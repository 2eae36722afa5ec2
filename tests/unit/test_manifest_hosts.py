"""runs_on and lost_after_ms: strict, because a step would else run where it must not, or in two places."""

import pytest

from flowd.catalog.manifest import Manifest, parse
from flowd.catalog.table import ManifestError
from flowd.domain import definition as definitions
from flowd.domain.flow import Flow, Origin
from flowd.domain.step import Step

HEAD = 'name = "rel"\nversion = 1\n'
STEP = '[[steps]]\nname = "build"\nrunner = "exec"\nscript = "x"\n'


def read(step: str = "", flow: str = "") -> Manifest:
    return parse(f"{HEAD}{flow}{STEP}{step}\n".encode())


def step_of(manifest: Manifest) -> Step:
    assert manifest.warnings == ()
    return manifest.steps[0]


def definition(manifest: Manifest) -> definitions.Definition:
    step = step_of(manifest)
    return definitions.of(Flow("rel", 1, "/rel", Origin.SOURCE, (step,), "sha256:0"), step)


def test_a_step_requires_what_it_and_its_flow_say() -> None:
    assert step_of(read()).runs_on == ()
    assert step_of(read('runs_on = ["gpu", "big", "gpu"]')).runs_on == ("big", "gpu")
    assert step_of(read(flow='runs_on = ["gpu"]\n')).runs_on == ("gpu",)
    assert step_of(read('runs_on = ["host:box-1.x", "cuda_12"]', 'runs_on = ["gpu"]\n')).runs_on == (
        "cuda_12",
        "gpu",
        "host:box-1.x",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('runs_on = "gpu"', 'runs_on must be a list, got "gpu"'),
        ("runs_on = [1]", "runs_on must hold strings, got 1"),
        ('runs_on = ["a b"]', 'runs_on has "a b", which is no label'),
        ('runs_on = ["a,b"]', 'runs_on has "a,b", which is no label'),
        ('runs_on = [""]', 'runs_on has "", which is no label'),
        (f'runs_on = ["{"a" * 65}"]', "which is no label"),
        ('runs_on = ["host:a", "host:b"]', "requires host:a and host:b, and no host has two names"),
        (f"runs_on = {[f'l{number}' for number in range(65)]}", "more than 64 labels"),
    ],
)
def test_a_mistake_is_an_error_at_its_line(text: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(text)
    assert words in caught.value.message
    assert 'step "build"' in caught.value.message
    assert caught.value.line == HEAD.count("\n") + STEP.count("\n") + 1
    with pytest.raises(ManifestError) as caught:
        read(flow=f"{text}\n")
    assert words in caught.value.message
    assert caught.value.line == HEAD.count("\n") + 1


def test_a_host_required_by_the_flow_and_another_by_the_step_is_an_error_of_the_step() -> None:
    with pytest.raises(ManifestError, match="no host has two names") as caught:
        read('runs_on = ["host:b"]', 'runs_on = ["host:a"]\n')
    assert caught.value.line == HEAD.count("\n") + 1 + STEP.count("\n") + 1


def test_a_host_is_lost_after_two_minutes_or_three_graces_unless_the_step_says_otherwise() -> None:
    assert step_of(read()).lost_after_ms is None
    assert definition(read()).lost_after_ms == 120_000
    assert definition(read("grace_ms = 100000")).lost_after_ms == 300_000
    assert definition(read("lost_after_ms = 15000")).lost_after_ms == 15_000
    assert definition(read("lost_after_ms = 300000\ngrace_ms = 100000")).lost_after_ms == 300_000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lost_after_ms = 14999", "lost_after_ms must be 15000..86400000, got 14999"),
        ("lost_after_ms = 86400001", "lost_after_ms must be 15000..86400000"),
        ('lost_after_ms = "long"', "lost_after_ms must be 15000..86400000"),
        ("lost_after_ms = 15000\ngrace_ms = 5001", "less than three times grace_ms, which is 5001"),
    ],
)
def test_a_lease_that_leaves_no_time_is_an_error(text: str, words: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(text)
    assert words in caught.value.message
    assert caught.value.line == HEAD.count("\n") + STEP.count("\n") + 1


def test_a_definition_keeps_both() -> None:
    made = definition(read('runs_on = ["gpu", "big"]\nlost_after_ms = 20000'))
    assert (made.runs_on, made.lost_after_ms) == (("big", "gpu"), 20_000)
    assert definitions.parse(made.body) == made


def test_a_definition_that_an_earlier_flowd_stored_requires_nothing() -> None:
    body = definition(read()).body.replace('"lost_after_ms":120000,', "").replace(',"runs_on":[]', "")
    assert "runs_on" not in body
    assert "lost_after" not in body
    assert definitions.parse(body) == definition(read())
