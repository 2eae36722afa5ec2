"""[[watches]] with a real daemon: a save becomes an event, whatever ends in between, and everybody says so."""

import json
import os
import shutil
import urllib.request
from pathlib import Path
from typing import Any

import postgres_rig
import pytest
from daemon_rig import Workspace, about_the_file, flowd, flowd_says, say, until
from hosts_rig import two_hosts

WATCH = '[[watches]]\nname = "sources"\npaths = ["src/**", "!src/gen/**"]\ntype = "source.changed"\nsettle_ms = 50\n'


@pytest.fixture
def watched(place: Workspace) -> Workspace:
    """A workspace with a flow that wants to hear of its sources."""
    place.flow("docs", say("changed"), trigger="source.changed", top=WATCH)
    save(place, "src/a.c")
    return place


def save(place: Workspace, path: str, text: str = "") -> Path:
    """Save a file in one step, so that it changes once however slow we are."""
    file = place.path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    new = place.path.with_name(f"{place.path.name}.new")
    new.write_text(text)
    new.replace(file)
    return file


def watch(place: Workspace) -> dict[str, Any]:
    (found,) = place.call("flow.watches")["watches"]
    return dict(found)


def start(place: Workspace, **environment: str) -> None:
    place.start(**environment)
    until(lambda: watch(place)["status"] == "watching", what="a watch that stands")


def events(place: Workspace) -> list[dict[str, Any]]:
    """All events of watches, the oldest first."""
    listed = place.call("flow.listEvents", limit=100)["events"]
    ids = [event["id"] for event in reversed(listed) if event["id"].startswith("watch:")]
    return [place.call("flow.getEvent", eventId=event_id)["event"] for event_id in ids]


def told(place: Workspace) -> dict[str, list[str]]:
    """What all events tell of, by path."""
    found: dict[str, list[str]] = {}
    for event in events(place):
        for change in event["payload"]["changes"]:
            found.setdefault(change["path"], []).append(change["change"])
    return found


def is_told(place: Workspace, path: str, *changes: str) -> bool:
    return told(place).get(path) == list(changes) and not watch(place)["changing"]


def test_a_save_becomes_an_event_that_starts_a_step(watched: Workspace) -> None:
    place = watched
    start(place)
    assert watch(place)["files"] == 1
    assert events(place) == []
    save(place, "src/new/b.c")
    save(place, "src/gen/c.c")
    save(place, "docs/d.md")
    until(lambda: is_told(place, "src/new/b.c", "added"), what="an event")
    (event,) = events(place)
    assert event["type"] == "source.changed"
    assert event["source"].startswith("watch:docs/sources")
    assert event["payload"]["changes"] == [{"path": "src/new/b.c", "change": "added"}]
    (run_id,) = event["runIds"]
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert run["effectiveStatus"] == "changed"
    assert watch(place)["lastEventId"] == event["id"]
    assert place.stop() == 0


def test_what_changes_without_a_daemon_is_told_once_at_the_next_start(watched: Workspace) -> None:
    place = watched
    start(place)
    assert place.stop() == 0
    save(place, "src/a.c", "more")
    save(place, "src/b.c")
    start(place)
    until(lambda: is_told(place, "src/a.c", "modified"), what="an event")
    place.kill()
    start(place)
    (place.path / "src" / "b.c").unlink()
    until(lambda: is_told(place, "src/b.c", "added", "deleted"), what="an event")
    assert told(place) == {"src/a.c": ["modified"], "src/b.c": ["added", "deleted"]}
    assert len(events(place)) == 2
    assert place.stop() == 0


def test_a_daemon_that_is_killed_again_and_again_tells_of_every_save_once(watched: Workspace) -> None:
    place = watched
    start(place)
    for number in range(5):
        save(place, f"src/{number}.c")
        if number % 2:  # else it is killed wherever it is
            until(lambda path=f"src/{number}.c": path in told(place), what="an event")  # type: ignore[misc]
        place.kill()
        place.start()
    until(lambda: len(told(place)) == 5 and not watch(place)["changing"], what="an event of each save")
    assert told(place) == {f"src/{number}.c": ["added"] for number in range(5)}
    assert place.stop() == 0


