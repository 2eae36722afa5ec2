"""``flowd attention``, ``approve``, ``reject``, ``resolve`` and ``answer``: what people do about runs that ask."""

from typing import Any, get_args

import click

from flowd.cli import printing
from flowd.cli.asking import AskingReference, asking_of
from flowd.cli.exits import CommandError
from flowd.cli.filters import Filters, named_options, whole_list
from flowd.cli.names import JsonOrFile
from flowd.cli.reading_events import read_payload
from flowd.cli.session import Session
from flowd.cli.verb import Text, Verb, absolute_option, as_json_option
from flowd_client import requests, wire
from flowd_client.request import ResolvedAs
from flowd_client.views.question import QuestionView, read_questions
from flowd_client.views.run import read_run

_NOTE_HELP = "Why; it becomes the message of the run's result."
_ATTEMPT_HELP = "Only if this is still the run's last attempt."


@click.command(cls=Verb, short_help="List the runs that ask for a person.")
@named_options
@click.option("-n", "--limit", type=click.IntRange(1, wire.MAX_LIMIT), metavar="N", help="At most N. Default: 50.")
@click.option("--cursor", type=Text(), metavar="CURSOR", help="Continue where the last list ended.")
@absolute_option
@as_json_option
@click.pass_obj
def attention(session: Session, *, filters: Filters, limit: int | None, cursor: str | None, as_json: bool) -> None:
    """List the runs that ended blocked or needing intervention and that nobody has answered: what they ask, since when,
    what waits behind them, and the commands that answer.

    \b
    Examples:
      flowd attention
      flowd attention --flow release --label repo=flowd
      flowd attention --json | jq -r '.questions[].run.id'
    """
    response = whole_list(
        session,
        "questions",
        filters,
        lambda count, place: requests.attention(limit=count, cursor=place, **filters.named()),
        limit=limit,
        cursor=cursor,
    )
    if as_json:
        printing.print_json(response)
        return
    page = read_questions(response)
    if not page:
        from flowd.cli import typos  # noqa: PLC0415 - most lists are not empty

        typos.tell_empty(session, "No run asks for a person. `flowd runs --status failed` lists what failed.", filters)
        return
    for number, question in enumerate(page):
        if number:
            printing.line()
        _draw(session, question)
    if page.next_cursor:
        more = session.typed("attention", **filters.typed(), limit=limit, cursor=page.next_cursor)
        printing.note(f"More: {more}")


def _draw(session: Session, question: QuestionView) -> None:
    run = question.run
    printing.fields(
        (
            ("run", run.id),
            ("status", run.effective_status),
            ("asks", question.message or "It gives no message; see its result and its output."),
            ("step", f"{run.flow_name}/{run.step_name}"),
            ("event", run.event_id),
            ("since", printing.when(question.since)),
            ("behind it", _behind(question)),
            ("yes", session.typed("approve", run.id)),
            ("no", session.typed("reject", run.id)),
            ("or", session.typed("answer", run.id, input="JSON")),
        )
    )


def _behind(question: QuestionView) -> str | None:
    parts = []
    if question.waiting:
        steps = "1 step waits" if question.waiting == 1 else f"{question.waiting} steps wait"
        parts.append(f"{steps}: {', '.join(question.steps)}")
    if question.rounds:
        rounds = "1 round waits" if question.rounds == 1 else f"{question.rounds} rounds wait"
        parts.append(f"{rounds} for its key: {', '.join(question.behind)}")
    return "; ".join(parts) or None


@click.command(cls=Verb, short_help="Let a run that asks count as completed.")
@click.argument("run_id", type=AskingReference(), metavar="RUN")
@click.option("-m", "--note", type=Text(), metavar="TEXT", help=_NOTE_HELP)
@click.option("--attempt", type=click.IntRange(1), metavar="N", help=_ATTEMPT_HELP)
@as_json_option
@click.pass_obj
def approve(session: Session, run_id: str, *, note: str | None, attempt: int | None, as_json: bool) -> None:
    """Let a run that asks for a person count as completed. What waits for it goes on. FLOW/STEP means
    the run of that step that asks, and @last the newest run that does.

    \b
    Examples:
      flowd approve run_16439a6acab8
      flowd approve run_16439a6acab8 -m "read the notes"
      flowd approve release/ask
    """
    _resolve(session, run_id, "completed", note=note, attempt=attempt, as_json=as_json)


