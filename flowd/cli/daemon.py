"""``flowd reload``, ``flowd drain`` and ``flowd undrain``: requests to the daemon itself."""

import math
import time
from typing import Any

import click

from flowd.cli import drained, printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.flows import remarks
from flowd.cli.session import Session
from flowd.cli.verb import Duration, Verb, as_json_option
from flowd_client import requests, wire
from flowd_client.views.catalog import CatalogView, read_catalog

_LOOK_INTERVAL_S = 0.2


@click.command(cls=Verb, short_help="Read the flow packages on disk now.")
@as_json_option
@click.pass_obj
def reload(session: Session, as_json: bool) -> Exit:
    """Make the daemon read the flow packages and the settings on disk now, and print what changed and what is broken.
    HTTP's secrets and tokens, webhooks and log_level are in force at once; it says of other settings that they wait for
    a restart.

    It watches them anyway; this is for scripts that want to be sure, and for file systems that tell nobody. Settings
    that cannot be read leave those of before in force: it says why, and exits with 5.

    \b
    Examples:
      flowd reload
    """
    before = session.view(requests.list_flows())
    response = session.ask(requests.reload())
    problem = (response.get("settings") or {}).get("problem")
    code = Exit.REFUSED if problem else Exit.GOOD
    if as_json:
        printing.print_json(response)
        return code
    after = read_catalog(response)
    for text in [*_changes(before, after), *_settings(response)] or ["nothing changed"]:
        printing.line(text)
    for text in remarks(after):
        printing.sentence(text)
    if problem:
        printing.note("flowd: The settings of before stay in force. `flowd validate` shows all that is wrong.")
    return code


def _settings(response: dict[str, Any]) -> list[str]:
    """What the reload made of changed settings."""
    said = response.get("settings") or {}
    found = [f"changed setting {name}" for name in said.get("changed", ())]
    found += [f"setting {name} waits for a restart" for name in said.get("waiting", ())]
    return found + ([f"settings not read: {said['problem']}"] if said.get("problem") else [])


def _changes(before: CatalogView, after: CatalogView) -> list[str]:
    old = {flow.name: flow for flow in before.flows}
    new = {flow.name: flow for flow in after.flows}
    found = [f"added {name}" for name in new if name not in old]
    found += [f"removed {name}" for name in old if name not in new]
    found += [
        f"changed {name}"
        for name, flow in new.items()
        if name in old and (flow.package_hash, flow.root) != (old[name].package_hash, old[name].root)
    ]
    return found


@click.command(cls=Verb, short_help="Start no more runs; go on accepting events.")
@click.option("--off", is_flag=True, help="Start runs again: take a drain back.")
@click.option("--wait", is_flag=True, help="Wait until nothing runs any more.")
@click.option("--timeout", "timeout_s", type=Duration(), metavar="T", help="Wait no longer; then exit with 1.")
@as_json_option
@click.pass_obj
def drain(session: Session, *, off: bool, wait: bool, timeout_s: float | None, as_json: bool) -> int:
    """Let the daemon start no more runs, until --off or for the next daemon, which starts what was accepted meanwhile:
    it goes on accepting events, whose runs wait on disk.

    With --wait, return when nothing runs any more: the daemon then stops at once when it is told to.

    \b
    Examples:
      flowd drain --wait && systemctl --user restart flowd
      flowd drain --wait --timeout 10m
      flowd drain --off
    """
    if off:
        if wait or timeout_s is not None:
            raise CommandError("--off waits for nothing: leave --wait and --timeout out.")
        return _end_drain(session, as_json=as_json)
    response = session.ask(requests.drain())
    running = response.get("running")
    count = len(running) if isinstance(running, list) else 0
    if not as_json:
        printing.line(f"draining; {printing.count(count, 'run')} under way")
        if response.get("stopping"):
            printing.note(f"flowd: The daemon stops; {drained.NEXT_ONE}.")
        elif not wait and timeout_s is None:
            printing.note(f"To start runs again: {session.typed('drain')} --off")
    is_waiting = wait or timeout_s is not None
    is_idle = _wait_until_idle(session, timeout_s, is_silent=as_json) if is_waiting else not count
    if as_json:
        printing.print_json({**response, "idle": is_idle})
    elif is_waiting and is_idle:
        printing.line("nothing runs any more")
    return Exit.RUN_FAILED if is_waiting and not is_idle else Exit.GOOD


@click.command(cls=Verb, short_help="Start runs again: the same as drain --off.")
@as_json_option
@click.pass_obj
def undrain(session: Session, as_json: bool) -> int:
    """Let the daemon start runs again, as `flowd drain --off` does.

    \b
    Examples:
      flowd undrain
    """
    return _end_drain(session, as_json=as_json)


def _end_drain(session: Session, *, as_json: bool) -> Exit:
    was = session.ask(requests.status()).get("state")
    response = session.ask(requests.drain(off=True))
    if as_json:
        printing.print_json(response)
    else:
        printing.line("ready; runs start again" if was == "draining" else "ready; it was not draining")
    return Exit.GOOD


def _wait_until_idle(session: Session, timeout_s: float | None, *, is_silent: bool) -> bool:
    """Wait until no step runs, naming the running ones whenever they change. False when the time is up."""
    give_up_at_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
    told: list[object] = []
    while True:
        running = session.ask(requests.call(wire.STATUS, None)).get("running")
        if not running:
            return True
        names = [step.get("runId") for step in running]
        if names != told and not is_silent:
            told = names
            printing.note("waiting for " + ", ".join(f"{step.get('step')} ({step.get('runId')})" for step in running))
        if time.monotonic() >= give_up_at_s:
            return False
        time.sleep(_LOOK_INTERVAL_S)