def test_an_event_that_is_refused_is_sent_once_it_is_taken(watched: Workspace) -> None:
    place = watched
    gate = place.path / "gate"
    place.flow("slow", f"until [ -e {gate} ]; do sleep 0.05; done; {say('changed')}")
    start(place, FLOWD_MAX_PARALLEL="1", FLOWD_MAX_QUEUED="1")
    for number in range(2):
        place.call("flow.dispatch", event={"id": f"e{number}", "type": "slow.go"})
    until(lambda: place.call("daemon.status")["runs"]["running"] == 1, what="a step that holds the place")
    save(place, "src/b.c")
    until(lambda: "sent again" in str(watch(place).get("problem")), what="a refusal")
    status = place.call("daemon.status")
    assert any(trouble["what"] == "watch docs/sources" for trouble in status["troubles"])
    gate.touch()
    until(lambda: is_told(place, "src/b.c", "added"), bound_s=60, what="an event")
    assert "problem" not in watch(place)
    assert place.stop() == 0


def test_a_change_of_the_manifest_is_in_force_without_a_restart(watched: Workspace) -> None:
    place = watched
    save(place, "docs/a.md")
    start(place)
    manifest = place.path / "flows" / "docs" / "flow.toml"
    manifest.write_text(manifest.read_text().replace('"src/**", "!src/gen/**"', '"docs/**"'))
    until(lambda: watch(place)["paths"] == ["docs/**"] and watch(place)["status"] == "watching", what="other paths")
    save(place, "src/a.c", "unseen")
    save(place, "docs/a.md", "seen")
    until(lambda: is_told(place, "docs/a.md", "modified"), what="an event")
    assert set(told(place)) == {"docs/a.md"}
    shutil.rmtree(place.path / "flows" / "docs")
    until(lambda: place.call("flow.watches")["watches"] == [], what="no watch")
    assert place.stop() == 0


def test_flowds_own_state_and_what_git_does_never_count(place: Workspace) -> None:
    everything = WATCH.replace('"src/**", "!src/gen/**"', '"**"') + "gitignore = false\n"
    place.flow("docs", f"echo noise >> $FLOWD_ROUND_DIR/x; {say('changed')}", trigger="source.changed", top=everything)
    manifest = place.path / "flows" / "docs" / "flow.toml"
    manifest.write_text("round_dir = true\n" + manifest.read_text())
    start(place)
    assert place.log_path.parent == place.path, "the log is in the workspace, too"
    save(place, ".git/index")
    save(place, ".codex/flows/installed/lock")
    save(place, "a")
    until(lambda: is_told(place, "a", "added"), what="an event")
    (event,) = events(place)
    place.call("flow.waitRun", runId=event["runIds"][0], timeoutMs=50_000)
    save(place, "b")
    until(lambda: is_told(place, "b", "added"), what="an event")
    assert set(told(place)) == {"a", "b"}
    assert place.stop() == 0


def test_odd_files_and_folders_that_come_and_go_harm_nothing(watched: Workspace) -> None:
    place = watched
    start(place)
    os.mkfifo(place.path / "src" / "pipe")
    odd = Path(os.fsdecode(os.fsencode(place.path / "src") + b"/\xff.c"))
    odd.write_text("")
    until(
        lambda: any("pathBase64" in change for event in events(place) for change in event["payload"]["changes"]),
        what="an event of a name that is no Unicode",
    )
    save(place, "src/after.c")
    until(lambda: "src/after.c" in told_by_name(place), what="an event after that")
    (place.path / "src").rename(place.path / "away")
    until(lambda: watch(place)["files"] == 0, what="no files")
    save(place, "src/again/a.c")
    until(lambda: "src/again/a.c" in told_by_name(place), what="an event in the new folder")
    save(place, "src/again/b.c")
    until(lambda: "src/again/b.c" in told_by_name(place), what="an event that was reported")
    assert watch(place)["status"] == "watching"
    assert place.stop() == 0


def told_by_name(place: Workspace) -> set[str]:
    return {str(change.get("path")) for event in events(place) for change in event["payload"]["changes"]}


def test_a_step_that_writes_where_it_is_watched_starts_itself_until_it_writes_no_more(place: Workspace) -> None:
    write = f"echo written >> {place.path}/written; date +%N > {place.path}/src/out"
    place.flow(
        "loop", f"[ ! -e {place.path}/go ] || {{ {write}; }}; {say('changed')}", trigger="source.changed", top=WATCH
    )
    save(place, "src/in")
    save(place, "go")
    start(place)
    save(place, "src/in", "go")
    until(lambda: len(told(place).get("src/out", ())) >= 3, bound_s=60, what="a round that starts itself")
    (place.path / "go").unlink()
    until(lambda: not active(place), bound_s=60, what="the end of the step that may be writing yet")
    save(place, "src/last")
    until(lambda: is_told(place, "src/last", "added"), what="an event")
    written = (place.path / "written").read_text().count("written")
    assert 3 <= len(told(place)["src/out"]) <= written
    assert place.stop() == 0


