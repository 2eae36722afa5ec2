"""The rules of flow.toml: what is required, what is dropped with a warning, and where an error is."""

import json
from pathlib import Path

import pytest

from flowd.catalog.json_values import MAX_DEPTH
from flowd.catalog.manifest import Manifest, guess_name, parse
from flowd.catalog.table import ManifestError
from flowd.domain.retry import Retry
from flowd.domain.step import Runner
from flowd.formats.places import Places

HEAD = 'name = "rel"\nversion = 1\n'
STEP = '[[steps]]\nname = "build"\nrunner = "bun"\nscript = "exec/build.ts"\n'


def read(text: str) -> Manifest:
    return parse(text.encode())


def refused(text: str | bytes) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        parse(text if isinstance(text, bytes) else text.encode())
    assert caught.value.remedy.endswith(".")
    return caught.value


def test_the_smallest_manifest_gets_the_reference_systems_defaults() -> None:
    manifest = read(HEAD + STEP)
    assert (manifest.name, manifest.version, manifest.description, manifest.config) == ("rel", 1, None, None)
    (step,) = manifest.steps
    assert (step.name, step.runner, step.script) == ("build", Runner.BUN, "exec/build.ts")
    assert (step.timeout_ms, step.grace_ms, step.cwd, step.trigger) == (300_000, 5_000, None, None)
    assert (step.env, step.retry, step.detach) == ({}, None, False)
    assert manifest.warnings == ()


def test_a_full_step_is_read_as_written() -> None:
    manifest = read(
        HEAD
        + STEP
        + """timeout_ms = 1500
grace_ms = 0
cwd = "../.."
detach = true
[steps.trigger]
type = " release.now "
schema = "schemas/a.json"
[steps.env]
CI = "1"
[steps.retry]
max_attempts = 3
on = ["exit", "interrupted", "result:blocked"]
delay_ms = 5
factor = 1.5
max_delay_ms = 60_000
jitter = 0
[steps.limits]
memory_bytes = 1073741824
niceness = 5
umask = "0027"
"""
    )
    (step,) = manifest.steps
    assert (step.timeout_ms, step.grace_ms, step.cwd, step.detach) == (1500, 0, "../..", True)
    assert step.trigger is not None
    assert (step.trigger.type, step.trigger.schema) == (" release.now ", "schemas/a.json")
    assert step.env == {"CI": "1"}
    assert step.retry == Retry(3, ("exit", "interrupted", "result:blocked"), 5, 1.5, 60_000, 0.0)
    assert manifest.warnings == ()
    assert (manifest.schemas[0].path, manifest.schemas[0].is_subset) == ("schemas/a.json", False)


@pytest.mark.parametrize("runner", ["bun", "node", "python", "exec", "code-mode"])
def test_every_runner_is_known(runner: str) -> None:
    assert read(HEAD + STEP.replace('"bun"', f'"{runner}"')).steps[0].runner.value == runner


