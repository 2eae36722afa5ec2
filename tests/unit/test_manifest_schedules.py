"""[[schedules]]: strict, because one that was misread would come at another hour, or never."""

import json

import pytest

from flowd.catalog.manifest import Manifest, parse
from flowd.catalog.schedules import with_type_warnings
from flowd.catalog.table import ManifestError
from flowd.domain.flow import Flow, Origin
from flowd.domain.schedule import Schedule
from flowd.domain.step import Runner, Step, Trigger

HEAD = 'name = "rel"\nversion = 1\n[[steps]]\nname = "build"\nrunner = "exec"\nscript = "x"\n'
FIRST = HEAD.count("\n") + 1


def read(*schedules: str) -> Manifest:
    return parse((HEAD + "".join(f"[[schedules]]\n{text}\n" for text in schedules)).encode())


def written(**members: object) -> str:
    """A schedule with all that it needs, but for what is said; None leaves a member out."""
    whole = {"name": "night", "cron": "30 2 * * *", "type": "night.came", **members}
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in whole.items() if value is not None)


def test_a_schedule_has_defaults_for_what_it_does_not_say() -> None:
    assert read(written()).schedules == (Schedule("night", "30 2 * * *", "night.came", "UTC", {}, "latest"),)
    assert parse(HEAD.encode()).schedules == ()


def test_a_schedule_says_all_there_is() -> None:
    text = written(timezone="Europe/Berlin", catch_up="none") + '\npayload = { repo = "a/b", since = 2026-01-01 }'
    (schedule,) = read(text).schedules
    assert schedule.timezone == "Europe/Berlin"
    assert schedule.payload == {"repo": "a/b", "since": "2026-01-01"}
    assert schedule.catch_up == "none"


def test_an_edit_of_anything_but_the_name_makes_another_rule() -> None:
    edits = [
        {},
        {"cron": "31 2 * * *"},
        {"timezone": "Asia/Tokyo"},
        {"type": "t"},
        {"payload": [1]},
        {"catch_up": "none"},
    ]
    rules = [read(written(**edit)).schedules[0].rule for edit in edits]
    assert len(set(rules)) == len(edits)
    assert read(written()).schedules[0].rule == rules[0]


@pytest.mark.parametrize(
    ("members", "key", "message"),
    [
        ({"cron": "* * *"}, "cron", 'cron "* * *" has 3 fields instead of five'),
        ({"cron": ""}, "cron", "cron must be a non-blank string"),
        ({"cron": 5}, "cron", "cron must be a non-blank string, got 5"),
        ({"cron": "*/10 * * * * *"}, "cron", "has six fields: cron counts minutes"),
        ({"cron": "60 * * * *"}, "cron", 'has no minute in "60"'),
        ({"cron": "0 24 * * *"}, "cron", 'has no hour in "24"'),
        ({"cron": "0 0 0 * *"}, "cron", 'has no day of the month in "0"'),
        ({"cron": "0 0 * 13 *"}, "cron", 'has no month in "13"'),
        ({"cron": "0 0 * * mo"}, "cron", 'has no day of the week in "mo"'),
        ({"cron": "*/0 * * * *"}, "cron", 'has no minute in "*/0"'),
        ({"cron": "9-5 * * * *"}, "cron", 'has no minute in "9-5"'),
        ({"cron": "1,,2 * * * *"}, "cron", 'has no minute in "1,,2"'),
        ({"cron": "-1 * * * *"}, "cron", 'has no minute in "-1"'),
        ({"cron": "\u0663 * * * *"}, "cron", "has no minute in"),
        ({"cron": f"{'9' * 120} * * * *"}, "cron", "has no minute in"),
        ({"cron": "1," * 200 + "1 * * * *"}, "cron", "is longer than 200 characters"),
        ({"cron": "@reboot"}, "cron", "is no time"),
        ({"cron": "@often"}, "cron", "is an unknown word"),
        ({"cron": "30 2 * * 1,3 root"}, "cron", "has six fields"),
        ({"cron": "0 0 31 2 *"}, "cron", "never comes"),
        ({"cron": "0 0 31 4,6,9,11 *"}, "cron", "never comes"),
        ({"cron": "0 0 */20 * 1L"}, "cron", "never comes"),
        ({"timezone": "Berlin"}, "timezone", 'timezone "Berlin" is no time zone'),
        ({"timezone": "America"}, "timezone", "is no time zone"),
        ({"timezone": "../../etc/passwd"}, "timezone", "is no time zone"),
        ({"timezone": "localtime"}, "timezone", "is no time zone"),
        ({"timezone": 1}, "timezone", "timezone must be a non-blank string, got 1"),
        ({"type": ""}, "type", "type must be a non-blank string"),
        ({"type": "t" * 257}, "type", "type is longer than 256 characters"),
        ({"catch_up": "all"}, "catch_up", 'catch_up "all" is unknown'),
        ({"catch_up": True}, "catch_up", "catch_up true is unknown"),
        ({"name": "n" * 1024}, "name", "name is too long"),
        ({"catchup": "none"}, "catchup", 'schedules have no key "catchup"'),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_at_its_line(members: dict[str, object], key: str, message: str) -> None:
    text = written(**members)
    with pytest.raises(ManifestError) as caught:
        read(text)
    assert message in caught.value.message
    assert "schedule" in caught.value.message
    assert caught.value.line == FIRST + 1 + [line.split(" = ")[0] for line in text.split("\n")].index(key)
    assert caught.value.remedy.endswith(".")


@pytest.mark.parametrize("missing", ["name", "cron", "type"])
def test_what_is_missing_is_an_error_at_the_schedule(missing: str) -> None:
    with pytest.raises(ManifestError, match=f"{missing} is missing") as caught:
        read(written(name="a"), written(**{missing: None}))
    assert caught.value.line == FIRST + 4


def test_a_zone_that_is_misspelled_is_told_as_it_is_written() -> None:
    with pytest.raises(ManifestError) as caught:
        read(written(timezone="Berlin"))
    assert "Did you mean Europe/Berlin?" in caught.value.remedy


def test_two_of_one_name_are_an_error() -> None:
    with pytest.raises(ManifestError, match="same name"):
        read(written(), written())


@pytest.mark.parametrize("value", ['schedules = "x"', "schedules = [1]", "[schedules]\nname = 'x'"])
def test_schedules_of_another_kind_are_an_error(value: str) -> None:
    with pytest.raises(ManifestError, match="must be a"):
        parse(f'name = "rel"\nversion = 1\nsteps = [{{name = "a", runner = "exec", script = "x"}}]\n{value}\n'.encode())


def test_29_february_and_the_last_day_do_come() -> None:
    for cron in ("0 0 29 2 *", "0 0 L * *", "0 0 31 * *", "0 0 29 2 MON#5", "0 0 30 2 1"):
        assert read(written(cron=cron)).schedules[0].cron == cron


def test_a_type_that_no_step_waits_for_is_a_warning_of_the_flow() -> None:
    def flow(name: str, *types: str, waits: str) -> Flow:
        schedules = tuple(Schedule(f"s{n}", "@daily", kind) for n, kind in enumerate(types))
        step = Step("a", Runner.EXEC, "x", trigger=Trigger(waits))
        return Flow(name, 1, f"/{name}", Origin.SOURCE, (step,), "sha256:0", schedules=schedules)

    one, other = with_type_warnings([flow("one", "a.b", "b.c", "c", waits="a.*"), flow("other", waits="b.c")])
    assert one.warnings == ('schedule "s2": its events start nothing, as no step waits for type "c"',)
    assert other.warnings == ()
