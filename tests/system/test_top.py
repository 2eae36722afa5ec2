"""``flowd top`` as its reader sees it: a real daemon under it, keys pressed, and what the screen then holds."""

import hashlib

from daemon_rig import Workspace, say, until
from http_rig import HttpPlace
from textual.widgets import Input
from top_rig import Reader, by_socket, read

from flowd.screen.board import Section
from flowd.screen.daemon_link import to_url


def test_it_shows_what_runs_waits_asks_and_has_ended(place: Workspace) -> None:
    place.flow("slow", "sleep 60")
    place.flow("quick", say("completed", message="all is well"))
    place.flow("ask", say("blocked", message="publish it?"))
    place.start(FLOWD_MAX_PARALLEL="1")
    place.call("flow.dispatch", event={"id": "q1", "type": "quick.go"}, wait=True)
    place.call("flow.dispatch", event={"id": "a1", "type": "ask.go"}, wait=True)

    async def does(reader: Reader) -> None:
        await reader.sees("RECENT", "quick/main", "all is well", "ATTENTION 1", "ask/main", "publish it?")
        place.call("flow.dispatch", event={"id": "s1", "type": "slow.go"})
        place.call("flow.dispatch", event={"id": "s2", "type": "slow.go"})
        await reader.sees("RUNNING 1", "WAITING 1", "slow/main", "place 1", "running 1 of 1")

    read(by_socket(place), does)


def test_what_ends_or_starts_something_is_asked_first_and_then_done(place: Workspace) -> None:
    place.flow("slow", "sleep 60")
    place.flow("flaky", f"test -e ok || exit 3; {say('completed')}")
    place.start()
    (slow,) = place.call("flow.dispatch", event={"id": "s1", "type": "slow.go"})["runIds"]
    (flaky,) = place.call("flow.dispatch", event={"id": "f1", "type": "flaky.go"}, wait=True)["runs"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RUNNING, slow)
        await reader.press("c")
        await reader.sees("End slow/main of s1")
        await reader.press("escape")
        await reader.press("c")
        await reader.sees("End slow/main of s1")
        await reader.press("n")
        assert place.call("flow.getRun", runId=slow)["run"]["status"] == "running"
        await reader.press("c")
        await reader.sees("End slow/main of s1")
        await reader.press("y")
        await reader.until(lambda: slow in reader.rows(Section.RECENT), "the canceled run")

        (place.path / "flows" / "flaky" / "ok").touch()
        await reader.goes_to(Section.RECENT, flaky["id"])
        await reader.press("r")
        await reader.sees("another attempt of flaky/main")
        await reader.press("enter")
        # Its end brings it above the one that was canceled, and what is chosen before that is chosen from other rows.
        await reader.until(lambda: reader.rows(Section.RECENT)[:1] == [flaky["id"]], "the end of it")
        assert place.call("flow.getRun", runId=flaky["id"])["run"]["attemptCount"] == 2

        await reader.goes_to(Section.RECENT, flaky["id"])
        await reader.press("R")
        await reader.sees("flaky/main and all that need it")
        await reader.press("2")
        await reader.until(lambda: any("_replay" in row for row in reader.rows(Section.RECENT)), "the replay")

    read(by_socket(place), does)
    assert place.call("flow.getRun", runId=slow)["run"]["status"] == "canceled"


def test_who_replays_from_a_step_is_told_that_the_folder_of_the_round_will_be_empty(place: Workspace) -> None:
    package = place.flow("parts", say("completed"), top="round_dir = true")
    manifest = (package / "flow.toml").read_text(encoding="utf-8")
    sell = '[[steps]]\nname = "sell"\nrunner = "exec"\nscript = "main.sh"\nneeds = ["main"]\n'
    (package / "flow.toml").write_text(manifest + sell, encoding="utf-8")
    place.start()
    place.call("flow.dispatch", event={"id": "p1", "type": "parts.go"})
    assert not place.call("flow.waitEvent", eventId="p1", timeoutMs=50_000)["timedOut"]
    run_ids = {run["stepName"]: run["id"] for run in place.call("flow.listRuns", eventId="p1")["runs"]}

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RECENT, run_ids["sell"])
        await reader.press("R")
        await reader.sees("Make new runs for the event p1?", "a new, empty one", "left in that of round 1")
        await reader.press("escape")
        await reader.goes_to(Section.RECENT, run_ids["main"])
        await reader.press("R")
        await reader.sees("Make new runs for the event p1?")
        assert "empty" not in reader.text()  # nothing comes before this step
        await reader.press("escape")

    read(by_socket(place), does)


