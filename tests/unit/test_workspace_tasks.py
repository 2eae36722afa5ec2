"""Tasks of .codex/workspace.toml, as the reference system has them."""

from pathlib import Path

import pytest

from flowd.catalog.scan import Scanner
from flowd.catalog.workspace_tasks import FILE, Tasks, read_tasks, untold
from flowd.domain.flow import BrokenPackage, Flow, Origin, Snapshot
from flowd.domain.schedule import TASKS, Schedule
from flowd.domain.step import Runner, Step, Trigger

NIGHT = '[[workspace.tasks]]\nid = "night"\nkind = "flow"\nflow = "rel"\nschedule = "*/30 1-5 * * mon"\n'


def write(workspace: Path, text: str) -> None:
    (workspace / ".codex").mkdir(exist_ok=True)
    (workspace / FILE).write_text(text)


def read(workspace: Path, text: str) -> Tasks:
    write(workspace, text)
    tasks = read_tasks(workspace)
    assert isinstance(tasks, Tasks), tasks
    return tasks


def test_a_task_of_kind_flow_is_a_schedule_whose_event_is_the_reference_systems(tmp_path: Path) -> None:
    text = f'[workspace]\nname = "shop"\n{NIGHT}[workspace.tasks.event]\n'
    text += (
        'id = "mine"\ntype = "t"\nsource = "me"\noccurredAt = "x"\nlevel = 3\npayload = { a = 1, taskId = "other" }\n'
    )
    (task,) = read(tmp_path, text).schedules
    payload = {"taskId": "other", "a": 1}
    assert task == Schedule("shop:night", "*/30 1-5 * * mon", "t", "UTC", payload, "latest", "me", {"level": 3})


def test_what_a_task_does_not_say_comes_of_its_flow_and_the_workspace(tmp_path: Path) -> None:
    folder = tmp_path / "place"
    folder.mkdir()
    zone = 'timezone = "Asia/Tokyo"\ncatch_up = "none"\n'
    (task,) = read(folder, NIGHT + zone).schedules
    expected = Schedule("place:night", "*/30 1-5 * * mon", "rel", "Asia/Tokyo", {"taskId": "night"}, "none", "place")
    assert task == expected


def test_what_is_not_run_is_said(tmp_path: Path) -> None:
    text = NIGHT + '[[workspace.tasks]]\nid = "s"\nkind = "skill"\nskill = "x"\nschedule = "* * * * *"\n'
    text += '[[workspace.tasks]]\nid = "off"\nkind = "flow"\nflow = "f"\nenabled = false\nschedule = "* * * * *"\n'
    text += '[[workspace.tasks]]\nid = "hand"\nkind = "flow"\nflow = "f"\nschedule = 5\n'
    text += '[[workspace.reactive]]\nid = "again"\ntask = "*"\nkind = "skill"\nskill = "x"\n'
    tasks = read(tmp_path, text)
    step = Step("a", Runner.EXEC, "x", trigger=Trigger("rel"))
    there = Snapshot((Flow("rel", 1, "/rel", Origin.SOURCE, (step,), ""),))
    others = [
        f"{what} of {FILE} is not run: flowd runs tasks of kind flow that have a schedule"
        for what in ("task s (kind skill)", "task hand (kind flow, without a schedule)", "rule again")
    ]
    assert list(untold(tasks, is_on=True, snapshot=there)) == others
    (off, *rest) = untold(tasks, is_on=False, snapshot=there)
    assert off.startswith(f"task night of {FILE} is not run: workspace_tasks = true")
    assert rest == others
    assert "no step waits for type" in next(untold(tasks, is_on=True, snapshot=Snapshot()))
    assert list(untold(None, is_on=True, snapshot=there)) == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (NIGHT + NIGHT, 7, "same id"),
        (NIGHT.replace("*/30 1-5", "61 1-5"), 5, "has no minute"),
        (NIGHT.replace("*/30 1-5 * * mon", "0 0 30 2 *"), 5, "never comes"),
        (NIGHT + 'timezone = "Moon"\n', 6, "is no time zone"),
        (NIGHT.replace('"flow"', '"magic"'), 3, 'kind "magic" is unknown'),
        (NIGHT.replace("night", "-night"), 2, "is none"),
        (NIGHT + "enabled = 1\n", 6, "enabled must be true or false"),
        (NIGHT.replace("flow =", "flows ="), 1, "flow is missing"),
        ("[workspace]\ntasks = 5\n", 2, "tasks must be a list of tables"),
        ("workspace = 5\n", 1, "workspace must be a table"),
        ("[workspace\n", 1, "not valid TOML"),
    ],
)
def test_a_mistake_is_an_error_of_the_file_at_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    write(tmp_path, text)
    broken = read_tasks(tmp_path)
    assert isinstance(broken, BrokenPackage)
    assert message in broken.error
    assert (broken.line, broken.file, broken.types) == (line, str(tmp_path / FILE), ())


def test_all_mistakes_of_the_file_are_told_with_their_columns(tmp_path: Path) -> None:
    write(tmp_path, NIGHT.replace("*/30 1-5", "61 1-5") + NIGHT.replace("night", "day") + "enabled = 1\n")
    broken = read_tasks(tmp_path)
    assert isinstance(broken, BrokenPackage)
    assert [(finding.line, finding.column) for finding in broken.errors()] == [(5, 12), (11, 11)]


def test_there_may_be_no_file_or_one_that_has_no_tasks(tmp_path: Path) -> None:
    assert read_tasks(tmp_path) is None
    assert read(tmp_path, '[discord]\nx = 1\n[workspace]\nname = "n"\n') == Tasks()


def test_a_scan_has_tasks_where_they_are_wanted_and_keeps_them_while_they_are_broken(tmp_path: Path) -> None:
    write(tmp_path, NIGHT)
    assert Scanner(tmp_path).scan() == Snapshot()
    scanner = Scanner(tmp_path, has_tasks=True)
    (task,) = scanner.scan().tasks
    assert scanner.folders()[str(tmp_path / ".codex")] is not None
    assert TASKS in (scanner.folders()[str(tmp_path / ".codex")] or ())
    write(tmp_path, NIGHT + NIGHT)
    snapshot = scanner.scan()
    assert snapshot.tasks == (task,)
    assert [(package.name, package.stale) for package in snapshot.broken] == [(TASKS, True)]
    (tmp_path / FILE).unlink()
    assert scanner.scan() == Snapshot()
