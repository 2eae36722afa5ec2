"""``flowd top`` as its reader sees it: a real daemon under it, keys pressed, and what the screen then holds."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from typing import Any

from daemon_rig import Workspace, say
from http_rig import HttpPlace
from textual.pilot import Pilot
from textual.widgets import Input, RichLog, Static

from flowd.cli.session import Session
from flowd.screen.app import Overview, TopApp
from flowd.screen.board import Section
from flowd.screen.daemon_link import DaemonLink, to_socket, to_url
from flowd.screen.run_screen import RunScreen

_BOUND_S = 20.0

HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

Keys = Callable[["Reader"], Awaitable[None]]


class Reader:
    """Somebody at the screen."""

    def __init__(self, app: TopApp, pilot: Pilot[None]) -> None:
        self.app = app
        self.pilot = pilot

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        names = {" ": "space", "=": "equals_sign", "{": "left_curly_bracket", "}": "right_curly_bracket"}
        await self.pilot.press(*(names.get(key, key) for key in text))

    async def until(self, condition: Callable[[], Any], what: str) -> Any:
        """The condition's first true value, or a failure after the bound."""
        deadline = asyncio.get_running_loop().time() + _BOUND_S
        while not (value := condition()):
            assert asyncio.get_running_loop().time() < deadline, f"{what} did not come:\n{self.text()}"
            await self.pilot.pause(0.05)
        return value

    async def sees(self, *words: str) -> None:
        """Wait until all of these words are on the screen."""
        await self.until(lambda: all(word in self.text() for word in words), f"{words} on the screen")

    def text(self) -> str:
        """What is on the screen now, as its lines."""
        return "\n".join(
            "".join(segment.text for segment in line) for line in self.app.screen._compositor.render_strips()
        )

    def rows(self, section: Section) -> list[str]:
        """The runs of a section."""
        overview = next(screen for screen in self.app.screen_stack if isinstance(screen, Overview))
        return [row.run.id for row in overview.section_of(section)._rows]

    async def goes_to(self, section: Section, run_id: str) -> None:
        """Put the cursor on a run."""
        await self.until(lambda: run_id in self.rows(section), f"{run_id} in {section}")
        await self.press(str(list(Section).index(section) + 1))
        for _ in range(self.rows(section).index(run_id)):
            await self.press("down")


def read(link: DaemonLink, does: Keys, *, size: tuple[int, int] = (120, 40)) -> None:
    """Open the screen, and let somebody do something with it."""

    async def main() -> None:
        app = TopApp(link)
        async with app.run_test(size=size, notifications=True) as pilot:
            await does(Reader(app, pilot))

    asyncio.run(main())


def by_socket(place: Workspace) -> DaemonLink:
    session = Session()
    session.choose_workspace(str(place.path))
    return to_socket(session)


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


def test_a_run_is_opened_and_its_output_followed_with_its_colours(place: Workspace) -> None:
    place.flow(
        "slow",
        "printf '\\033[32mgreen\\033[0m\\n'; echo oh >&2; until test -e go; do sleep 0.05; done; echo gone; "
        + say("completed"),
    )
    folder = place.path / "flows" / "slow"
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "s1", "type": "slow.go"})["runIds"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RUNNING, run_id)
        await reader.press("enter")
        await reader.sees("running  slow/main", run_id, "  green", "! oh")
        lines = reader.app.screen.query_one(RichLog).lines
        segments = [segment for line in lines for segment in line if segment.text == "green"]
        assert segments[0].style is not None
        assert segments[0].style.color is not None
        (folder / "go").touch()
        await reader.sees("gone", "completed  slow/main", "after ")
        await reader.press("escape")
        await reader.sees("RECENT")

    read(by_socket(place), does)


