"""delay_ms, queue_timeout_ms and [steps.debounce]: strict, because a time that is misread starts a step too early."""

import pytest

from flowd.catalog.manifest import Manifest, parse
from flowd.catalog.table import ManifestError
from flowd.domain.timing import Debounce

HEAD = 'name = "rel"\nversion = 1\n[[steps]]\nname = "first"\nrunner = "exec"\nscript = "x"\ntrigger = {type = "t"}\n'
STEP = '[[steps]]\nname = "build"\nrunner = "exec"\nscript = "x"\ntrigger = {type = "t"}\n'
YEAR_MS = 366 * 86_400_000


def read(said: str) -> Manifest:
    return parse(f"{HEAD}{STEP}{said}\n".encode())


def test_times_are_read_and_nothing_is_asked_unless_it_is_said() -> None:
    debounce = '[steps.debounce]\nquiet_ms = 2000\nmax_ms = 60000\nkey = ["/payload/repo"]'
    step = read(f"queue_timeout_ms = 500\n{debounce}").steps[1]
    assert (step.queue_timeout_ms, step.debounce) == (500, Debounce(2000, 60_000, ("/payload/repo",)))
    assert read("delay_ms = 90000").steps[1].delay_ms == 90_000
    assert read("[steps.debounce]\nquiet_ms = 1").steps[1].debounce == Debounce(1)
    bare = read("").steps[1]
    assert (bare.delay_ms, bare.queue_timeout_ms, bare.debounce) == (0, None, None)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("delay_ms = -1", f"delay_ms must be 0..{YEAR_MS}, got -1"),
        (f"delay_ms = {YEAR_MS + 1}", f"delay_ms must be 0..{YEAR_MS}"),
        ('delay_ms = "10s"', f'delay_ms must be 0..{YEAR_MS}, got "10s"'),
        ("delay_ms = nan", "delay_ms must be"),
        ("delay_ms = 1.5", "delay_ms must be"),
        ("delay_ms = true", "got true"),
        ("queue_timeout_ms = 0", f"queue_timeout_ms must be 1..{YEAR_MS}, got 0"),
        ("queue_timeout_ms = inf", "queue_timeout_ms must be"),
        ('queue_timeout_ms = "1"', "queue_timeout_ms must be"),
        ("debounce = 5", "debounce must be a table, got 5"),
        ("debounce = {}", "debounce needs quiet_ms"),
        ("debounce = {quiet_ms = 0}", f"quiet_ms must be 1..{YEAR_MS}, got 0"),
        ("debounce = {quiet_ms = 100, max_ms = 99}", f"max_ms must be 100..{YEAR_MS}, got 99"),
        ('debounce = {quiet_ms = 1, key = "/a"}', 'debounce.key must be a list, got "/a"'),
        ('debounce = {quiet_ms = 1, key = ["a"]}', 'debounce.key "a" is no JSON Pointer'),
        ("debounce = {quiet_ms = 1, maximum = 2}", 'debounce has the unknown key "maximum"'),
    ],
)
def test_a_mistake_is_an_error_at_its_line(said: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(said)
    assert message in caught.value.message
    assert 'step "build"' in caught.value.message
    assert caught.value.line == (HEAD + STEP).count("\n") + 1
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('needs = ["first"]\ndebounce = {quiet_ms = 1}', "debounce counts events, and a step with needs starts when"),
        ("debounce = {quiet_ms = 1}\ndelay_ms = 5", "delay_ms goes without debounce, whose quiet_ms waits already"),
    ],
)
def test_what_cannot_go_together_is_an_error_at_the_second_line(said: str, message: str) -> None:
    with pytest.raises(ManifestError, match=message) as caught:
        read(said)
    assert caught.value.line == (HEAD + STEP).count("\n") + 2