def test_questions_are_approved_rejected_and_answered(place: Workspace) -> None:
    place.flow("ask", say("blocked", message="publish it?"))
    place.flow(
        "tell",
        f"grep -q '\"answer\"' && {{ {say('completed', message='told')}; exit; }}; {say('blocked', message='v?')}",
    )
    place.start()
    yes, no = (
        place.call("flow.dispatch", event={"id": f"a{n}", "type": "ask.go"}, wait=True)["runs"][0]["id"]
        for n in range(2)
    )
    (tell,) = place.call("flow.dispatch", event={"id": "t1", "type": "tell.go"}, wait=True)["runs"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.ATTENTION, yes)
        await reader.press("a")
        await reader.sees("Approve ask/main of a0?", "publish it?")
        await reader.type("read it")
        await reader.press("enter")
        await reader.until(lambda: yes not in reader.rows(Section.ATTENTION), "the approval")

        await reader.goes_to(Section.ATTENTION, no)
        await reader.press("x")
        await reader.sees("Reject ask/main of a1?")
        await reader.press("enter")
        await reader.until(lambda: no not in reader.rows(Section.ATTENTION), "the rejection")

        await reader.goes_to(Section.ATTENTION, tell["id"])
        await reader.press("i")
        await reader.sees("Answer tell/main of t1")
        await reader.type("nonsense")
        await reader.press("enter")
        await reader.sees("This is no JSON")
        await reader.press(*["backspace"] * 8)
        await reader.type('{"v":2}')
        await reader.press("enter")
        await reader.until(lambda: tell["id"] in reader.rows(Section.RECENT), "the answer")

    read(by_socket(place), does)
    runs = {run_id: place.call("flow.getRun", runId=run_id)["run"] for run_id in (yes, no, tell["id"])}
    assert runs[yes]["resolution"] | {"status": "completed", "note": "read it"} == runs[yes]["resolution"]
    assert runs[no]["resolution"]["status"] == "failed"
    assert (runs[tell["id"]]["answer"]["input"], runs[tell["id"]]["effectiveStatus"]) == ({"v": 2}, "completed")


def test_flows_are_paused_and_resumed(place: Workspace) -> None:
    place.flow("quick", say("completed"))
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "q1", "type": "quick.go"}, wait=True)["runs"]

    async def does(reader: Reader) -> None:
        await reader.press("u")
        await reader.sees("Nothing is paused.")
        await reader.goes_to(Section.RECENT, run["id"])
        await reader.press("p")
        await reader.sees("of the flow quick")
        await reader.press("1")
        await reader.sees("paused: quick")
        place.call("flow.dispatch", event={"id": "q2", "type": "quick.go"})
        await reader.sees("WAITING 1", "paused with quick")
        await reader.press("u")
        await reader.sees("Let go what is paused?")
        await reader.press("1")
        await reader.until(lambda: len(reader.rows(Section.RECENT)) == 2, "the end of the run that waited")

    read(by_socket(place), does)
    assert place.call("flow.queue")["pauses"] == []


def test_a_filter_shows_only_what_fits_and_escape_shows_all_again(place: Workspace) -> None:
    for name in ("one", "two"):
        place.flow(name, say("completed", message=f"this is {name}"))
    place.start()
    one, two, both = (
        place.call("flow.dispatch", event={"id": event_id, "type": f"{name}.go"}, wait=True)["runIds"][0]
        for name, event_id in (("one", "e 1"), ("two", "e 2"), ("two", "e 3"))
    )

    async def does(reader: Reader) -> None:
        await reader.until(lambda: len(reader.rows(Section.RECENT)) == 3, "all runs")
        await reader.press("slash")
        await reader.type("THIS flow=one")
        await reader.until(lambda: reader.rows(Section.RECENT) == [one], "the one that fits")
        await reader.press("enter")
        assert reader.app.screen.query_one("#filter", Input).display
        await reader.press("escape")
        await reader.until(lambda: len(reader.rows(Section.RECENT)) == 3, "all runs")
        await reader.goes_to(Section.RECENT, two)
        await reader.press("e")
        await reader.until(lambda: reader.rows(Section.RECENT) == [two], "the runs of its event")
        await reader.sees("Only the event e 2.")
        await reader.press("escape")
        await reader.until(lambda: both in reader.rows(Section.RECENT), "all runs")

    read(by_socket(place), does)


