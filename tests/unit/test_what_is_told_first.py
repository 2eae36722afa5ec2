"""What people are told where they look: the reason first, and what is broken although something older runs."""

from typing import Any

import pytest
from click.testing import CliRunner

from flowd.cli import completion, explain, nearest, status
from flowd_client.views.catalog import read_explain

FLOW: dict[str, Any] = {"flow": "release", "matches": False}
STEPS = [
    {**FLOW, "step": "test", "reason": "needs", "needs": ["checkout"], "missing": ["checkout"]},
    {**FLOW, "step": "checkout", "reason": "type", "triggerType": "release.requested"},
]
BROKEN = {"name": "release", "file": "/f/flow.toml", "line": 12, "error": "e", "remedy": "Mend it.", "stale": True}


def answer(event_type: str, **more: Any) -> dict[str, Any]:
    return {"eventId": "e", "type": event_type, "matched": 0, "steps": STEPS, "broken": [], **more}


def test_what_waits_for_another_type_is_told_before_what_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    explain.draw_verdicts(read_explain(answer("release.reqested")))
    assert capsys.readouterr().out.splitlines() == [
        "release/checkout: waits for type release.requested, not release.reqested",
        "release/test: needs checkout, which is not started",
    ]


@pytest.mark.parametrize(
    ("event_type", "meant"),
    [("release.reqested", "release.requested"), ("release.requested", None), ("nothing.like", None), ("", None)],
)
def test_a_type_that_is_spelled_much_like_one_waited_for_is_asked_about(event_type: str, meant: str | None) -> None:
    view = read_explain(answer(event_type))
    assert explain.meant_type(view) == meant
    assert (f"  Did you mean {meant}?" in nearest.lines(view)) == (meant is not None)


def test_a_broken_package_whose_last_good_version_is_asked_is_told_first(capsys: pytest.CaptureFixture[str]) -> None:
    explain.draw_verdicts(read_explain(answer("x", broken=[BROKEN])))
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "broken release: /f/flow.toml:12: e. Mend it. Its last good version is in force."


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        (
            {"flows": 1, "stale": 1, "broken": 1},
            "1 in force, 1 stale (broken on disk, its last good version runs); see `flowd flows`",
        ),
        ({"flows": 1, "stale": 0, "broken": 2}, "1 in force, 2 broken; see `flowd flows`"),
        ({"flows": 1}, "1 in force"),
    ],
)
def test_a_package_is_counted_once(counts: dict[str, int], told: str) -> None:
    assert status.flows_line(counts) == told


@pytest.mark.parametrize("has_it", [True, False])
def test_bash_completes_only_where_something_reads_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, has_it: bool
) -> None:
    there = tmp_path / "bash_completion"
    if has_it:
        there.touch()
    monkeypatch.setattr(completion, "BASH_COMPLETION", (str(there),))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    done = CliRunner().invoke(completion.install, ["bash"])
    assert (done.exit_code, (tmp_path / "data/bash-completion/completions/flowd").exists()) == (0, True)
    assert ("New shells complete" in done.output) == has_it
    assert ("source <(flowd completion show bash)" in done.output) == (not has_it)
