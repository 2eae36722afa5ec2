"""What comes by itself: the recipe of docs/time.md to the letter, with a clock that is set to the night."""

import re
import subprocess
import tarfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fault_shims
import pytest
from daemon_rig import Workspace, flowd, flowd_says, say, until

PAGE = Path(__file__).parents[2] / "docs" / "time.md"
FILE = re.compile(r"<!-- file: (flows/archive/\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
NIGHTLY = '[[schedules]]\nname = "night"\ncron = "30 2 * * *"\ntype = "night.go"\n'
YEARLY = NIGHTLY.replace("* * *", "1 1 *")


def own_clock(place: Workspace, folder: Path) -> dict[str, str]:
    """What lets a test set the clock that a daemon's schedules go by; it shows a noon, at which nothing comes."""
    if place.store is not None:
        pytest.skip("NOT TESTED: a set clock, because a shared store has its server's, which is not ours to set")
    shim = fault_shims.environment(folder, "clock")
    set_clock(shim, datetime.now(UTC).replace(hour=12, minute=0, second=0) + timedelta(days=1))
    return shim


def set_clock(shim: dict[str, str], at: datetime) -> None:
    """Let the daemon's wall clock show this."""
    Path(shim["SHIM_FILE"]).write_text(str(round(at.timestamp() - time.time())), encoding="ascii")


def schedule(place: Workspace) -> dict[str, Any]:
    (one,) = place.call("flow.schedules")["schedules"]
    found: dict[str, Any] = one
    return found


def next_slot(place: Workspace) -> datetime:
    return datetime.fromisoformat(until(lambda: schedule(place).get("next"), what="the next slot"))


def last_ended(place: Workspace, slot: datetime) -> Any:
    """The last slot, once it is this one and its runs have ended."""

    def last() -> Any:
        one = next(iter(schedule(place)["last"]), None)
        is_it = one and datetime.fromisoformat(one["slot"]) == slot and one["status"] not in ("queued", "running")
        return one if is_it else None

    return until(last, what=f"slot {slot}")


def test_the_recipe_for_each_night_packs_a_folder(place: Workspace, tmp_path: Path) -> None:
    shim = own_clock(place, tmp_path)
    files = dict(FILE.findall(PAGE.read_text(encoding="utf-8")))
    assert set(files) == {"flows/archive/flow.toml", "flows/archive/pack.sh"}
    for name, text in files.items():
        path = place.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    subprocess.run(["chmod", "+x", "flows/archive/pack.sh"], cwd=place.path, check=True)
    (place.path / "notes").mkdir()
    (place.path / "notes" / "today").write_text("fine")
    assert flowd_says(place, "validate").startswith("ok archive (1 step)")
    place.start(**shim)
    slot = next_slot(place)
    shown = flowd_says(place, "schedules")
    assert re.search(
        r"archive/every-night +\d{4}-\d\d-\d\d 02:30 +Europe/Berlin +30 2 \* \* \* +latest +ready +-", shown
    )
    set_clock(shim, slot - timedelta(seconds=2))
    last = last_ended(place, slot)
    assert last["status"] == "changed"
    assert last["eventId"] == f"schedule:archive/every-night:{slot:%Y-%m-%dT%H:%M:%SZ}"
    event = place.call("flow.getEvent", eventId=last["eventId"])["event"]
    assert (event["source"], event["payload"]) == ("schedule:archive/every-night", {"folder": "notes"})
    assert datetime.fromisoformat(event["occurredAt"]) == slot
    (packed,) = (place.path / "archives").iterdir()
    assert packed.name == f"notes-{slot:%Y-%m-%d}.tar.gz"
    with tarfile.open(packed) as archive:
        assert "notes/today" in archive.getnames()
    assert f"changed ({slot:%Y-%m-%dT%H:%M}Z)" in flowd_says(place, "schedules", "archive")


def test_a_slot_is_told_once_over_restarts_and_clocks_and_a_missed_one_is_made_up_for(
    place: Workspace, tmp_path: Path
) -> None:
    shim = own_clock(place, tmp_path)
    place.flow("night", say("completed"), top=NIGHTLY)
    place.start(**shim)
    first = next_slot(place)
    set_clock(shim, first - timedelta(seconds=2))
    last_ended(place, first)
    place.kill()
    missed = first + timedelta(days=4)
    set_clock(shim, missed + timedelta(hours=3))
    place.start(**shim)
    last_ended(place, missed)
    set_clock(shim, first - timedelta(minutes=30))  # what it had jumped over has not come yet
    until(lambda: next_slot(place) == first + timedelta(days=1), what="a look at the clock")
    place.kill()
    set_clock(shim, first + timedelta(minutes=1))
    place.start(**shim)
    assert next_slot(place) == first + timedelta(days=1)
    told = [event["id"][-20:] for event in place.call("flow.listEvents")["events"]]
    assert told == [f"{slot.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for slot in (missed, first)]


def test_what_comes_by_itself_is_shown_where_people_look(place: Workspace) -> None:
    place.flow("night", say("completed"), top=YEARLY)
    place.flow("idle", say("completed"), top=YEARLY.replace("night.go", "none.go"))
    broken = place.path / "flows" / "broken"
    broken.mkdir()
    (broken / "flow.toml").write_text(
        'name = "broken"\nversion = 1\n[[schedules]]\nname = "s"\ncron = "0 0 31 2 *"\ntype = "t"\n'
        '[[steps]]\nname = "a"\nrunner = "exec"\nscript = "a"\n'
    )
    checked = flowd(place, "validate")
    assert checked.returncode == 1
    assert 'flow.toml:5:8: error: schedule "s": cron "0 0 31 2 *" never comes' in checked.stdout
    assert 'warning: schedule "night": its events start nothing' in checked.stdout
    assert "never comes" in flowd(place, "doctor").stdout
    place.start()
    next_at = next_slot_of(place, "night")
    shown = flowd_says(place, "schedules")
    assert "broken broken" in shown
    assert "idle/night" in shown
    assert "Unknown flow: none" in flowd_says(place, "schedules", "none", code=4)
    by_clock = '"30 2 1 1 *" by the clock of UTC sends night.go'
    assert f"night: {by_clock}" in flowd_says(place, "flows", "night")
    assert f"schedule night/night: {by_clock}" in flowd_says(place, "explain", "--type", "night.go")
    with place.client() as client:
        (view,) = client.schedules(flow="night")
        assert (view.name, view.state, view.next, view.last) == ("night", "ready", next_at, ())
        assert client.list_flows().flows[0].schedules[0].cron == "30 2 1 1 *"
        page = client.schedules(limit=1)
        assert [one.flow for one in (*page, *client.schedules(cursor=page.next_cursor))] == ["idle", "night"]
    flowd_says(place, "pause", "night")
    assert "night/night: night is paused, so its runs wait" in flowd_says(place, "schedules")


def next_slot_of(place: Workspace, flow: str) -> datetime:
    def found() -> Any:
        return [one for one in place.call("flow.schedules", flow=flow)["schedules"] if "next" in one]

    return datetime.fromisoformat(until(found)[0]["next"])


def test_tasks_of_a_workspace_are_run_once_a_setting_says_so(place: Workspace, tmp_path: Path) -> None:
    shim = own_clock(place, tmp_path)
    place.flow("night", say("changed"), trigger="night")
    tasks = '[[workspace.tasks]]\nid = "t"\nkind = "flow"\nflow = "night"\nschedule = "30 2 * * *"\n'
    (place.path / ".codex").mkdir(exist_ok=True)
    (place.path / ".codex" / "workspace.toml").write_text(f'[workspace]\nname = "shop"\n{tasks}')
    assert "task t of .codex/workspace.toml is not run" in flowd_says(place, "validate")
    assert "task t of .codex/workspace.toml is not run" in flowd(place, "doctor").stdout
    place.start(**shim)
    assert place.call("flow.schedules")["schedules"] == []
    assert place.stop() == 0
    (place.path / ".codex" / "flowd.toml").write_text("workspace_tasks = true\n")
    assert "is not run" not in flowd_says(place, "validate")
    place.start(**shim)
    slot = next_slot(place)
    set_clock(shim, slot - timedelta(seconds=2))
    last = last_ended(place, slot)
    assert (last["eventId"], last["status"]) == (f"workspace:shop:t:{slot:%Y-%m-%dT%H:%M:%SZ}", "changed")
    event = place.call("flow.getEvent", eventId=last["eventId"])["event"]
    assert (event["type"], event["source"], event["payload"]) == ("night", "shop", {"taskId": "t"})
    assert "workspace.toml/shop:t" in flowd_says(place, "schedules")