def test_a_filter_finds_what_ended_long_ago(place: Workspace) -> None:
    place.flow("old", say("completed", message="needle"), step='[steps.labels]\nversion = "/payload/v"')
    place.flow("new", say("completed"))
    place.start()
    old = {"id": "o1", "type": "old.go", "payload": {"v": "1.2"}}
    (old_id,) = place.call("flow.dispatch", event=old, wait=True)["runIds"]
    for n in range(120):
        place.call("flow.dispatch", event={"id": f"n{n}", "type": "new.go"})
    until(lambda: place.call("daemon.status")["runs"]["completed"] == 121, what="the end of all runs", bound_s=60)

    async def does(reader: Reader) -> None:
        await reader.until(lambda: len(reader.rows(Section.RECENT)) == 100, "the newest runs")
        assert old_id not in reader.rows(Section.RECENT)
        for typed in ("needle", "flow=old", "version=1.2"):
            await reader.press("slash")
            await reader.type(typed)
            await reader.press("enter")
            await reader.until(lambda: reader.rows(Section.RECENT) == [old_id], f"the run by {typed}")
            await reader.press("escape")
            await reader.until(lambda: len(reader.rows(Section.RECENT)) == 100, "the newest runs again")

    read(by_socket(place), does)


def test_a_section_may_have_the_whole_screen(place: Workspace) -> None:
    place.flow("ask", say("blocked", message="publish it?"))
    place.flow("quick", say("completed", message="all is well"))
    place.start()
    place.call("flow.dispatch", event={"id": "q1", "type": "quick.go"}, wait=True)
    place.call("flow.dispatch", event={"id": "a1", "type": "ask.go"}, wait=True)

    async def does(reader: Reader) -> None:
        await reader.sees("publish it?", "all is well")
        await reader.press("1", "z")
        await reader.until(lambda: "all is well" not in reader.text(), "the questions alone")
        assert "publish it?" in reader.text()
        await reader.press("z", "tab", "z")
        await reader.until(lambda: "publish it?" not in reader.text(), "what has ended, alone")
        assert "all is well" in reader.text()

    read(by_socket(place), does)


def test_help_shows_every_key(place: Workspace) -> None:
    place.start()

    async def does(reader: Reader) -> None:
        await reader.press("question_mark")
        await reader.sees("Enter", "Replay the run's event", "Resume what is paused", "Escape closes this.")
        await reader.press("escape")
        await reader.sees("RECENT")

    read(by_socket(place), does, size=(80, 24))


def test_all_of_it_works_over_http_with_the_token_of_this_machine(place: Workspace) -> None:
    place.flow("ask", say("blocked", message="publish it?"))
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
    (run,) = place.call("flow.dispatch", event={"id": "a1", "type": "ask.go"}, wait=True)["runs"]
    token = place.path / ".codex" / "flowd" / "http-token"

    async def does(reader: Reader) -> None:
        await reader.sees(web.url)
        await reader.goes_to(Section.ATTENTION, run["id"])
        await reader.press("a")
        await reader.sees("Approve")
        await reader.press("enter")
        await reader.until(lambda: run["id"] in reader.rows(Section.RECENT), "the approval")
        await reader.press("4", "enter")
        await reader.sees("completed  ask/main", "FLOW_RESULT")

    read(to_url(web.url, token), does)
    assert place.call("flow.getRun", runId=run["id"])["run"]["resolution"]["by"]["via"] == "token"


def test_a_token_that_may_only_read_sees_all_and_is_told_what_it_may_not(place: Workspace) -> None:
    token = "looks-and-does-not-touch"
    place.flow("ask", say("blocked", message="publish it?"))
    web = HttpPlace(place)
    web.configure(f'[http.tokens.reader]\nsha256 = "{hashlib.sha256(token.encode()).hexdigest()}"\nscopes = ["read"]\n')
    web.start(FLOWD_HTTP_OPEN="")
    (run,) = place.call("flow.dispatch", event={"id": "a1", "type": "ask.go"}, wait=True)["runs"]
    file = place.path / "token"
    file.write_text(f"{token}\n")

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.ATTENTION, run["id"])
        await reader.press("a")
        await reader.sees("Approve")
        await reader.press("enter")
        await reader.sees("control")
        assert run["id"] in reader.rows(Section.ATTENTION)

    read(to_url(web.url, file), does)


def test_who_has_no_runs_yet_is_told_how_to_get_one(place: Workspace) -> None:
    place.start()

    async def does(reader: Reader) -> None:
        await reader.sees("Nothing has run yet", "flowd dispatch")
        await reader.press("slash")
        await reader.type("x")
        await reader.sees("Nothing fits the filter.")

    read(by_socket(place), does)
