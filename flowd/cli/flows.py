"""``flowd flows``: lists the packages in force. Also prints packages for other verbs."""

from collections.abc import Iterator

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option
from flowd_client import requests
from flowd_client.views.catalog import CatalogView, FlowView, read_catalog


@click.command(cls=Verb, short_help="List the flow packages that the daemon has in force.")
@as_json_option
@click.pass_obj
def flows(session: Session, as_json: bool) -> None:
    """List the flow packages: in force, broken (and why), and shadowed by an installed namesake.

    \b
    Examples:
      flowd flows
      flowd flows --json | jq -r '.flows[].name'
    """
    response = session.ask(requests.list_flows())
    if as_json:
        printing.print_json(response)
    else:
        draw_catalog(read_catalog(response))


def draw_catalog(view: CatalogView) -> None:
    """Every package in a row, and a sentence for each that is not fine."""
    rows = [(flow.name, flow.state, _number(flow.version), _steps(flow), flow.root or "-") for flow in view.flows]
    rows += [(item.name, "broken", "-", "-", item.root or "-") for item in view.broken if not item.is_stale]
    rows += [(item.name, "shadowed", "-", "-", item.root) for item in view.shadowed]
    if not rows:
        printing.note("There is no flow package. `flowd new NAME` writes one.")
        return
    printing.table(("FLOW", "STATE", "VERSION", "STEPS", "FOLDER"), rows, whole=("FLOW", "STATE"))
    for text in remarks(view):
        printing.line(text)


def remarks(view: CatalogView) -> Iterator[str]:
    """What is wrong or doubtful, a line each."""
    for flow in view.flows:
        for warning in flow.warnings:
            yield f"warning {flow.name}: {warning}"
    for item in view.broken:
        kept = " The last good definition stays in force." if item.is_stale else ""
        yield f"{printing.status('broken')} {item.name}: {item.sentence()}{kept}"
    for hidden in view.shadowed:
        yield f"shadowed {hidden.name}: {hidden.root} is hidden by {hidden.by}"


def _steps(flow: FlowView) -> str:
    return ", ".join(f"{step.name} ({step.trigger_type})" if step.trigger_type else step.name for step in flow.steps)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
