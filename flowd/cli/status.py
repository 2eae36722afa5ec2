"""``flowd status``: shows on one screen what the daemon is doing."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from flowd.cli import drained, printing, run_words
from flowd.cli.exits import CommandError
from flowd.cli.printing import size
from flowd.cli.session import Session
from flowd.cli.verb import Verb, absolute_option, as_json_option
from flowd.observe import installed
from flowd_client import requests, wire
from flowd_client.errors import DaemonNotRunningError, InvalidCallError

_ON_STOP = {
    "finish": "finish: running steps go on to their end",
    "cancel": "cancel: running steps are ended",
    "keep": "keep: running steps go on, for the next daemon",
}
_ON_SERVICE_STOP = "cancel: a stop of the service ends running steps; a restart leaves them to the next daemon"
_ON_SERVICE_RESTART = "kill: systemd kills running steps with flowd, at a restart, too (KillMode= of its unit)"
_ENDED = ("completed", "failed", "canceled")

Response = Mapping[str, Any]


@click.command(cls=Verb, short_help="Show what the daemon does.")
@click.option("--config", is_flag=True, help="Also each setting as a file has it, and where it is from.")
@click.option("--all", "of_all", is_flag=True, help="Of the daemons of all workspaces, a line each.")
@absolute_option
@as_json_option
@click.pass_obj
def status(session: Session, *, config: bool, of_all: bool, as_json: bool) -> None:
    """Show what the daemon does: what it runs, what waits, what it holds, its limits. Exits with 3 when there is none;
    with --config, it shows before what the settings files and the environment say.

    A terminal shows only the names of settings that nobody has set, a pipe their values, too.

    \b
    Examples:
      flowd status
      flowd status --config
      flowd status --all
      flowd status --json | jq .runs
      flowd status --json | jq .metrics.flowd_queue_runs
    """
    if of_all:
        from flowd.cli import workspaces  # noqa: PLC0415 - which looks at processes

        if config:
            raise CommandError("--config is of one daemon: leave --all out.")
        workspaces.show(as_json=as_json)
        return
    try:
        response = ask(session, settings=config, metrics=as_json)
    except DaemonNotRunningError:
        if config and not as_json:
            _show_files(session)
        raise
    if as_json:
        printing.print_json(response)
        return
    _draw(session, response)
    settings = response.get("settings")
    if config and isinstance(settings, list):
        from flowd.cli import settings as drawn  # noqa: PLC0415 - only where it is asked for

        workspace = _text(response.get("workspace"))
        printing.line()
        drawn.draw(settings, workspace, columns=printing.screen_columns())
        drawn.tell_wrong(Path(workspace), more="The daemon keeps the settings of before, and another would not start.")


def _show_files(session: Session) -> None:
    """What would count; that no daemon runs is said behind it."""
    from flowd.cli import settings as drawn  # noqa: PLC0415 - only where it is asked for

    drawn.draw_files(session.workspace)


def ask(session: Session, *, settings: bool, metrics: bool) -> Response:
    """How the daemon is. One of an earlier version that does not know of its metrics leaves them out.

    Raises:
        FlowClientError: Any of its tree.
    """
    wanted = {"settings": settings, "metrics": metrics}
    asked = {name: True for name, is_wanted in wanted.items() if is_wanted}
    try:
        response: Response = session.ask(requests.call(wire.STATUS, asked))
    except InvalidCallError:
        if not metrics:
            raise
        del asked["metrics"]
        response = session.ask(requests.call(wire.STATUS, asked))
    return response


def _draw(session: Session, response: Response) -> None:
    printing.fields(
        (
            ("state", _state(session, response)),
            ("daemon", _daemon(response)),
            ("code", _other_code(response)),
            ("managed by", _manager(response.get("manager"))),
            ("workspace", _text(response.get("workspace"))),
            ("socket", _text(response.get("socket"))),
            ("http", _text(response.get("http"))),
            ("page", _page(response.get("page"))),
            ("data", _data(response)),
            ("memory", _memory(response)),
            ("keeper", _outdated(response.get("outdatedKeeper"))),
            ("flows", flows_line(_table(response, "catalog"))),
            ("events", _text(response.get("events"))),
            ("running", _of(response, "running", "maxParallel")),
            ("queued", _queued(response)),
            ("paused", _paused(response)),
            ("attention", _attention(session, response)),
            ("storage", _storage(response.get("waitingForStorage"))),
            ("ended", _ended(response)),
            ("limits", _limits(_table(response, "limits"))),
            ("keeps", _retention(_table(response, "retention"))),
            ("on stop", _on_stop(response)),
            *((f"trouble: {trouble['what']}", trouble["problem"]) for trouble in response.get("troubles", ())),
        )
    )
    running = response.get("running")
    if isinstance(running, list) and running:
        printing.line()
        draw_running(running)


def _state(session: Session, response: Response) -> str:
    state = _text(response.get("state"))
    if response.get("stopping"):
        return f"stopping: no run starts; {drained.NEXT_ONE}"
    return f"{state}: no run starts; `{session.typed('drain', off=True)}` goes on" if state == "draining" else state


def _retention(kept: Response) -> str | None:
    if not kept:
        return None
    rules = "; ".join(str(rule) for rule in kept.get("rules", ()))
    if "lookedAt" not in kept:
        return rules
    forgot = f"{kept.get('events', 0)} events and {kept.get('runs', 0)} runs"
    return f"{rules} (forgot {forgot} {printing.when(_instant(kept['lookedAt']))})"


def _page(where: object) -> str | None:
    return f"{where}/ui/, until the daemon stops" if isinstance(where, str) else None


def draw_running(steps: list[Response]) -> None:
    """Running steps as a table, oldest first."""
    rows = [
        (
            _text(step.get("runId")),
            _text(step.get("step")),
            _text(step.get("attempt")),
            printing.when(_instant(step.get("startedAt"))),
            _text(step.get("pid")),
        )
        for step in steps
    ]
    printing.table(("RUNNING", "STEP", "ATTEMPT", "SINCE", "PID"), rows, yields=("PID",))


def _daemon(response: Response) -> str:
    started = printing.when(_instant(response.get("startedAt")))
    return f"{_text(response.get('version'))}, pid {_text(response.get('pid'))}, started {started}"


def _other_code(response: Response) -> str | None:
    """That a restart is due for what was installed meanwhile."""
    other = installed.other_code(response, installed.installed_at_s(), time.time())
    return f"{other}: restart the daemon" if other else None


def _manager(manager: object) -> str | None:
    if not isinstance(manager, dict):
        return None
    return f"{_text(manager.get('kind'))}, {_text(manager.get('scope'))} unit {_text(manager.get('unit'))}"


def _on_stop(response: Response) -> str | None:
    if response.get("onServiceRestart") == "kill":
        return _ON_SERVICE_RESTART
    if response.get("onServiceStop") == "cancel":
        return _ON_SERVICE_STOP
    return _ON_STOP.get(_text(response.get("onStop")))


def _data(response: Response) -> str:
    store = _table(response, "store")
    if "address" in store:
        return f"{_text(response.get('stateDir'))}, records in {store['address']}, schema {store['schema']}"
    database = _table(response, "database")
    if not database:
        return _text(response.get("stateDir"))
    whole, free = database.get("bytes", 0) + database.get("walBytes", 0), database.get("freeBytes", 0)
    # Some pages are always free; only much of it is worth a word.
    records = f"{size(whole)} for records, {size(free)} of it free" if free * 5 > whole else f"{size(whole)} of records"
    return f"{_text(response.get('stateDir'))}, {records}"


def _memory(response: Response) -> str:
    keeper = _table(response, "keeper")
    if str(keeper.get("id", "")).startswith("systemd-"):
        return f"daemon {size(response.get('rssBytes'))}; steps are units of systemd"
    if "pid" not in keeper:
        return f"daemon {size(response.get('rssBytes'))}; there is no keeper just now"
    return f"daemon {size(response.get('rssBytes'))}, keeper {size(keeper.get('rssBytes'))} (pid {keeper['pid']})"


def _outdated(keeper: object) -> str | None:
    if not isinstance(keeper, dict):
        return None
    lacks = ", ".join(map(str, keeper.get("lacks", ())))
    version = keeper.get("version", "an earlier version")
    return f"of {version}, until the steps that it runs have ended" + (f"; cannot keep {lacks}" if lacks else "")


def flows_line(catalog: Response) -> str:
    """How many packages are in force, and how many of them or of others are not as they should be."""
    stale = catalog.get("stale", 0)
    counts = {
        "stale (broken on disk, its last good version runs)": stale,
        "broken": max(catalog.get("broken", 0) - stale, 0),  # which counts those, too
        "shadowed": catalog.get("shadowed", 0),
    }
    others = [f"{count} {name}" for name, count in counts.items() if count]
    hint = "; see `flowd flows`" if others else ""
    return ", ".join([f"{catalog.get('flows', 0)} in force", *others]) + hint


def _ended(response: Response) -> str:
    """How many runs ended how, by what counts; of a daemon of an earlier version, by what became of their processes."""
    if "outcomes" in response:
        return run_words.outcomes(_table(response, "outcomes"))
    return ", ".join(f"{_table(response, 'runs').get(name, 0)} {name}" for name in _ENDED)


def _of(response: Response, name: str, limit: str) -> str:
    return f"{_table(response, 'runs').get(name, 0)} of at most {_table(response, 'limits').get(limit, '?')}"


def _queued(response: Response) -> str:
    waiting, limits = response.get("waiting") or 0, _table(response, "limits")
    if not waiting:
        return _of(response, "queued", "maxQueued")
    ready = _table(response, "runs").get("queued", 0) - waiting
    told = f"{ready} ready of at most {limits.get('maxQueued', '?')}"
    return f"{told}, {waiting} waiting of at most {limits.get('maxWaiting', '?')}; see `flowd queue`"


def _paused(response: Response) -> str | None:
    return "\n".join(run_words.pause(pause) for pause in response.get("pauses") or ()) or None


def _attention(session: Session, response: Response) -> str | None:
    """How many runs ask, and what the first ones say."""
    attention = _table(response, "attention")
    if not attention:
        return None
    count = attention["count"]
    lines = [f"{count} {'run asks' if count == 1 else 'runs ask'} for a person; see `{session.typed('attention')}`"]
    return "\n".join([*lines, *(f"{one['runId']}  {one.get('message', '')}" for one in attention["questions"])])


def _storage(waiting: object) -> str | None:
    return f"{waiting} runs wait for storage: the disk is full, or the database is locked" if waiting else None


def _limits(limits: Response) -> str:
    return f"payload {size(limits.get('maxPayloadBytes'))}, output {size(limits.get('maxOutputBytes'))} a stream"


def _table(response: Response, name: str) -> Response:
    value = response.get(name)
    return value if isinstance(value, dict) else {}


def _instant(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC) if isinstance(value, str) else None
    except ValueError:
        return None


def _text(value: object) -> str:
    return "" if value is None else str(value)
