"""Names on the command line, completed by the shell: flows, steps, statuses, reasons, labels, types, files.

Lists import this, and views only when a shell asks.
"""

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from flowd.cli.exits import CommandError
from flowd.cli.session import Session
from flowd.cli.verb import Text
from flowd_client import requests
from flowd_client.errors import FlowClientError

if TYPE_CHECKING:
    from flowd_client.views.catalog import FlowView

JSON_FILES = "json"
"""The type of an item that stands for files of JSON, see `flowd.cli.shells`."""

_EVENTS, _RUNS = 100, 100
"""The newest ones, which types and values of labels are offered of."""

STATUSES = (
    "queued", "running", "completed", "failed", "canceled", "changed", "skipped", "blocked", "needs_intervention",
)  # fmt: skip

_OTHER_WORDS = {
    "active": "running",
    "cancelled": "canceled",
    "error": "failed",
    "failure": "failed",
    "ok": "completed",
    "pending": "queued",
    "success": "completed",
    "succeeded": "completed",
    "waiting": "queued",
}
"""What people call statuses elsewhere."""


def offered(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Those that begin so, each once, in their order."""
    return [CompletionItem(name) for name in dict.fromkeys(names) if name.startswith(incomplete)]


def flows(ctx: click.Context) -> "tuple[FlowView, ...]":
    """Those in force; none where nobody can be asked."""
    session = ctx.ensure_object(Session)
    with suppress(FlowClientError, CommandError, OSError):
        return tuple(session.view(requests.list_flows()).flows)
    return ()


class FlowName(Text):
    """The name of a flow."""

    name = "flow"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """All."""
        return offered(sorted(flow.name for flow in flows(ctx)), incomplete)


class StepName(Text):
    """The name of a step."""

    name = "step"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those of the flow that is named, else all; behind ``FLOW/`` those of that flow."""
        of, slash, _step = incomplete.partition("/")
        flow = of if slash else ctx.params.get("flow")
        found = [(one.name, step.name) for one in flows(ctx) for step in one.steps if flow in (None, one.name)]
        return offered(sorted(f"{name}/{step}" if slash else step for name, step in found), incomplete)


class FlowOrStepName(Text):
    """``FLOW``, or ``FLOW/STEP``."""

    name = "flow"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Flows; behind a slash, the steps of that one."""
        kind = StepName() if "/" in incomplete else FlowName()
        return kind.shell_complete(ctx, param, incomplete)


class StatusName(Text):
    """A process status or a result status."""

    name = "status"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read one.

        >>> StatusName().convert("cancelled", None, None)
        'canceled'
        """
        text = super().convert(value, param, ctx)
        found = _OTHER_WORDS.get(text.lower(), text)
        if found not in STATUSES:
            from flowd.cli.leads import did_you_mean  # noqa: PLC0415 - only after a mistake

            guess = did_you_mean(found, STATUSES)
            self.fail(f"there is no status {text!r}.{guess} Statuses are {', '.join(STATUSES)}.", param, ctx)
        return found

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """All there are."""
        return offered(STATUSES, incomplete)


class ReasonName(Text):
    """Why an attempt ended other than well."""

    name = "reason"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """All there are."""
        from flowd.domain.run import Reason  # noqa: PLC0415 - only where a shell asks

        return offered(Reason, incomplete)


class TypeName(Text):
    """A type of events."""

    name = "type"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those that steps wait for, and those of the newest events."""
        found = {step.trigger_type for flow in flows(ctx) for step in flow.steps if step.trigger_type}
        found -= {name for name in found if name.endswith("*")}  # which is no type, but the beginning of some
        session = ctx.ensure_object(Session)
        with suppress(FlowClientError, CommandError, OSError):
            events = session.view(requests.list_events(limit=_EVENTS))
            found |= {event.type for event in events if event.type}
        return offered(sorted(found), incomplete)


class Label(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """``NAME=VALUE``, as a pair."""

    name = "label"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Read one."""
        if isinstance(value, tuple):
            return value
        name, equals, said = Text().convert(value, param, ctx).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is no label; write NAME=VALUE.", param, ctx)
        return name, said

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those of the newest runs, and names that steps declare."""
        session = ctx.ensure_object(Session)
        found: list[str] = []
        with suppress(FlowClientError, CommandError, OSError):
            runs = session.view(requests.list_runs(limit=_RUNS))
            found += sorted({f"{name}={value}" for run in runs for name, value in run.labels.items()})
        names = sorted({name for flow in flows(ctx) for step in flow.steps for name in step.labels or ()})
        found += [f"{name}=" for name in names if not any(one.startswith(f"{name}=") for one in found)]
        return offered(found, incomplete)


class EventFile(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """A file with an event, as its path was typed; ``-`` is stdin."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ARG002
        """As it was typed."""
        return str(value)

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Files of JSON."""
        return [CompletionItem(incomplete, type=JSON_FILES)]


class JsonOrFile(EventFile):
    """JSON, or ``@`` and a file's path."""

    name = "json"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002
        """Files of JSON behind the ``@``, and folders on the way to some."""
        if not incomplete.startswith("@"):
            return []
        typed = incomplete[1:]
        folder = typed[: typed.rfind("/") + 1]
        with suppress(OSError):
            found = sorted(Path(folder or ".").iterdir())
            paths = [f"@{folder}{one.name}{'/' if one.is_dir() else ''}" for one in found]
            return offered((path for path in paths if path.endswith((".json", "/"))), incomplete)
        return []
