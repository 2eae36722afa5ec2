"""All that is wrong in a flow.toml is found at once, each with its place, and what was probably meant."""

import pytest

from flowd.catalog.manifest import RefusedManifestError, parse
from flowd.domain.finding import Finding

HEAD = 'name = "rel"\nversion = 1\n'
STEP = '[[steps]]\nname = "build"\nrunner = "exec"\nscript = "b"\n'


def findings(text: str) -> tuple[Finding, ...]:
    try:
        return parse(text.encode(), "/f/flow.toml").findings
    except RefusedManifestError as error:
        return error.findings


def only(text: str) -> Finding:
    (found,) = findings(text)
    return found


def marked(text: str, finding: Finding) -> str:
    """What a finding's columns are around."""
    assert finding.line is not None
    assert finding.column is not None
    assert finding.end_column is not None
    return text.split("\n")[finding.line - 1][finding.column - 1 : finding.end_column - 1]


def test_all_errors_and_warnings_are_found_in_the_order_of_lines() -> None:
    text = (
        'name = "rel"\nversion = "1"\ncron = "@daily"\n'
        '[[steps]]\nname = "a"\nrunner = "pyton"\nscript = "a"\ntimeout_ms = "5m"\ngrace_ms = -1\n'
        '[steps.limits]\nmemory = 5\nniceness = 50\numask = "0999"\n'
        '[[steps]]\nname = "b"\nrunner = "exec"\nneeds = ["A", "b"]\n'
        '[[schedules]]\nname = "s"\ncron = "x"\n'
        '[[watches]]\nname = "w"\npaths = []\ntypo = 1\n'
    )
    found = findings(text)
    assert [(one.line, one.code, one.severity.value) for one in found] == [
        (2, "wrong-type", "error"),
        (3, "unknown-key", "warning"),
        (6, "unknown-value", "error"),
        (8, "wrong-type", "warning"),
        (9, "out-of-range", "error"),
        (11, "unknown-key", "error"),
        (12, "out-of-range", "error"),
        (13, "invalid-value", "error"),
        (14, "missing-key", "error"),
        (17, "unknown-step", "error"),
        (17, "needs-circle", "error"),
        (18, "missing-key", "error"),
        (20, "invalid-value", "error"),
        (21, "missing-key", "error"),
        (23, "invalid-value", "error"),
        (24, "unknown-key", "error"),
    ]
    assert {one.file for one in found} == {"/f/flow.toml"}
    assert [marked(text, found[index]) for index in (0, 1, 2, 5, 9)] == ['"1"', "cron", '"pyton"', "memory", '"A"']


@pytest.mark.parametrize(
    ("key", "lead"),
    [
        ("cron", "[[schedules]]"),
        ("schedule", "[[schedules]]"),
        ("paths", "[[watches]]"),
        ("on", "[steps.trigger]"),
        ("env_file", "[steps.env]"),
        ("command", 'script = "run.sh"'),
        ("run", 'script = "run.sh"'),
    ],
)
@pytest.mark.parametrize("is_of_a_step", [False, True])
def test_a_key_of_another_system_leads_to_where_flowd_has_the_thing(key: str, lead: str, *, is_of_a_step: bool) -> None:
    addition = f'{key} = "x"\n'
    found = only(HEAD + STEP + addition if is_of_a_step else HEAD + addition + STEP)
    assert (found.code, found.is_error) == ("unknown-key", False)
    assert lead in (found.remedy or "")


@pytest.mark.parametrize(
    ("addition", "meant"),
    [
        ("depends_on = []\n", "needs"),
        ("timeout = 5\n", "timeout_ms"),
        ("timeoutMs = 5\n", "timeout_ms"),
        ("runs-on = []\n", "runs_on"),
        ("workdir = ''\n", "cwd"),
        ("priorty = 5\n", "priority"),
        ("[steps.retry]\nmax_attempts = 2\nbackoff = 5\n", "delay_ms"),
        ("[steps.trigger]\ntype = 'a'\nshema = ''\n", "schema"),
    ],
)
def test_a_key_that_is_nearly_one_of_flowds_is_told_by_its_name(addition: str, meant: str) -> None:
    assert only(HEAD + STEP + addition).suggestion == meant


