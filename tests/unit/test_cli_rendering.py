"""What the command line draws, and how it reads its own arguments. In process; no daemon."""

import doctest
import importlib
import json
import re
import time
from pathlib import Path
from types import ModuleType

import click
import pytest
from click.testing import CliRunner

from flowd.cli import filters, flows, printing, run_words, runs
from flowd.cli.exits import CommandError, Exit, code_of
from flowd.cli.main import _SECTIONS, cli
from flowd.cli.reading_events import parse_json, read_event, with_id, with_options
from flowd.cli.verb import Duration
from flowd.formats import person
from flowd_client import errors, wire
from flowd_client.views.run import read_run

VERBS = [name for homes in _SECTIONS.values() for name in homes]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str) -> None:
    done = CliRunner().invoke(cli, [verb, "-h"])
    assert done.exit_code == 0, done.output
    assert "Example" in done.output
    assert f"flowd {verb}" in done.output
    assert "--workspace" in done.output


@pytest.mark.parametrize("verb", VERBS)
def test_the_list_of_verbs_says_what_the_verb_says(verb: str) -> None:
    home = next(homes[verb] for homes in _SECTIONS.values() if verb in homes)
    command = getattr(importlib.import_module(home.module), home.name)
    assert command.short_help == home.short_help


@pytest.mark.parametrize("alias", ["list-events", "show-event", "replay-event", "list-runs", "show-run"])
def test_the_reference_command_lines_names_work(alias: str) -> None:
    assert CliRunner().invoke(cli, [alias, "-h"]).exit_code == 0


def test_a_run_that_waits_for_a_key_says_for_whom() -> None:
    key = {"group": "repo", "key": ["x"], "holder": "run_1", "behind": 0}
    view = read_run({"run": {"id": "run_2", "status": "queued", "waitingFor": {"key": key}}})
    assert run_words.why(view) == "waits for run_1 of repo x"


def test_a_run_that_waits_for_its_package_names_its_step() -> None:
    record = {"id": "r", "status": "queued", "flowName": "rmv", "stepName": "mid", "waitingFor": {"package": "rmv"}}
    assert (
        run_words.why(read_run({"run": record}))
        == "waits for step mid of rmv, which is in no package: broken, or gone, and then it fails in a minute"
    )


def test_lists_tell_when_the_last_attempt_began_or_when_what_never_began_ended(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:00.000Z"}
    attempts = [{"id": "a", "attemptNumber": n, "startedAt": f"2026-01-01T00:0{n}:00.000Z"} for n in (1, 2)]
    retried = {
        "id": "run_1",
        "status": "failed",
        "startedAt": "2026-01-01T00:01:00.000Z",
        "attempts": attempts,
        **times,
    }
    queued = {"id": "run_2", "status": "queued", **times}
    end = {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-01T00:00:07.000Z"}
    skipped = {"id": "run_3", "status": "completed", "resultStatus": "skipped", "completedAt": end["updatedAt"], **end}
    canceled = {"id": "run_4", "status": "canceled", **end}
    runs.draw_runs([read_run(record) for record in (retried, queued, skipped, canceled)])
    _, *rows = (re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines())
    ended = "ended 2026-01-01T00:00:07.000Z"
    assert [row[4] for row in rows] == ["2026-01-01T00:02:00.000Z", "-", ended, ended]


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (
            {"resolution": {"status": "failed", "note": "not today", "by": {"name": "ada"}}, "resultStatus": "failed"},
            "rejected by ada: not today",
        ),
        (
            {"resolution": {"status": "canceled", "by": {"via": "flowd"}}, "status": "canceled"},
            "its question was closed by flowd",
        ),
        (
            {"error": "Step a/b exited with 1\nstderr: x", "result": {"status": "failed", "message": "no room"}},
            "no room (exited with 1)",
        ),
        ({"status": "completed", "result": {"status": "failed", "message": "no room"}}, "no room"),
        ({"status": "completed", "result": {"status": "changed", "message": "done"}}, ""),
        ({"error": "Step a/b exited with 1\nstderr: x"}, "exited with 1"),
        ({"error": "Step a/b exited with 1\nstderr: x", "why": "x (exit code 1)"}, "x (exit code 1)"),
    ],
)
def test_the_reason_of_an_end_is_a_persons_word_or_the_steps_own_beside_the_exit(
    record: dict[str, object], told: str
) -> None:
    assert run_words.why(read_run({"id": "r", "flowName": "a", "stepName": "b", "status": "failed", **record})) == told


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("2h", "2h"),
        (" 90S ", "90s"),
        ("1.5d", "1.5d"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00+00:00"),
        ("2026-01-31T12:00+02:00", "2026-01-31T12:00:00+02:00"),
    ],
)
def test_an_instant_goes_to_the_daemon_with_its_offset_and_so_long_ago_as_it_is(text: str, taken: str) -> None:
    assert filters.When().convert(text, None, None) == taken