@click.command(cls=Verb, short_help="Let a run that asks count as failed.")
@click.argument("run_id", type=AskingReference(), metavar="RUN")
@click.option("-m", "--note", type=Text(), metavar="TEXT", help=_NOTE_HELP)
@click.option("--attempt", type=click.IntRange(1), metavar="N", help=_ATTEMPT_HELP)
@as_json_option
@click.pass_obj
def reject(session: Session, run_id: str, *, note: str | None, attempt: int | None, as_json: bool) -> None:
    """Let a run that asks for a person count as failed. It can be retried.

    \b
    Examples:
      flowd reject run_16439a6acab8 -m "not on a Friday"
    """
    _resolve(session, run_id, "failed", note=note, attempt=attempt, as_json=as_json)


@click.command(cls=Verb, short_help="Say how a run that asks counts from now on.")
@click.argument("run_id", type=AskingReference(), metavar="RUN")
@click.option(
    "--as", "status", type=click.Choice(get_args(ResolvedAs)), required=True, metavar="STATUS",
    help="completed, changed, skipped or failed.",
)  # fmt: skip
@click.option("-m", "--note", type=Text(), metavar="TEXT", help=_NOTE_HELP)
@click.option("--attempt", type=click.IntRange(1), metavar="N", help=_ATTEMPT_HELP)
@as_json_option
@click.pass_obj
def resolve(
    session: Session, run_id: str, *, status: ResolvedAs, note: str | None, attempt: int | None, as_json: bool
) -> None:
    """Say how a run that asks for a person counts from now on.

    \b
    Examples:
      flowd resolve run_16439a6acab8 --as changed
      flowd resolve run_16439a6acab8 --as skipped -m "done by hand"
    """
    _resolve(session, run_id, status, note=note, attempt=attempt, as_json=as_json)


def _resolve(
    session: Session, run_id: str, status: ResolvedAs, *, note: str | None, attempt: int | None, as_json: bool
) -> None:
    response = session.ask(requests.resolve_run(asking_of(session, run_id), status, note=note, attempt=attempt))
    _tell(response, "counts as", as_json=as_json)


@click.command(cls=Verb, short_help="Answer a run that asks, and let it go on.")
@click.argument("run_id", type=AskingReference(), metavar="RUN")
@click.option(
    "--input",
    "text",
    type=JsonOrFile(),
    metavar="JSON|@FILE",
    help="What its steps are told. Default: nothing but to go on.",
)
@click.option("--attempt", type=click.IntRange(1), metavar="N", help=_ATTEMPT_HELP)
@as_json_option
@click.pass_obj
def answer(session: Session, run_id: str, *, text: str | None, attempt: int | None, as_json: bool) -> None:
    """Make another attempt of a run that asks for a person, and give it an answer: runtime.answer of its context.

    \b
    Examples:
      flowd answer run_16439a6acab8 --input '{"version": "1.1.1"}'
      flowd answer run_16439a6acab8 --input @answer.json
    """
    given: Any = None if text is None else read_payload(text, "--input")
    if text is not None and given is None:
        raise CommandError("An input of null says nothing; leave --input out to let the run go on without one.")
    _tell(
        session.ask(requests.answer_run(asking_of(session, run_id), given, attempt=attempt)),
        "was answered:",
        as_json=as_json,
    )


def _tell(response: Any, how: str, *, as_json: bool) -> None:
    if as_json:
        printing.print_json(response)
        return
    run = read_run(response)
    printing.line(f"{run.id} {how} {printing.status(run.effective_status)}")
