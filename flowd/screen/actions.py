"""What a person may do about a run: whether it makes sense, what is asked before, and what the daemon is told."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, Protocol, TypeVar

from textual.screen import ModalScreen

from flowd.screen.dialogs import Ask, Choice, Choose, Confirm
from flowd_client.aio import AsyncFlowClient
from flowd_client.views.run import RunView

T = TypeVar("T")


class Asker(Protocol):
    """Shows a dialog and gives what the reader says."""

    async def __call__(self, dialog: ModalScreen[T]) -> T | None: ...


class Action(NamedTuple):
    """Something to do about a run.

    Attributes:
        unfit: Why it makes no sense for this run; None where it does.
        do: Asks the reader, does it, and gives a sentence about what was done; None where the reader has left it.
    """

    key: str
    name: str
    words: str
    unfit: Callable[[RunView], str | None]
    do: Callable[[AsyncFlowClient, RunView, Asker], Awaitable[str | None]]


def label(run: RunView) -> str:
    """A run, for people."""
    return f"{run.flow_name}/{run.step_name}"


async def _cancel(client: AsyncFlowClient, run: RunView, ask: Asker) -> str | None:
    question = f"End {label(run)} of {run.event_id}, and every process it started?"
    if not await ask(Confirm(question, "Yes, end it")):
        return None
    return _now(await client.cancel_run(run.id))


async def _retry(client: AsyncFlowClient, run: RunView, ask: Asker) -> str | None:
    question = f"Make another attempt of {label(run)} of {run.event_id}?"
    if not await ask(Confirm(question, "Yes, start it again")):
        return None
    return _now(await client.retry_run(run.id))


async def _replay(client: AsyncFlowClient, run: RunView, ask: Asker) -> str | None:
    event_id, step = str(run.event_id), label(run)
    choices: tuple[Choice[dict[str, Any]], ...] = (
        Choice("all steps that match it now", {}),
        Choice(f"{step} and all that need it", {"from_steps": [step]}),
        Choice(f"{step} alone", {"steps": [step]}),
        Choice("only steps that have no run of it yet", {"missing": True}),
    )
    question = f"Make new runs for the event {event_id}? Of which steps?"
    warning = await _empty_folder(client, run)
    how = await ask(Choose(f"{question}\n\n{warning}" if warning else question, choices))
    if how is None:
        return None
    made = await client.replay_event(event_id, **how)
    count = len(made.run_ids)
    return f"{event_id}: {count} {'run' if count == 1 else 'runs'} made"


async def _empty_folder(client: AsyncFlowClient, run: RunView) -> str:
    """What a replay of this step without those before it must know: the folder of its round is a new one."""
    made_with = (await client.get_run(run.id, definition=True)).definition or {}
    if not made_with.get("roundDir"):
        return ""
    flow = next((flow for flow in (await client.list_flows()).flows if flow.name == run.flow_name), None)
    step = next((step for step in flow.steps if step.name == run.step_name), None) if flow else None
    if step is None or not step.needs:
        return ""
    return (
        f"Unless all steps are replayed, their folder is a new, empty one: what {', '.join(step.needs)} left in that "
        f"of round {run.round} is not in it."
    )


async def _approve(client: AsyncFlowClient, run: RunView, ask: Asker) -> str | None:
    return await _resolve(client, run, ask, "completed", "Approve")


async def _reject(client: AsyncFlowClient, run: RunView, ask: Asker) -> str | None:
    return await _resolve(client, run, ask, "failed", "Reject")


async def _resolve(client: AsyncFlowClient, run: RunView, ask: Asker, status: Any, verb: str) -> str | None:
    asked = f"\n\n{run.message}" if run.message else ""
    note = await ask(Ask(f"{verb} {label(run)} of {run.event_id}?{asked}", f"A note, or none. Enter does it: {verb}."))
    if note is None:
        return None
    # Of the attempt that the reader has seen, so that nobody answers a question that was asked since.
    return _now(await client.resolve_run(run.id, status, note=note.strip() or None, attempt=run.attempt_count))


async def _answer(client: AsyncFlowClient, run: RunView, ask: Asker) -> str | None:
    asked = f"\n\n{run.message}" if run.message else ""
    hint = 'JSON, like {"version": "1.1.1"}, or nothing to let it go on. Enter starts another attempt.'
    typed = await ask(Ask(f"Answer {label(run)} of {run.event_id}{asked}", hint, _wrong_json))
    if typed is None:
        return None
    given = json.loads(typed) if typed.strip() else None
    return _now(await client.answer_run(run.id, given, attempt=run.attempt_count))


def _wrong_json(typed: str) -> str | None:
    if not typed.strip():
        return None
    try:
        given = json.loads(typed)
    except ValueError as error:
        return f"This is no JSON: {error}. A text has to be in quotes."
    return "null says nothing; leave it empty to let the run go on without an answer." if given is None else None


async def _pause(client: AsyncFlowClient, run: RunView, ask: Asker) -> str | None:
    flow, step = run.flow_name, run.step_name
    choices: tuple[Choice[tuple[str | None, ...]], ...] = (
        Choice(f"of the flow {flow}", (flow, None)),
        Choice(f"of the step {flow}/{step}", (flow, step)),
        Choice("of all flows", (None, None)),
    )
    chosen = await ask(Choose("Start nothing more, until it is resumed? What runs goes on to its end.", choices))
    if chosen is None:
        return None
    paused = await client.pause(*chosen)
    return f"Paused: {'all flows' if paused.pause.what == '*' else paused.pause.what}"


async def resume(client: AsyncFlowClient, pauses: tuple[str, ...], ask: Asker) -> str | None:
    """End one of these pauses."""
    choices = [Choice("all flows" if what == "*" else what, what) for what in pauses]
    what = await ask(Choose("Let go what is paused?", choices))
    if what is None:
        return None
    flow, _, step = ("", "", "") if what == "*" else what.partition("/")
    resumed = await client.resume(flow or None, step or None)
    return f"Resumed: {'all flows' if what == '*' else what}; {resumed.runs} runs go on"


def _now(run: RunView) -> str:
    return f"{label(run)} of {run.event_id}: {run.effective_status}"


def _has_ended(run: RunView) -> str | None:
    return f"{label(run)} has ended already." if run.is_final else None


def _is_under_way(run: RunView) -> str | None:
    return None if run.is_final else f"{label(run)} is {run.process_status}; cancel it first."


def _asks_nobody(run: RunView) -> str | None:
    return None if run.needs_attention else f"{label(run)} asks nobody."


def _never(_: RunView) -> str | None:
    return None


ACTIONS = (
    Action("a", "approve", "Approve: let a run that asks count as completed", _asks_nobody, _approve),
    Action("x", "reject", "Reject: let a run that asks count as failed", _asks_nobody, _reject),
    Action("i", "answer", "Answer a run that asks, and let it go on", _asks_nobody, _answer),
    Action("c", "cancel", "Cancel: end a run, or take it out of the queue", _has_ended, _cancel),
    Action("r", "retry", "Retry: another attempt of a run that ended badly", _is_under_way, _retry),
    Action("R", "replay", "Replay the run's event: all steps, or from here", _never, _replay),
    Action("p", "pause", "Pause the run's flow, its step, or everything", _never, _pause),
)
"""All of them, in the order in which the help shows them."""
