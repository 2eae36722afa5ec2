"""Runs that ask for a person, on the command line: ``FLOW/STEP`` and ``@last`` mean one that asks, not the newest."""

from collections.abc import Sequence
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from flowd.cli import printing, run_words
from flowd.cli.exits import CommandError, Exit
from flowd.cli.references import LAST, run_of
from flowd.cli.session import Session
from flowd.cli.verb import Text
from flowd_client import requests
from flowd_client.errors import FlowClientError
from flowd_client.views.question import QuestionView
from flowd_client.views.run import RunView

_PAGE = 200
_SHOWN = 5


class AskingReference(Text):
    """A run that asks for a person."""

    name = "run"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that ask, each with its question; by their steps, too, where one alone of a step asks."""
        with suppress(FlowClientError, CommandError, OSError):
            found = _questions(ctx.ensure_object(Session))
            steps = [_step(one.run) for one in found]
            offered = {one.run.id: one for one in reversed(found)}
            offered |= {step: one for step, one in zip(steps, found, strict=True) if steps.count(step) == 1}
            if found:
                offered = {LAST: found[-1], **offered}
            return [
                CompletionItem(word, help=_help(one)) for word, one in offered.items() if word.startswith(incomplete)
            ]
        return []


def _help(question: QuestionView) -> str:
    said = printing.clean((question.message or "").partition("\n")[0]).strip()
    return f"{_step(question.run)}: {said}" if said else _step(question.run)


def asking_of(session: Session, text: str) -> str:
    """The id of the run that is meant: of a step the one that asks, and behind ``@last`` the newest that does. What
    names a run by its id is left to `run_of`.

    Raises:
        CommandError: None of them asks, or several runs of the step do.
    """
    flow, slash, step = text.partition("/")
    if text != LAST and not slash:
        return run_of(session, text)
    found = _questions(session) if text == LAST else _questions(session, flow, step)
    if not found:
        raise CommandError(_nobody_asks(session, text), Exit.REFUSED)
    if len(found) > 1 and text != LAST:
        ids = ", ".join(one.run.id for one in found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")
        raise CommandError(
            f"{len(found)} runs of {text} ask: {ids}. Name one; `{session.typed('attention', flow=flow, step=step)}` "
            "shows what each asks.",
            Exit.REFUSED,
        )
    return found[-1].run.id


def _nobody_asks(session: Session, text: str) -> str:
    """That none of what is meant asks, and what does.

    Raises:
        CommandError: There is no such run at all.
    """
    if text == LAST:
        return "No run asks for a person."
    run_id = run_of(session, text)
    if run_id == text:
        raise CommandError(f"There is no run of {text}.{_others(session)}", Exit.NOT_FOUND)
    status = session.view(requests.get_run(run_id)).effective_status
    return f"No run of {text} asks for a person; its newest, {run_id}, is {status}.{_others(session)}"


def _others(session: Session) -> str:
    found = _questions(session)
    if not found:
        return " No other run asks either."
    shown = [f"{_step(one.run)} ({one.run.id})" for one in found[:_SHOWN]]
    more = " …" if len(found) > _SHOWN else ""
    return f" What asks: {', '.join(shown)}{more}; see `{session.typed('attention')}`."


def _questions(session: Session, flow: str | None = None, step: str | None = None) -> list[QuestionView]:
    """All that ask, of a step or at all, the newest last."""
    found: list[QuestionView] = []
    cursor = None
    while True:
        page = session.view(requests.attention(limit=_PAGE, cursor=cursor, flow=flow, step=step))
        found += page
        if (cursor := page.next_cursor) is None:
            return found


def _step(run: RunView) -> str:
    return f"{run.flow_name}/{run.step_name}"


def tell_questions(session: Session, runs: Sequence[RunView]) -> None:
    """What runs ask of people, or those for whose answer they wait, and the commands that answer, on stderr."""
    known = {run.id: run for run in runs}
    asking = dict.fromkeys(run.id if run.needs_attention else run_words.asked_of(run) for run in runs)
    for run_id in filter(None, asking):
        run = known.get(run_id) or session.view(requests.get_run(run_id))
        if run.needs_attention:  # else somebody has answered meanwhile
            printing.note(f"flowd: {run.flow_name}/{run.step_name} asks: {run.message or '(it gives no message)'}")
            printing.note(
                f"flowd: `{session.typed('approve', run.id)}` says yes; reject, resolve and answer work alike."
            )