def test_steps_may_be_an_inline_array() -> None:
    manifest = read(HEAD + 'steps = [{ name = "a", runner = "exec", script = "x" }]')
    assert [step.name for step in manifest.steps] == ["a"]


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    assert parse(b"\xef\xbb\xbf" + (HEAD + STEP).encode()).name == "rel"


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        (STEP, "name is missing", None),
        ('name = "  "\nversion = 1\n' + STEP, 'name must be a non-blank string, got "  "', 1),
        ('name = "x"\n' + STEP, "version is missing", None),
        ('name = "x"\nversion = true\n' + STEP, "version must be a number, got true", 2),
        ('name = "x"\nversion = "1"\n' + STEP, 'version must be a number, got "1"', 2),
        ('name = "x"\nversion = nan\n' + STEP, "version must be a number, got nan", 2),
        (HEAD, "there are no steps", None),
        (HEAD + "steps = []\n", "there are no steps", 3),
        (HEAD + STEP.replace("[[steps]]", "[steps]"), "steps must be a list, got a table", 3),
        (HEAD + "steps = [1]\n", "step 1 must be a table, got 1", 3),
        (HEAD + "[[steps]]\n", "step 1: runner is missing", 3),
        (HEAD + STEP.replace('"bun"', '"perl"'), 'step 1: runner "perl" is unknown', 5),
        (HEAD + STEP.replace('name = "build"', "name = 5"), "step 1: name must be a non-blank string, got 5", 4),
        (HEAD + STEP.replace("script = ", "scripts = "), 'step "build": script is missing', 3),
        (HEAD + STEP + "[steps.trigger]\n", 'step "build": type is missing', 7),
        (HEAD + STEP + "timeout_ms = 0\n", 'step "build": timeout_ms must be 1..604800000, got 0', 7),
        (HEAD + STEP + "timeout_ms = -1\n", 'step "build": timeout_ms must be 1..604800000, got -1', 7),
        (HEAD + STEP + "timeout_ms = 604800001\n", 'step "build": timeout_ms must be 1..604800000, got 604800001', 7),
        (HEAD + STEP + "timeout_ms = inf\n", 'step "build": timeout_ms must be 1..604800000, got inf', 7),
        (HEAD + STEP + "grace_ms = -1\n", 'step "build": grace_ms must be 0..3600000, got -1', 7),
        (HEAD + STEP + 'detach = "yes"\n', 'step "build": detach must be true or false, got "yes"', 7),
        (HEAD + STEP + "[steps.env]\nA = 1\n", 'step "build": env variable A must be a string', 8),
        (HEAD + STEP + "env = 3\n", 'step "build": env must be a table, got 3', 7),
        (HEAD + STEP + "[steps.retry]\n", 'step "build": retry needs max_attempts', 7),
        (HEAD + STEP + "[steps.retry]\nmax_attempts = 0", 'step "build": max_attempts must be 1..100, got 0', 8),
        (
            HEAD + STEP + "[steps.retry]\nmax_attempts = 2\njitter = 1.5",
            'step "build": jitter must be 0..1, got 1.5',
            9,
        ),
        (
            HEAD + STEP + "[steps.retry]\nmax_attempts = 2\nfactor = inf",
            'step "build": factor must be 1..100, got inf',
            9,
        ),
        (
            HEAD + STEP + '[steps.retry]\nmax_attempts = 2\non = ["result:completed"]',
            'step "build": retry.on has the unknown reason "result:completed"',
            9,
        ),
        (
            HEAD + STEP + '[steps.retry]\nmax_attempts = 2\non = ["canceled"]',
            'step "build": retry.on has the unknown reason "canceled"',
            9,
        ),
        (
            HEAD + STEP + '[steps.trigger]\ntype = "a"\nschema_mode = "lax"',
            'step "build": schema_mode "lax" is unknown',
            9,
        ),
        (HEAD + STEP + '[steps.trigger]\ntype = ".*"', 'step "build": trigger type ".*" has nothing before it', 8),
        (HEAD + STEP + 'cwd = "a\\u0000b"\n', 'step "build": cwd contains a control character', 7),
        (HEAD + STEP + STEP, 'step "build": another step of this flow has the same name', 8),
        ('name = "x"\nversion = \n', "not valid TOML: Invalid value (column 11)", 2),
        ("a = " + "[" * 5000, "not usable TOML: it is nested too deeply", None),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_line(text: str, message: str, line: int | None) -> None:
    error = refused(text)
    assert (error.message, error.line) == (message, line)


def test_the_first_rule_that_is_broken_is_the_one_told() -> None:
    assert refused("version = true").message == "name is missing"
    assert refused('name = "x"').message == "version is missing"


def test_an_error_after_the_name_carries_the_name() -> None:
    assert refused('name = "rel"\n' + STEP).name == "rel"
    assert refused(STEP).name is None


def test_what_is_not_utf_8_or_too_large_is_refused() -> None:
    error = refused(b'name = "x"\n# \xff\n')
    assert (error.message, error.line) == ("the manifest is not UTF-8", 2)
    assert "larger than" in refused(b"#" * (1024 * 1024 + 1)).message


def test_numbers_too_large_to_store_are_refused_as_a_version() -> None:
    assert (
        refused(f'name = "x"\nversion = {"9" * 400}\n{STEP}').message == "version must be a number, got a huge number"
    )
    assert refused(f'name = "x"\nversion = {"9" * 5000}\n{STEP}').message.startswith("not usable TOML")


@pytest.mark.parametrize(
    ("addition", "warning"),
    [
        ("descripton = 1\n", 'line 3: unknown key "descripton" is ignored; did you mean description?'),
        ("description = 1\n", "line 3: description must be a string, got 1; it is ignored"),
        ("config = 5\n", "line 3: config must be a table, got 5; it is ignored"),
        ('guidance = "x"\n', 'line 3: guidance must be a table, got "x"; it is ignored'),
    ],
)
def test_what_is_dropped_at_the_top_is_told(addition: str, warning: str) -> None:
    manifest = read(HEAD + addition + STEP)
    assert manifest.warnings == (warning,)
    assert (manifest.description, manifest.config) == (None, None)


@pytest.mark.parametrize(
    ("addition", "warning"),
    [
        (
            'timeout_ms = "5"\n',
            'line 7: step "build": timeout_ms must be a number of milliseconds, got "5"; 300000 is used',
        ),
        (
            "timeout_ms = true\n",
            'line 7: step "build": timeout_ms must be a number of milliseconds, got true; 300000 is used',
        ),
        ("cwd = 5\n", 'line 7: step "build": cwd must be a string, got 5; it is ignored'),
        ("trigger = 5\n", 'line 7: step "build": trigger must be a table, got 5; it is ignored'),
        ('[steps.trigger]\ntype = "a"\nschema = 5\n', 'line 9: step "build": schema must be a string, got 5; it is '),
        ('[steps.trigger]\ntype = "a"\nfilter = 5\n', 'line 9: step "build": unknown key "filter" is ignored'),
        ('[steps.env]\nFLOWD_X = "a"\n', 'line 8: step "build": env variable FLOWD_X may be set by flowd itself'),
        ("depends = 5\n", 'line 7: step "build": unknown key "depends" is ignored'),
    ],
)
def test_what_is_dropped_in_a_step_is_told(addition: str, warning: str) -> None:
    (told,) = read(HEAD + STEP + addition).warnings
    assert told.startswith(warning)


