"""``flowd flows``: lists the packages in force. Also prints packages for other verbs."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import click

from flowd.cli import graph, printing, run_words, time_words
from flowd.cli.exits import CommandError, Exit
from flowd.cli.names import FlowName
from flowd.cli.session import Session
from flowd.cli.verb import Verb, as_json_option
from flowd.domain.errors import StepNotFoundError
from flowd_client import requests
from flowd_client.views.catalog import BrokenView, CatalogView, FlowView, ScheduleDefinitionView, StepView, read_catalog


@click.command(cls=Verb, short_help="List the flow packages that the daemon has in force.")
@click.argument("name", type=FlowName(), required=False, metavar="[NAME]")
@as_json_option
@click.pass_obj
def flows(session: Session, name: str | None, as_json: bool) -> None:
    """List the flow packages: in force, broken (and why), and shadowed by an installed namesake.

    With a NAME, draw the steps of this flow in their order. Without needs, steps are independent and start together.

    \b
    Examples:
      flowd flows
      flowd flows release
      flowd flows --json | jq -r '.flows[].name'
    """
    response = session.ask(requests.list_flows())
    view = read_catalog(response)
    if name is None:
        if as_json:
            printing.print_json(response)
        else:
            draw_catalog(view)
        return
    found = [flow for flow in view.flows if flow.name == name]
    if not found:
        raise _unknown(name, view)
    for flow in found:
        if as_json:
            printing.print_json(flow.raw)
        else:
            draw_flow(flow)
    if not as_json:
        for text in _broken(item for item in view.broken if item.name == name):
            printing.sentence(text)
        for pause in run_words.pauses_of(session.ask(requests.queue(limit=1)).get("pauses", ()), name):
            printing.line(run_words.pause(pause))


def _unknown(name: str, view: CatalogView) -> CommandError:
    for item in view.broken:
        if item.name == name:
            return CommandError(f"Flow {name} is broken: {item.sentence()}", Exit.NOT_FOUND)
    unknown = StepNotFoundError.of_flow(name, [flow.name for flow in view.flows])
    return CommandError(unknown.message, Exit.NOT_FOUND)


def draw_flow(flow: FlowView) -> None:
    """A flow and the order of its steps."""
    printing.fields(
        (
            ("flow", flow.name),
            ("version", _number(flow.version)),
            ("state", flow.state),
            ("folder", flow.root),
            ("about", flow.description),
            ("rounds", at_a_time(flow.concurrency)),
        )
    )
    for watch in flow.watches:
        ignored = "" if watch.gitignore else ", ignored files too"
        printing.line(
            f"watch {watch.name}: {watch.type} for changes of {', '.join(watch.paths)}{ignored}, "
            f"once they have settled for {watch.settle_ms} ms"
        )
    printing.line()
    steps = {step.name: step for step in flow.steps}
    for text in graph.lines({step.name: step.needs for step in flow.steps}, lambda name: _starts(steps[name])):
        printing.line(text)
    if len(steps) > 1 and not any(step.needs for step in flow.steps):
        printing.line()
        printing.sentence("Its steps have no needs: those that match an event are independent and start together.")
    if flow.schedules:
        printing.line()
        printing.sentence("It comes by itself; `flowd schedules` has when next, and how the last times ended:")
    for schedule in flow.schedules:
        printing.line(f"  {schedule.name}: {by_itself(schedule)}")
    for warning in flow.warnings:
        printing.sentence(f"warning: {warning}")


def by_itself(schedule: ScheduleDefinitionView) -> str:
    """When an event comes, and of which type.

    >>> by_itself(ScheduleDefinitionView("night", "30 2 * * *", "Europe/Berlin", "night.came", "latest"))
    '"30 2 * * *" by the clock of Europe/Berlin sends night.came'
    """
    return f'"{schedule.cron}" by the clock of {schedule.timezone} sends {schedule.type}'


def _starts(step: StepView) -> str:
    """What a step waits for, beyond the step that it is drawn below."""
    parts = [f"on {step.trigger_type}"] if step.trigger_type else [] if step.needs else ["no event starts it"]
    if len(step.needs) > 1:
        parts.append(f"needs {', '.join(step.needs)}")
    if step.needs and step.when not in (None, "success"):
        parts.append(f"when {step.when}")
    if step.concurrency is not None:
        parts.append(at_a_time(step.concurrency) or "")
    parts += time_words.asked(step.delay_ms, step.queue_timeout_ms, step.debounce)
    if step.priority:
        parts.append(f"priority {step.priority}")
    if step.runs_on:
        parts.append(f"on hosts with {' and '.join(step.runs_on)}")
    if step.labels:
        parts.append(f"labels {', '.join(step.labels)}")
    return "; ".join(parts)


def at_a_time(asked: Mapping[str, Any] | None) -> str | None:
    """How many may be under way at a time, from a view's ``concurrency``.

    >>> at_a_time({"key": ["/payload/repo"], "limit": 1, "onBusy": "latest", "group": "checkout"})
    'one at a time for each /payload/repo, with all of group checkout, else latest'
    >>> at_a_time({"key": [], "limit": 3, "onBusy": "queue"})
    '3 at a time'
    """
    if asked is None:
        return None
    limit = asked.get("limit")
    text = "one at a time" if limit == 1 else f"{limit} at a time"
    if asked.get("key"):
        text += f" for each {' and '.join(asked['key'])}"
    if asked.get("group"):
        text += f", with all of group {asked['group']}"
    return text if asked.get("onBusy") == "queue" else f"{text}, else {asked.get('onBusy')}"


def draw_catalog(view: CatalogView) -> None:
    """Every package in a row, and a sentence for each that is not fine."""
    rows = [(flow.name, flow.state, _number(flow.version), _steps(flow), flow.root or "-") for flow in view.flows]
    rows += [(item.name, "broken", "-", "-", item.root or "-") for item in view.broken if not item.is_stale]
    rows += [(item.name, "shadowed", "-", "-", item.root) for item in view.shadowed]
    if not rows:
        printing.note("There is no flow package. `flowd new NAME` writes one.")
        return
    printing.table(("FLOW", "STATE", "VERSION", "STEPS", "FOLDER"), rows, yields=("FOLDER", "STEPS"), whole=("STATE",))
    for text in remarks(view):
        printing.sentence(text)


def remarks(view: CatalogView) -> Iterator[str]:
    """What is wrong or doubtful, a line each."""
    for flow in view.flows:
        for warning in flow.warnings:
            yield f"warning {flow.name}: {warning}"
    yield from _broken(view.broken)
    for hidden in view.shadowed:
        yield f"shadowed {hidden.name}: {hidden.root} is hidden by {hidden.by}"


def _broken(packages: Iterable[BrokenView]) -> Iterator[str]:
    for item in packages:
        kept = " The last good definition stays in force." if item.is_stale else ""
        for sentence in item.sentences():
            yield f"{printing.status('broken')} {item.name}: {sentence}{kept}"


def _steps(flow: FlowView) -> str:
    return ", ".join(f"{step.name} ({facts})" if (facts := _facts(step)) else step.name for step in flow.steps)


def _facts(step: StepView) -> str:
    """What starts a step, for a list.

    >>> step = StepView("sign", "exec", "s.sh", 1, "release.signed", None, None, ("build", "test"), "success")
    >>> _facts(step)
    'release.signed, after build and test'
    """
    after = f"after {' and '.join(step.needs)}" if step.needs else None
    return ", ".join(fact for fact in (step.trigger_type, after) if fact)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"
