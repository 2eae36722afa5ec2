"""``flowd fire`` and ``flowd exec``: run steps in this process, without a daemon, and store nothing.

On stdout they print what the reference runner prints for ``fire`` and ``run``; what steps write is on stderr, as it
comes.
"""

import logging
import shlex
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit, tell
from flowd.cli.names import EventFile
from flowd.cli.reading_events import one_of, read_event, with_id
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.cli.written import WrittenFlow, WrittenStep
from flowd.domain.errors import FlowdError, InvalidEventError, NotFoundError
from flowd.domain.run import ATTENTION
from flowd.domain.timing import NOT_BEFORE

if TYPE_CHECKING:
    from flowd.embedded import RunReport

_BROKEN, _LEFT_OUT = "package_broken", "event left out"
"""What the engine warns of."""


def _trying_options(function: Any) -> Any:
    """What verbs have in common that only try steps out."""
    live = click.option(
        "--live", "is_live", is_flag=True, help="Let steps send events to the workspace's daemon, as in a shell."
    )
    quiet = click.option("-q", "--quiet", "is_quiet", is_flag=True, help="The result alone; show no output of steps.")
    return live(quiet(function))


approve_option: Callable[[Any], Any] = click.option(
    "--approve",
    "approved",
    multiple=True,
    metavar="STEP",
    help="Let this step count as completed where it asks for a person; again for more.",
)


@click.command(cls=Verb, short_help="Run an event's steps right here. Needs no daemon.")
@click.argument("event", type=EventFile(), required=False, metavar="EVENT.json|-")
@click.option("--event", "event_option", type=EventFile(), metavar="FILE", help="The same as the argument.")
@approve_option
@_trying_options
@click.pass_obj
def fire(
    session: Session,
    *,
    event: str | None,
    event_option: str | None,
    approved: tuple[str, ...],
    is_quiet: bool,
    is_live: bool,
) -> int:
    """Run every step that matches an event, here and now, and print their results as JSON. Nothing is stored.

    What the steps write is shown on stderr as they write it; stdout has the JSON alone. What they send, by `next`,
    `flowd dispatch` or a client, is told and runs here, too; the workspace's daemon gets it only with --live. Delays
    between steps are kept; a notBefore of the event is not waited for. Ctrl-C ends the steps.

    What waits for a step that asks for a person does not run, but with --approve.

    Exits with 1 if a step fails, is blocked or needs intervention, or if a broken package may have been meant. Where no
    step matches, that is told on stderr with the nearest misses.

    \b
    Examples:
      flowd fire event.json
      flowd fire event.json --approve ask
      flowd fire --event event.json | jq '.results[].result.status'
      flowd fire event.json --quiet --live
    """
    body = _event(event, event_option)
    from flowd import embedded  # noqa: PLC0415 - heavy
    from flowd.cli.audience import on_stderr  # noqa: PLC0415

    teller = tell_warnings()
    if body.get(NOT_BEFORE) is not None:
        printing.note("flowd: notBefore is not waited for here; `flowd dispatch` waits for it.")
    try:
        audience = on_stderr(is_quiet=is_quiet)
        reports = embedded.fire(session.workspace, body, audience, is_live=is_live, approved=approved)
    except FlowdError as error:
        raise told(error) from error
    printing.print_json({"eventId": body.get("id"), "results": [shape(report) for report in reports]})
    if asking := [report.step for report in reports if report.status in ATTENTION]:
        words = " ".join(f"--approve {shlex.quote(step)}" for step in dict.fromkeys(asking))
        tell(f"{asking[0]} asks for a person, whom nobody can ask here. `flowd fire … {words}` goes on behind it.")
    is_broken = not reports and _tell_nearest(session, body)
    code = _code(reports, is_quiet=is_quiet)
    return Exit.RUN_FAILED if is_broken or teller.has_left_out else code


def _tell_nearest(session: Session, body: Any) -> bool:
    """Why an event starts nothing. Whether a package is broken, of which the engine has told."""
    from flowd.cli import disk, nearest  # noqa: PLC0415 - mostly something matches
    from flowd_client.views.catalog import read_explain  # noqa: PLC0415

    view = read_explain(disk.explain(session.workspace, body))
    if not view.matched:  # else a package has come just now
        nearest.tell(session, view, "No step matches, so nothing runs.", is_broken_told=True)
    return bool(view.broken)