def test_output_begins_near_its_end_and_in_the_order_in_which_it_was_printed(place: Workspace) -> None:
    # Told apart by the keeper only where there is time between them.
    script = "say() { echo $1; sleep 0.05; }; seq -f 'out %.0f' 60000; sleep 0.05; say err >&2; "
    place.flow("loud", f"{script}{say('completed')}")
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "l1", "type": "loud.go"}, wait=True)["runs"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RECENT, run["id"])
        await reader.press("enter")
        await reader.sees("out 60000", "! err", "FLOW_RESULT")
        shown = [line.text.strip() for line in reader.app.screen.query_one(RichLog).lines]
        assert [line.partition(" {")[0] for line in shown[-3:]] == ["out 60000", "! err", "FLOW_RESULT"]
        assert len(shown) <= 10_000

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
        await reader.until(lambda: place.call("flow.getRun", runId=flaky["id"])["run"]["attemptCount"] == 2, "it")

        await reader.goes_to(Section.RECENT, flaky["id"])
        await reader.press("R")
        await reader.sees("flaky/main and all that need it")
        await reader.press("2")
        await reader.until(lambda: any("_replay" in row for row in reader.rows(Section.RECENT)), "the replay")

    read(by_socket(place), does)
    assert place.call("flow.getRun", runId=slow)["run"]["status"] == "canceled"


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


def test_help_shows_every_key(place: Workspace) -> None:
    place.start()

    async def does(reader: Reader) -> None:
        await reader.press("question_mark")
        await reader.sees("Enter", "Replay the run's event", "Resume what is paused", "Escape closes this.")
        await reader.press("escape")
        await reader.sees("RECENT")

    read(by_socket(place), does, size=(80, 24))


def test_the_daemon_may_go_and_come_back_under_the_screen(place: Workspace) -> None:
    place.flow("slow", "echo begun; until test -e go; do sleep 0.05; done; echo gone; " + say("completed"))
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "s1", "type": "slow.go"})["runIds"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RUNNING, run_id)
        await asyncio.to_thread(place.kill)
        await reader.sees("Trying again")
        await asyncio.to_thread(place.start)
        away = reader.app.screen.query_one("#away", Static)
        await reader.until(lambda: not away.display, "the daemon")
        await reader.press("enter")
        await reader.sees("running  slow/main", "begun")
        await asyncio.to_thread(place.kill)
        await asyncio.to_thread(place.start)
        (place.path / "flows" / "slow" / "go").touch()
        await reader.sees("begun", "gone", "completed  slow/main")
        assert isinstance(reader.app.screen, RunScreen)

    read(by_socket(place), does)


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


def test_hostile_words_and_output_stay_words(place: Workspace) -> None:
    evil = "a\x1b]0;owned\x07b\x9b2J\u202egnp\u2066c [bold]x[/bold] [@click=app.quit]y[/]"
    script = (
        r"printf 'x\033]0;owned\007y\302\2332J\342\200\256gnp\033[2J[red]z\n'; head -c 10000000 /dev/zero | tr '\0' x; "
    )
    place.flow("loud", script + say("blocked", message=evil))
    place.start()
    event = {"id": "a\u202egnp [bold]", "type": "loud.go"}
    (run,) = place.call("flow.dispatch", event=event, wait=True)["runs"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.ATTENTION, run["id"])
        await reader.sees("[bold]x[/bold]")
        for key, words in (("a", "Approve loud/main"), ("p", "of the flow loud"), ("R", "Make new runs")):
            await reader.press(key)
            await reader.sees(words)
            assert HARMFUL.findall(reader.text()) == []
            await reader.press("escape")
        await reader.press("e")
        await reader.sees("Only the event a\\u202egnp [bold]")
        await reader.press("enter")
        await reader.sees("loud/main", "xxxxxxxx")
        assert HARMFUL.findall(reader.text()) == []
        shown = reader.app.screen.query_one(RichLog)
        assert all(HARMFUL.findall(line.text) == [] for line in shown.lines)

    read(by_socket(place), does)