def active(place: Workspace) -> int:
    runs = place.call("daemon.status")["runs"]
    return int(runs["running"] + runs["queued"])


def test_everybody_says_what_is_watched(watched: Workspace) -> None:
    place = watched
    start(place)
    save(place, "src/b.c")
    until(lambda: is_told(place, "src/b.c", "added"), what="an event")
    listed = json.loads(flowd_says(place, "watches", "--json"))["watches"]
    assert [(one["flow"], one["name"], one["files"], one["settleMs"]) for one in listed] == [("docs", "sources", 2, 50)]
    said = flowd_says(place, "watches")
    assert "docs/sources" in said
    assert "src/**, !src/gen/**" in said
    assert listed[0]["lastEventId"] in said
    assert "watch sources: source.changed for changes of src/**, !src/gen/**" in flowd_says(place, "flows", "docs")
    assert "watch docs/sources sends such events" in flowd_says(place, "explain", "--type", "source.changed")
    with place.client() as client:
        (view,) = client.watches()
        assert (view.flow, view.status, view.changing) == ("docs", "watching", False)
        assert view.last_event_at is not None
        assert client.list_flows().flows[0].watches[0].type == "source.changed"
    assert place.stop() == 0


def test_what_may_not_be_meant_is_told_before_it_is_in_force(place: Workspace) -> None:
    far = place.path.with_name(f"{place.path.name}-far")
    far.mkdir()
    try:
        (place.path / "far").symlink_to(far)
        place.flow(
            "docs",
            "",
            runner="python",
            trigger="source.changed",
            top=WATCH
            + WATCH.replace("sources", "deaf").replace("source.changed", "nobody.hears")
            + WATCH.replace("sources", "own").replace('"src/**", "!src/gen/**"', '"flows/**"')
            + WATCH.replace("sources", "out").replace('"src/**", "!src/gen/**"', '"far/**"')
            + WATCH.replace("sources", "state").replace('"src/**", "!src/gen/**"', '"flows/**", ".codex/flowd/**"'),
        )
        said, found = flowd_says(place, "validate"), flowd(place, "doctor").stdout
        for sentence in (
            'watch "sources": there is no file that its paths fit: src/**, !src/gen/**',
            'watch "deaf": no step is started by its type, "nobody.hears"',
            'watch "own": it sees flows/docs/__pycache__, where its python steps leave files',
            'watch "out": far is a link out of the workspace, and none such is followed',
            "watch \"state\": .codex/flowd/** is flowd's own or git's, which is never watched",
        ):
            assert sentence in said
            assert sentence in found
        save(place, "src/a.c")
        (place.path / ".gitignore").write_text("__pycache__/\n")
        said = flowd_says(place, "validate")
        assert 'watch "sources"' not in said
        assert "__pycache__" not in said
    finally:
        shutil.rmtree(far)


@about_the_file  # makes hosts of its own
def test_each_host_of_a_store_watches_its_own_files(tmp_path: Path) -> None:
    with two_hosts(postgres_rig.DATABASE.address(tmp_path)) as hosts:
        hosts.flow("docs", say("changed"), trigger="source.changed", top=WATCH)
        for place in hosts.places.values():
            save(place, "src/a.c", "1")
        hosts.start()
        anna, bert = hosts["anna"], hosts["bert"]
        for place in hosts.places.values():
            until(lambda place=place: watch(place)["status"] == "watching", what="a watch")  # type: ignore[misc]
        # The same change on both: two events.
        for place in hosts.places.values():
            save(place, "src/b.c")
        until(lambda: len(events(anna)) == 2, what="an event of each host")
        save(bert, "src/bert.c")
        until(lambda: len(events(anna)) == 3, what="another event of one")
        assert sorted(event["source"] for event in events(anna)) == [
            "watch:docs/sources@anna",
            "watch:docs/sources@bert",
            "watch:docs/sources@bert",
        ]
        assert watch(anna)["files"] == 2
        assert watch(bert)["files"] == 3
        hosts.stop()


def test_the_page_shows_what_is_watched(watched: Workspace) -> None:
    place = watched
    start(place)
    link = place.call("daemon.openPage")["url"]
    base = link.split("/ui/")[0]
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    opener.open(link).read()
    page = opener.open(f"{base}/ui/flows/docs").read().decode()
    assert "Watches" in page
    assert "src/**" in page
    assert place.stop() == 0