@click.command("exec", cls=Verb, short_help="Run one step right here. Needs no daemon.")
@click.argument("flow", type=WrittenFlow())
@click.argument("step", type=WrittenStep())
@click.argument("event", type=EventFile(), required=False, metavar="EVENT.json|-")
@click.option("--event", "event_option", type=EventFile(), metavar="FILE", help="The same as the argument.")
@_trying_options
@click.pass_obj
def exec_(
    session: Session,
    *,
    flow: str,
    step: str,
    event: str | None,
    event_option: str | None,
    is_quiet: bool,
    is_live: bool,
) -> int:
    """Run one step for an event, here and now, whatever its trigger says, and print its result as JSON.

    It runs alone and for real: the steps that it needs do not run, and it is given no results of theirs. `flowd dev
    FLOW/STEP --once` runs them first.

    What it writes is shown on stderr as it writes it; stdout has the JSON alone. What it sends, by `next`,
    `flowd dispatch` or a client, is told and starts nothing; the workspace's daemon gets it only with --live. Ctrl-C
    ends the step.

    Exits with 1 if it fails, is blocked or needs intervention.

    \b
    Examples:
      flowd exec release publish --event event.json
    """
    body = _event(event, event_option)
    from flowd import embedded  # noqa: PLC0415 - heavy
    from flowd.cli.audience import on_stderr  # noqa: PLC0415

    tell_warnings()
    try:
        audience = on_stderr(is_quiet=is_quiet)
        report = embedded.execute(session.workspace, flow, step, body, audience, is_live=is_live)
    except FlowdError as error:
        raise told(error) from error
    printing.print_json(shape(report))
    return _code([report], is_quiet=is_quiet)


class Teller(logging.Handler):
    """Prints the engine's warnings like the command's own: a line on stderr, not a log record.

    Attributes:
        has_left_out: A package that is broken, or a check that came to no end, kept steps from an event.
    """

    def __init__(self, told: Collection[str]) -> None:
        super().__init__(logging.WARNING)
        self._told = told
        self._broken: set[str] = set()
        self.has_left_out = False

    def emit(self, record: logging.LogRecord) -> None:
        message, facts = record.getMessage(), vars(record)
        if message in self._told:
            return
        if message == _LEFT_OUT:
            self._tell_left_out(facts["flow"], facts["why"])
            return
        where = f"{facts.get('file')}:{facts['line']}" if facts.get("line") else facts.get("file")
        error = ". ".join(str(part) for part in (facts.get("error"), facts.get("remedy")) if part)
        said = ": ".join(str(part) for part in (message.replace("_", " "), where, error) if part)
        if message == _BROKEN:
            self._broken.add(facts["flow"])
        tell(said)

    def _tell_left_out(self, label: str, why: str) -> None:
        self.has_left_out = True
        tell(f"left out {label}: {'its package is broken' if label in self._broken else why}")


def tell_warnings(*told: str) -> Teller:
    """Print what the engine warns of as the command's own words, and not as a log.

    Args:
        told: Messages about what the command tells itself.
    """
    teller = Teller({"run ended", *told})
    logger = logging.getLogger("flowd")
    logger.handlers[:] = [teller]
    logger.propagate = False
    return teller


def _event(positional: str | None, option: str | None) -> Any:
    path = one_of(positional, option)
    if path is None:
        raise CommandError("Which event? Name a file, or - for stdin.")
    body = read_event(path)
    if not isinstance(body, dict):
        raise CommandError("An event is a JSON object with a type.")
    return with_id(body)


def told(error: FlowdError) -> CommandError:
    """A refusal as the command's own."""
    match error:
        case NotFoundError():
            return CommandError(error.message, Exit.NOT_FOUND)
        case InvalidEventError():
            return CommandError(error.message, Exit.USAGE)
        case _:
            return CommandError(error.message, Exit.REFUSED)


def shape(report: "RunReport") -> dict[str, Any]:
    """A run that was tried, as the reference runner prints it."""
    shape: dict[str, Any] = {"flow": report.flow, "step": report.step}
    if report.result is not None:
        shape["result"] = report.result
    else:
        shape["status"] = report.status
    if report.reported_result is not None:
        shape["reportedResult"] = report.reported_result
    if report.error is not None:
        shape["error"] = report.error
    return shape


def _code(reports: "list[RunReport]", *, is_quiet: bool) -> Exit:
    for report in reports:
        if report.error and is_quiet:  # else it was told when it ended
            sentence, _, excerpt = report.error.partition("\n")
            tell(sentence)
            if excerpt:
                printing.note(excerpt)
    return Exit.GOOD if all(report.exit_ok for report in reports) else Exit.RUN_FAILED