@pytest.mark.parametrize("text", ["", "soon", "yesterday", "h", "2026-13-01", "-2h"])
def test_what_is_no_instant_is_refused_with_examples(text: str) -> None:
    with pytest.raises(click.BadParameter, match="write 2h, 7d"):
        filters.When().convert(text, None, None)


def test_a_local_instant_gets_the_offset_of_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-3")
    time.tzset()
    try:
        assert filters.When().convert("2026-01-31", None, None) == "2026-01-31T00:00:00+03:00"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("module", [printing, run_words, person, flows, filters])
def test_doctests(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted
    assert not results.failed


@pytest.mark.parametrize(
    ("slug", "code"),
    [
        *((slug, Exit.NOT_FOUND) for slug in ("event_not_found", "run_not_found", "step_not_found")),
        *((slug, Exit.USAGE) for slug in ("invalid_event", "invalid_params", "payload_too_large")),
        *(
            (slug, Exit.REFUSED)
            for slug in ("run_finished", "queue_full", "storage_full", "internal", "not_authorized")
        ),
    ],
)
def test_a_refusal_has_its_exit_code(slug: str, code: Exit) -> None:
    assert code_of(errors.of_answer({"code": wire.FAILURES[slug].code, "data": {"slug": slug}})) == code


def test_without_an_answer_the_exit_code_is_3() -> None:
    for error in (errors.ConnectionLostError("m"), errors.TimedOutError("m", 1), errors.BadAnswerError("m")):
        assert code_of(error) == Exit.NO_DAEMON


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h", 3600), ("2", 2), ("1.5S", 1.5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1s", "0", "5 parsecs", "nan", "inf", "1e12"])
def test_what_is_no_duration_is_a_usage_error(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


def test_options_win_over_the_file_and_make_no_id_for_it() -> None:
    assert with_options({"type": "a", "x": 1}, type="b", id=None) == {"type": "b", "x": 1}


def test_an_event_of_options_gets_a_new_id_each_time() -> None:
    first, second = (with_id(with_options(None, type="t", id=None)) for _ in range(2))
    assert first["type"] == "t"
    assert first["payload"] == {}
    assert first["id"] != second["id"]
    assert with_options(None, type=None, id=None) is None
    assert with_id({"id": "mine"})["id"] == "mine"


def test_json_errors_have_line_and_column() -> None:
    with pytest.raises(Exception, match=r"^event\.json:2:3: not JSON"):
        parse_json("{\n  x", "event.json")


def test_plain_tables_are_aligned_and_cut_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    long = "e" * 300
    printing.table(("ID", "STATUS"), [("a", "failed"), (long, "ok"), ("", "\x1b[31mred\nnext")])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "a".ljust(300) + "  failed"
    assert lines[2] == f"{long}  ok"
    assert lines[3] == "-".ljust(300) + "  red next"


def test_json_is_one_line_for_programs_and_keeps_every_character(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    printing.print_json({"a": "ü\ud800", "b": [1]})
    out = capfdbinary.readouterr().out
    assert out.count(b"\n") == 1
    assert json.loads(out) == {"a": "ü\ud800", "b": [1]}


@pytest.mark.parametrize(("reason", "shown"), [("exit", "8h00m"), ("interrupted", "-")])
def test_how_long_an_interrupted_run_took_is_not_made_up_of_what_came_after(
    capsys: pytest.CaptureFixture[str], reason: str, shown: str
) -> None:
    times = {"startedAt": "2026-01-01T00:00:00.000Z", "completedAt": "2026-01-01T08:00:00.000Z"}
    run = {
        "id": "run_1",
        "eventId": "e",
        "flowName": "f",
        "stepName": "s",
        "status": "failed",
        "reason": reason,
        **times,
    }
    runs.draw_runs([read_run({**run, "durationMs": 8 * 3_600_000, "createdAt": times["startedAt"]})])
    assert capsys.readouterr().out.split()[-1] == shown
    runs.draw_runs([read_run({**run, "durationMs": 2000, "attempts": [{"id": "run_1", "durationMs": 2000}]})])
    assert capsys.readouterr().out.split()[-1] == "2.0s"


@pytest.mark.parametrize("verb", VERBS)
def test_help_is_asked_for_in_the_same_ways_whoever_asked_first(verb: str) -> None:
    """Click keeps the option of whoever was first to ask, and that may be who makes a page of it."""
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    with click.Context(command) as context:
        command.get_help(context)
    assert CliRunner().invoke(cli, [verb, "-h"]).exit_code == 0


def test_no_more_of_a_file_is_read_than_an_event_may_have(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"type":"a"}')
    assert read_event(str(tmp_path / "event.json"), most_bytes=12) == {"type": "a"}
    with pytest.raises(CommandError, match="/dev/zero: has more than 100 bytes, and so is no event"):
        read_event("/dev/zero", most_bytes=100)
