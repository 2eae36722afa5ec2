"""What comes by itself and goes out, in ``flowd top``: a real daemon under it, asked only while that is open."""

import asyncio

import pytest
from daemon_rig import Workspace, say, until
from http_rig import HttpPlace
from top_rig import Reader, by_socket, read

from flowd.screen.app import Overview
from flowd.screen.by_itself_screen import ByItselfScreen
from flowd.screen.daemon_link import to_url
from flowd_client import wire
from flowd_client._core import http_plans
from flowd_client.methods import Route

SCHEDULE = '[[schedules]]\nname = "night"\ncron = "0 0 29 2 *"\ntimezone = "Europe/Berlin"\ntype = "pack.go"\n'
WATCH = '[[watches]]\nname = "texts"\npaths = ["texts/**"]\ntype = "pack.go"\n'


def is_asked(reader: Reader) -> bool:
    """Whether the daemon is asked for what comes by itself."""
    return any(isinstance(worker.node, ByItselfScreen) and worker.is_running for worker in reader.app.workers)


def test_schedules_watches_and_what_could_not_be_sent_are_shown_while_it_is_open(place: Workspace) -> None:
    (place.path / "texts").mkdir()
    (place.path / "texts" / "one.md").touch()
    place.flow("pack", say("completed"), top=SCHEDULE + WATCH)
    place.flow("bad", "exit 1")
    tell = place.path / "tell"
    tell.write_text("#!/bin/sh\necho no relay >&2; exit 75\n")
    tell.chmod(0o755)
    settings = place.path / ".codex" / "flowd.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text('[[notify]]\nname = "mail"\ncommand = ["./tell"]\n')
    place.start()
    place.call("flow.dispatch", event={"id": "b1", "type": "bad.go"}, wait=True)
    until(lambda: place.call("flow.notices")["notices"][0].get("problem"), what="the first try")
    until(lambda: place.call("flow.watches")["watches"][0]["status"] == "watching", what="the watch")
    local = place.call("flow.schedules")["schedules"][0]["nextLocal"]

    async def does(reader: Reader) -> None:
        await reader.sees("RECENT", "bad/main")
        assert not is_asked(reader)
        await reader.press("b")
        await reader.sees("SCHEDULES 1", "pack/night", local, "Europe/Berlin", "ready")
        await reader.sees("WATCHES 1", "pack/texts", "watching", "NOTICES NOT SENT 1", "mail", "no relay")
        assert is_asked(reader)
        (place.path / "texts" / "two.md").touch()
        await reader.until(lambda: "s ago" in reader.text().partition("WATCHES")[2].partition("NOTICES")[0], "the save")
        await reader.press("b")
        await reader.sees("RECENT", "pack/main")
        await reader.until(lambda: not is_asked(reader), "the end of what asks")

    read(by_socket(place), does)


def test_unused_it_says_where_to_read_on_and_a_small_terminal_has_all_else(place: Workspace) -> None:
    place.start()

    async def does(reader: Reader) -> None:
        await reader.sees("Nothing has run yet", "Pause")
        await reader.press("b")
        await reader.sees("Nothing comes by itself", "docs/time.md", "docs/notices.md")
        await reader.press("q")
        await reader.sees("RECENT")
        assert isinstance(reader.app.screen, Overview)

    read(by_socket(place), does, size=(90, 12))


def test_the_daemon_may_go_and_come_back_under_it(place: Workspace) -> None:
    place.flow("pack", say("completed"), top=SCHEDULE)
    place.start()

    async def does(reader: Reader) -> None:
        await reader.sees("By itself")
        await reader.press("b")
        await reader.sees("pack/night")
        await asyncio.to_thread(place.kill)
        await reader.until(lambda: reader.app.screen.query_one("#away").display, "the bar")
        assert "pack/night" in reader.text()
        await asyncio.to_thread(place.start)
        await reader.until(lambda: not reader.app.screen.query_one("#away").display, "the daemon")

    read(by_socket(place), does)


def ask_for_what_no_daemon_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process ask a daemon for what it does not know, as of an older one."""
    newer = "flow.fromTheFuture"
    for name in ("SCHEDULES", "WATCHES", "NOTICES"):
        monkeypatch.setattr(wire, name, newer)
    route = Route("GET", "/from-the-future", "read")
    methods = http_plans.METHODS | {newer: http_plans.METHODS["flow.watches"]._replace(routes=(route,))}
    monkeypatch.setattr(http_plans, "METHODS", methods)


@pytest.mark.parametrize("way", ["socket", "http"])
def test_a_daemon_that_is_older_says_so_there_and_all_else_is_as_ever(
    place: Workspace, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.flow("quick", say("completed", message="all is well"))
    web = HttpPlace(place).start(FLOWD_HTTP_OPEN="")
    place.call("flow.dispatch", event={"id": "q1", "type": "quick.go"}, wait=True)
    token = place.path / ".codex" / "flowd" / "http-token"
    ask_for_what_no_daemon_has(monkeypatch)

    async def does(reader: Reader) -> None:
        await reader.sees("all is well")
        await reader.press("b")
        for what in ("schedules", "watches", "notices"):
            await reader.sees(f"The daemon is older than this flowd top, and knows no {what}.")
        await reader.press("escape")
        await reader.sees("all is well")

    read(by_socket(place) if way == "socket" else to_url(web.url, token), does)
