"""[steps.limits]: strict, because a limit that is misread would be none."""

import pytest

from flowd.catalog.manifest import Manifest, parse
from flowd.catalog.table import ManifestError
from flowd.domain import definition
from flowd.domain.flow import Flow, Origin
from flowd.domain.limits import Limits

HEAD = 'name = "rel"\nversion = 1\n[[steps]]\nname = "build"\nrunner = "exec"\nscript = "x"\n'
LINE = HEAD.count("\n") + 2


def read(limits: str) -> Manifest:
    return parse(f"{HEAD}[steps.limits]\n{limits}\n".encode())


def test_every_limit_is_read_and_survives_storage() -> None:
    manifest = read(
        "memory_bytes = 1073741824\ncpu_time_s = 60\ncpu_percent = 150\n"
        "open_files = 64\nprocesses = 20\nfile_bytes = 1\nniceness = -3\n"
        'umask = "027"'
    )
    (step,) = manifest.steps
    assert step.limits == Limits(1 << 30, 60, 150, 64, 20, 1, -3, 0o27)
    assert manifest.warnings == ()
    flow = Flow("rel", 1, "/x", Origin.SOURCE, (step,), "sha256:0")
    pinned = definition.of(flow, step)
    assert definition.parse(pinned.body) == pinned


def test_without_limits_and_with_an_empty_table_there_are_none() -> None:
    assert parse(HEAD.encode()).steps[0].limits is None
    assert read("").steps[0].limits is None


def test_a_definition_from_before_there_were_limits_is_read() -> None:
    flow = Flow("rel", 1, "/x", Origin.SOURCE, parse(HEAD.encode()).steps, "sha256:0")
    pinned = definition.of(flow, flow.steps[0])
    assert definition.parse(pinned.body.replace('"limits":null,', "")) == pinned


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("memory_bytes = 1000", "memory_bytes must be 16777216..1125899906842624, got 1000"),
        ('memory_bytes = "1G"', 'got "1G"'),
        ("cpu_time_s = 0", "cpu_time_s must be 1..604800, got 0"),
        ("cpu_time_s = 1.5", "got 1.5"),
        ("cpu_percent = 0", "cpu_percent must be 1..100000, got 0"),
        ("open_files = 3", "open_files must be 8..1048576, got 3"),
        ("processes = true", "processes must be 1..1048576, got true"),
        ("niceness = 20", "niceness must be -20..19, got 20"),
        ("umask = 27", "umask must be an octal string, got 27"),
        ('umask = "0089"', 'got "0089"'),
        ('umask = "0777"', "would lock the step out of its own files"),
        ("memory = 1", 'unknown key "memory"'),
    ],
)
def test_a_bad_limit_is_an_error_at_its_line(limits: str, message: str) -> None:
    with pytest.raises(ManifestError) as caught:
        read(limits)
    assert message in caught.value.message
    assert 'step "build"' in caught.value.message
    assert caught.value.line == LINE
    assert caught.value.remedy.endswith(".")


def test_limits_must_be_a_table() -> None:
    with pytest.raises(ManifestError, match="limits must be a table"):
        parse(f"{HEAD}limits = 3\n".encode())
