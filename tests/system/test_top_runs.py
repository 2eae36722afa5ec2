"""A run that is opened in ``flowd top``: its output as it comes, over restarts, whatever is in it."""

import asyncio

from daemon_rig import Workspace, say
from textual.widgets import Static
from top_rig import HARMFUL, Reader, by_socket, read

from flowd.screen.board import Section
from flowd.screen.output_view import OutputView
from flowd.screen.run_screen import RunScreen


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
        lines = reader.app.screen.query_one(OutputView).lines
        green = next(line for line in lines if "green" in line.plain)
        assert "color(2)" in [str(span.style) for span in green.spans]
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
        shown = [line.plain.strip() for line in reader.app.screen.query_one(OutputView).lines]
        assert [line.partition(" {")[0] for line in shown[-3:]] == ["out 60000", "! err", "FLOW_RESULT"]
        assert len(shown) <= 10_000

    read(by_socket(place), does)


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
        shown = reader.app.screen.query_one(OutputView)
        assert all(HARMFUL.findall(line.plain) == [] for line in shown.lines)

    read(by_socket(place), does)


def test_long_lines_are_wrapped_and_a_reader_who_scrolled_up_is_left_there(place: Workspace) -> None:
    place.flow("loud", f"seq 200; until test -e go; do sleep 0.05; done; printf '%0300d\\n' 7; {say('completed')}")
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "l1", "type": "loud.go"})["runIds"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RUNNING, run_id)
        await reader.press("enter")
        await reader.sees("  200")
        await reader.press("g")
        await reader.sees("  1 ", "  2 ")
        (place.path / "flows" / "loud" / "go").touch()
        view = reader.app.screen.query_one(OutputView)
        await reader.until(lambda: len(view.lines) == 202, "the last lines")
        await reader.sees("  1 ", "completed  loud/main")
        await reader.press("G")
        await reader.sees("FLOW_RESULT")
        assert "00007" not in reader.text()
        await reader.press("w")
        await reader.sees("00007", "FLOW_RESULT")

    read(by_socket(place), does)


def test_words_are_found_in_the_output_and_so_are_its_errors(place: Workspace) -> None:
    place.flow(
        "loud", f"seq -f 'line %.0f' 300; sleep 0.05; echo Needle one >&2; sleep 0.05; seq 300; {say('completed')}"
    )
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "l1", "type": "loud.go"}, wait=True)["runs"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RECENT, run["id"])
        await reader.press("enter")
        await reader.sees("FLOW_RESULT")
        await reader.press("E")
        await reader.sees("! Needle one")
        await reader.press("g")
        await reader.sees("line 1 ")
        await reader.press("slash")
        await reader.type("needle")
        await reader.press("enter")
        await reader.sees("! Needle one", "line 300")
        await reader.press("slash")
        await reader.press(*["backspace"] * 6)
        await reader.type("line 2")
        await reader.press("enter")
        await reader.sees("line 2 ")
        await reader.press("n")
        await reader.sees("line 20 ")
        await reader.press("N", "N")
        await reader.sees("line 299 ")
        await reader.press("slash")
        await reader.type("nowhere")
        await reader.press("enter")
        await reader.sees("is not in the output.")
        await reader.press("escape")
        await reader.sees("RECENT")

    read(by_socket(place), does)


def test_the_next_attempt_follows_the_end_of_the_one_before(place: Workspace) -> None:
    place.flow("flaky", f"echo begun; test -e ok || {{ echo sorry >&2; exit 3; }}; {say('completed')}")
    place.start()
    (run,) = place.call("flow.dispatch", event={"id": "f1", "type": "flaky.go"}, wait=True)["runs"]

    async def does(reader: Reader) -> None:
        await reader.goes_to(Section.RECENT, run["id"])
        await reader.press("enter")
        await reader.sees("failed  flaky/main", "begun", "! sorry")
        (place.path / "flows" / "flaky" / "ok").touch()
        await reader.press("r")
        await reader.sees("another attempt of flaky/main")
        await reader.press("y")
        await reader.sees("completed  flaky/main", "! sorry", "── attempt 2 ──", "FLOW_RESULT", "1 failed")
        shown = [line.plain.strip().partition(" {")[0] for line in reader.app.screen.query_one(OutputView).lines]
        assert shown == ["begun", "! sorry", "── attempt 2 ──", "begun", "FLOW_RESULT"]

    read(by_socket(place), does)


def test_how_far_a_step_says_it_is_is_shown_as_it_says_so(place: Workspace) -> None:
    tell = """FLOW_PROGRESS {\\"percent\\": $1, \\"message\\": \\"$2\\"}"""
    script = f'say() {{ echo "{tell}"; until test -e $2; do sleep 0.05; done; }}; say 40 Packing; say 80 Sending; '
    place.flow("slow", script + say("completed"))
    folder = place.path / "flows" / "slow"
    place.start()
    (run_id,) = place.call("flow.dispatch", event={"id": "s1", "type": "slow.go"})["runIds"]

    async def does(reader: Reader) -> None:
        await reader.sees("RUNNING 1", "40 % Packing")
        await reader.goes_to(Section.RUNNING, run_id)
        await reader.press("enter")
        await reader.sees("progress  40 % Packing")
        (folder / "Packing").touch()
        await reader.sees("progress  80 % Sending")
        await reader.press("escape")
        await reader.sees("80 % Sending")
        (folder / "Sending").touch()
        await reader.until(lambda: run_id in reader.rows(Section.RECENT), "the end")

    read(by_socket(place), does)
