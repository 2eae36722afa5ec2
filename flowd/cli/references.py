"""Ids on the command line: typed in part, or said in words, and completed by the shell.

A run is ``@last``, ``@failed``, the beginning of its id with or without ``run_``, or ``FLOW/STEP`` for its newest run;
an event is ``@last``, ``@failed`` or the beginning of its id. A whole id means itself, also where others begin with it.
"""

import re
from collections.abc import Sequence
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Text
from flowd_client import requests
from flowd_client.errors import CallError, FlowClientError
from flowd_client.request import Named
from flowd_client.views.run import RunView, read_runs

LAST, FAILED = "@last", "@failed"
_SHOWN = 5
_OFFERED = 20
_WHOLE = r"run_[0-9a-f]{12}"
_HEX = r"[0-9a-f]{2,12}"


class NamesEventError(CommandError):
    """What is to be a run is an event."""


class NamesFlowError(CommandError):
    """What is to be a run is a flow, or a step without runs."""


class _Reference(Text):
    kind: Named

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that begin so; without a beginning, the newest."""
        session = ctx.ensure_object(Session)
        with suppress(FlowClientError, CommandError, OSError):
            words = [LAST, FAILED] if incomplete[:1] in ("", "@") else []
            offered = _newest(session, self.kind) if len(incomplete) < 1 else _beginning(session, self.kind, incomplete)
            return [CompletionItem(word) for word in (*words, *offered) if word.startswith(incomplete)]
        return []


class RunReference(_Reference):
    """A run."""

    name = "run"
    kind = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Once something is typed, steps too, for their newest runs."""
        return super().shell_complete(ctx, param, incomplete) + _steps(ctx, incomplete)


class EventReference(_Reference):
    """An event."""

    name = "event"
    kind = "event"


class RunOrEventReference(_Reference):
    """A run, or an event for those of its runs that are meant."""

    name = "run"
    kind = "run"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Both."""
        events = EventReference().shell_complete(ctx, param, incomplete)
        runs = super().shell_complete(ctx, param, incomplete)
        return runs + _steps(ctx, incomplete) + [item for item in events if item.value not in (LAST, FAILED)]


def _steps(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    from flowd.cli.names import flows, offered  # noqa: PLC0415 - only where a shell asks

    found = sorted(f"{flow.name}/{step.name}" for flow in flows(ctx) for step in flow.steps) if incomplete else ()
    return offered(found, incomplete)


def run_of(session: Session, text: str) -> str:
    """The id of the run that is meant; what is none is left as it is, for the daemon to say so."""
    return _resolved(session, text, "run")


def run_or_event_of(session: Session, text: str) -> tuple[str | None, str | None]:
    """The run that is meant, or the event where no run is: one of both."""
    try:
        found = run_of(session, text)
    except NamesEventError:
        return None, text
    except NamesFlowError:  # which may be the beginning of an event's id all the same
        if not _beginning(session, "event", text):
            raise
        found = text
    if found == text and not re.fullmatch(_WHOLE, text) and (events := _beginning(session, "event", text)):
        return None, event_of(session, text) if len(events) > 1 else events[0]
    return found, None


def event_of(session: Session, text: str) -> str:
    """The id of the event that is meant, likewise."""
    return _resolved(session, text, "event")


def _resolved(session: Session, text: str, kind: Named) -> str:
    if text in (LAST, FAILED):
        return _said(session, text, kind)
    if kind == "run" and re.fullmatch(_WHOLE, text):
        return text
    found = _beginning(session, kind, text)
    if text in found:
        return text
    if not found:
        return _other(session, text) if kind == "run" else text
    if len(found) > 1:
        shown = ", ".join(found[:_SHOWN]) + (" …" if len(found) > _SHOWN else "")
        raise CommandError(f"{text!r} is the beginning of several {kind}s: {shown}. Type more of it.", Exit.NOT_FOUND)
    return found[0]


def _beginning(session: Session, kind: Named, text: str) -> list[str]:
    begins = [text, *([f"run_{text}"] if kind == "run" and re.fullmatch(_HEX, text) else [])]
    found: list[str] = []
    for begin in begins:
        try:
            ids: tuple[str, ...] = session.view(requests.find_ids(begin, of=kind))
        except CallError:  # an older daemon does not know the question, and what is no id at all has no beginning
            return []
        found += ids
    return found


def _said(session: Session, word: str, kind: Named) -> str:
    status = "failed" if word == FAILED else None
    if kind == "run":
        ids = [run.id for run in _runs(session, status=status)]
    else:
        ids = [event.id for event in session.view(requests.list_events(limit=1, status=status))]
    if not ids:
        raise CommandError(f"There is no {kind}{' that failed' if status else ''} yet.", Exit.NOT_FOUND)
    return ids[0]


def _other(session: Session, text: str) -> str:
    """What is no run's id: ``FLOW/STEP``, or an event's, which people try where a run is asked for."""
    flow, slash, step = text.partition("/")
    if slash and (runs := _runs(session, flow=flow, step=step)):
        return str(runs[0].id)
    if text in _beginning(session, "event", text):
        raise NamesEventError(
            f"{text} is an event, and this is about a run: `{session.typed('runs', event=text)}` lists its runs.",
            Exit.NOT_FOUND,
        )
    if not text.startswith("run_"):
        _refuse_flow(session, text)
    return text


def _refuse_flow(session: Session, text: str) -> None:
    """Say of the name of a flow, or of a step, that it is no run.

    Raises:
        NamesFlowError: It is one, or is spelled much like one.
    """
    from flowd.cli.leads import did_you_mean  # noqa: PLC0415 - only after a mistake

    flow, slash, step = text.partition("/")
    try:
        view = session.view(requests.list_flows())
    except CallError:  # then the daemon says what it thinks of the run
        return
    flows = {one.name: [step.name for step in one.steps] for one in view.flows}
    if flow not in flows:
        guess = did_you_mean(flow, flows) if slash else ""
        said = f"There is no flow {flow!r}.{guess}" if guess else None
    elif not slash:
        said = (
            f"{flow} is a flow, and this is about a run: `{session.typed('runs', flow=flow)}` lists its runs, and "
            f"{flow}/{flows[flow][0] if flows[flow] else 'STEP'} is the newest run of a step."
        )
    elif step in flows[flow]:
        said = f"{text} has no run yet."
    else:
        said = f"Flow {flow} has no step {step!r}.{did_you_mean(step, flows[flow])} It has {', '.join(flows[flow])}."
    if said:
        raise NamesFlowError(said, Exit.NOT_FOUND)


def _runs(session: Session, **filters: str | None) -> Sequence[RunView]:
    """The newest run of a filter, if there is one."""
    cursor = None
    while True:
        page = read_runs(session.ask(requests.list_runs(limit=1, cursor=cursor, **filters)))  # type: ignore[arg-type]
        if page.items or (cursor := page.next_cursor) is None:
            return page.items


def _newest(session: Session, kind: Named) -> list[str]:
    if kind == "run":
        return [run.id for run in read_runs(session.ask(requests.list_runs(limit=_OFFERED)))]
    return [event.id for event in session.view(requests.list_events(limit=_OFFERED))]
