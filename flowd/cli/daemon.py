"""``flowd status``, ``flowd reload`` and ``flowd drain``: words with the daemon itself."""

from typing import Any

import click

from flowd.cli import printing
from flowd.cli.flows import remarks
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option
from flowd_client import requests, wire
from flowd_client.views.catalog import CatalogView, read_catalog


@click.command(cls=Verb, short_help="Show how the daemon is.")
@click.option("--config", is_flag=True, help="Also each setting, and where it comes from.")
@as_json_option
@click.pass_obj
def status(session: Session, config: bool, as_json: bool) -> None:
    """Show how the daemon is: what it runs, what it holds, its limits. Exits with 3 when there is none.

    \b
    Examples:
      flowd status
      flowd status --config
      flowd status --json | jq .runs
    """
    answer = session.ask(requests.call(wire.STATUS, {"settings": True} if config else None))
    if as_json:
        printing.print_json(answer)
        return
    _draw_status(answer)
    settings = answer.get("settings")
    if config and isinstance(settings, list):
        printing.line()
        rows = [tuple(_text(item.get(key)) for key in ("name", "value", "origin")) for item in settings]
        printing.table(("SETTING", "VALUE", "FROM"), rows)


def _draw_status(answer: dict[str, Any]) -> None:
    keeper = answer.get("keeper")
    printing.fields(
        (
            ("state", _text(answer.get("state"))),
            ("version", _text(answer.get("version"))),
            ("workspace", _text(answer.get("workspace"))),
            ("state folder", _text(answer.get("stateDir"))),
            ("socket", _text(answer.get("socket"))),
            ("pid", _text(answer.get("pid"))),
            ("up since", _text(answer.get("startedAt"))),
            ("memory", _mebibytes(answer.get("rssBytes"))),
            ("keeper", _counts(keeper) if isinstance(keeper, dict) else None),
            ("flows", _counts(answer.get("catalog"))),
            ("events", _text(answer.get("events"))),
            ("runs", _counts(answer.get("runs"))),
            ("limits", _counts(answer.get("limits"))),
        )
    )


@click.command(cls=Verb, short_help="Look at the flow packages on disk now.")
@as_json_option
@click.pass_obj
def reload(session: Session, as_json: bool) -> None:
    """Make the daemon look at the flow packages on disk now, and print what changed and what is broken.

    It watches them anyway; this is for scripts that want to be sure, and for file systems that tell nobody.

    \b
    Examples:
      flowd reload
    """
    before = session.view(requests.list_flows())
    answer = session.ask(requests.reload())
    if as_json:
        printing.print_json(answer)
        return
    after = read_catalog(answer)
    for text in _changes(before, after) or ["nothing changed"]:
        printing.line(text)
    for text in remarks(after):
        printing.line(text)


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
@as_json_option
@click.pass_obj
def drain(session: Session, as_json: bool) -> None:
    """Let the daemon start no more runs. It goes on accepting events; their runs wait on disk for the next daemon.

    \b
    Examples:
      flowd drain && systemctl --user restart flowd
    """
    answer = session.ask(requests.drain())
    if as_json:
        printing.print_json(answer)
        return
    running = answer.get("running")
    count = len(running) if isinstance(running, list) else 0
    printing.line(f"draining; {count} {'run' if count == 1 else 'runs'} under way")


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _counts(value: object) -> str | None:
    if not isinstance(value, dict):
        return None
    return ", ".join(f"{name} {count}" for name, count in value.items() if count is not None)


def _mebibytes(value: object) -> str | None:
    return f"{value / 1_048_576:.1f} MiB" if isinstance(value, int) else None