@pytest.mark.parametrize("event_type", ["*", "**", "*.*", "a*", "a.*.b", "a.*.*"])
def test_a_star_that_is_no_wildcard_is_told(event_type: str) -> None:
    manifest = read(HEAD + STEP + f'[steps.trigger]\ntype = "{event_type}"\n')
    (told,) = manifest.warnings
    assert told.startswith(f'line 8: step "build": "*" in trigger type "{event_type}" is not a wildcard: ')
    assert manifest.steps[0].trigger is not None
    assert manifest.steps[0].trigger.type == event_type


def test_a_prefix_is_no_reason_to_warn() -> None:
    assert read(HEAD + STEP + '[steps.trigger]\ntype = "a.*"\n').warnings == ()


def test_warnings_are_bounded() -> None:
    manifest = read(HEAD + "".join(f"k{number} = 1\n" for number in range(60)) + STEP)
    assert (len(manifest.warnings), manifest.warnings[-1]) == (51, "and 10 more")


def test_an_empty_schema_means_none() -> None:
    manifest = read(HEAD + STEP + '[steps.trigger]\ntype = "a"\nschema = ""\n')
    assert manifest.steps[0].trigger is not None
    assert manifest.steps[0].trigger.schema is None
    assert manifest.schemas == {}


def test_a_fraction_of_a_millisecond_is_rounded_up() -> None:
    assert read(HEAD + STEP + "timeout_ms = 0.2\n").steps[0].timeout_ms == 1
    assert read(HEAD + STEP + "timeout_ms = 1500.0\n").steps[0].timeout_ms == 1500


def test_subset_mode_is_noted_for_its_step() -> None:
    manifest = read(HEAD + STEP + '[steps.trigger]\ntype = "a"\nschema = "s.json"\nschema_mode = "subset"\n')
    assert manifest.schemas[0].is_subset


def test_config_becomes_json() -> None:
    manifest = read(
        HEAD
        + STEP
        + "[config]\nat = 1979-05-27T07:32:00Z\nday = 1979-05-27\nhour = 07:32:00\nbad = [inf, nan, -inf]\n"
        + f"big = {2**70}\nhuge = {10**400}\nlist = [{{ a = 1 }}]\n"
    )
    config = json.loads(json.dumps(manifest.config, allow_nan=False))
    assert config == {
        "at": "1979-05-27T07:32:00Z",
        "day": "1979-05-27",
        "hour": "07:32:00",
        "bad": [None, None, None],
        "big": float(2**70),
        "huge": None,
        "list": [{"a": 1}],
    }


def test_config_that_is_nested_beyond_reason_is_refused() -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert read(f"{HEAD}{STEP}[config]\na = {deepest}").config is not None
    assert "nested deeper" in refused(f"{HEAD}{STEP}[config]\na = [{deepest}]").message


def test_a_name_is_guessed_from_a_text_that_is_no_toml() -> None:
    assert guess_name(b'name = "rel"\nversion = \n') == "rel"
    assert guess_name(b"\xef\xbb\xbfname = 'rel' # x\n\xff") == "rel"
    assert guess_name(b'version = 1\n[[steps]]\nname = "build"\n') is None
    assert guess_name(b"") is None


def test_a_line_is_found_past_strings_and_comments_that_look_like_tables() -> None:
    text = '''description = """
[[steps]]
name = "not this"
"""
x = ["[[steps]]", # [[steps]]
  "name = 1",
]
literal = \'\'\'
[a]\'\'\'
[[steps]] # one
name = "a"
[ steps . "trigger" ]
type = "t" # "
[[steps]]
trigger.type = "u"
'''
    places = Places(text)
    assert places.line("steps", 0) == 10
    assert places.line("steps", 0, "name") == 11
    assert places.line("steps", 0, "trigger", "type") == 13
    assert places.line("steps", 1, "trigger", "type") == 15
    assert places.line("steps", 1, "script") == 14
    assert places.line("nothing") is None


def test_the_package_of_the_documentation_is_read(tmp_path: Path) -> None:
    path = tmp_path / "flow.toml"
    path.write_text(HEAD + 'description = """\nTwo\nlines\n"""\n[guidance]\nskills = ["a"]\n' + STEP, encoding="utf-8")
    manifest = parse(path.read_bytes())
    assert manifest.description == "Two\nlines\n"
    assert manifest.warnings == ()