@pytest.mark.parametrize(
    ("addition", "meant", "is_error"),
    [
        ('timeout_ms = "5m"\n', "300000", False),
        ('timeout_ms = "90"\n', "90", False),
        ('timeout_ms = "soon"\n', None, False),
        ('grace_ms = "1.5s"\n', "1500", True),
        ('delay_ms = "1h30m"\n', "5400000", True),
        ('delay_ms = "900 days"\n', None, True),
        ('detach = "True"\n', "true", True),
        ('[steps.limits]\nmemory_bytes = "512M"\n', "536870912", True),
        ('[steps.limits]\ncpu_time_s = "10min"\n', "600", True),
        ('[steps.concurrency]\non_busy = "cancel"\n', "replace", True),
        ('[steps.concurrency]\nkey = ["payload.repo"]\n', "/payload/repo", True),
    ],
)
def test_a_value_of_another_type_is_told_as_it_was_probably_meant(
    addition: str, meant: str | None, *, is_error: bool
) -> None:
    found = only(HEAD + STEP + addition)
    assert (found.suggestion, found.is_error) == (meant, is_error)


def test_nothing_is_said_of_needs_of_a_step_that_could_not_be_read() -> None:
    text = HEAD + STEP.replace('"build"', "5") + STEP.replace("build", "test") + 'needs = ["build"]\n'
    assert only(text).code == "wrong-type"


def test_only_the_first_of_steps_that_cannot_run_is_told() -> None:
    steps = STEP + STEP.replace("build", "b") + 'needs = ["build"]\n' + STEP.replace("build", "c") + 'needs = ["b"]\n'
    assert only(HEAD + steps).code == "never-runs"


def test_a_text_that_is_no_toml_has_one_finding_with_its_column() -> None:
    found = only('name = "x"\nversion = \n')
    assert (found.code, found.line, found.column, found.end_column) == ("invalid-toml", 2, 11, 12)


def test_a_retry_table_without_its_one_key_tells_of_all_the_others_too() -> None:
    found = findings(HEAD + STEP + '[steps.retry]\nattempts = 3\nbackoff = "exponential"\ninitial_delay = "5s"\n')
    told = " ".join(f"{one.message} {one.suggestion}" for one in found)
    assert all(word in told for word in ("needs max_attempts", "attempts", "backoff", "initial_delay"))


def test_a_step_without_a_name_is_looked_at_all_the_same() -> None:
    text = HEAD + (
        '[[steps]]\nnmae = "a"\nrunner = "exec"\nscirpt = "a"\ntimeout_ms = "5m"\nenv = { N = 3 }\n'
        "[steps.concurency]\nlimit = 1\n"
    )
    assert [(one.line, one.code, one.suggestion) for one in findings(text)] == [
        (3, "missing-key", None),
        (3, "missing-key", None),
        (4, "unknown-key", "name"),
        (6, "unknown-key", "script"),
        (7, "wrong-type", "300000"),
        (8, "wrong-type", None),
        (9, "unknown-key", "concurrency"),
    ]


def test_a_trigger_without_its_type_tells_of_all_its_other_keys_too() -> None:
    found = findings(HEAD + STEP + '[steps.trigger]\ntypes = ["t"]\nschema_mode = "ful"\n')
    assert [(one.line, one.code, one.suggestion) for one in found] == [
        (7, "missing-key", None),
        (8, "unknown-key", "type"),
        (9, "unknown-value", "full"),
    ]


@pytest.mark.parametrize("is_first", [True, False])
def test_a_circle_is_told_beside_steps_of_one_name_and_beside_other_mistakes(*, is_first: bool) -> None:
    again = STEP.replace("build", "test")
    circle = STEP + 'needs = ["test"]\n' + STEP.replace("build", "test") + 'needs = ["build"]\n'
    steps = again + circle if is_first else circle + again
    bad = STEP.replace("build", "bad") + "grace_ms = -1\n"
    found = [one for one in findings(HEAD + steps + bad) if one.code != "out-of-range"]
    assert sorted(one.code for one in found) == ["duplicate-name", "needs-circle"]
    (told,) = [one for one in found if one.code == "needs-circle"]
    assert "-> build" in told.message
    assert told.line is not None
    assert (HEAD + steps).split("\n")[told.line - 1].startswith("needs = ")
