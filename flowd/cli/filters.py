"""The filters of ``flowd runs`` and ``flowd events``: their options, and lists whose pages may be short."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import wraps
from typing import Any, NamedTuple

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError
from flowd.cli.names import FlowName, Label, ReasonName, StatusName, StepName
from flowd.cli.session import Session
from flowd.cli.verb import Text
from flowd_client import wire
from flowd_client.request import Request


class Filters(NamedTuple):
    """What a list is asked for, by the names of `flowd_client.requests`."""

    flow: str | None = None
    step: str | None = None
    status: str | None = None
    reason: str | None = None
    since: str | None = None
    until: str | None = None
    labels: Mapping[str, str] | None = None
    text: str | None = None

    def named(self) -> dict[str, Any]:
        """Those of lists that have an order of their own."""
        return {"flow": self.flow, "step": self.step, "labels": self.labels}

    def typed(self) -> dict[str, Any]:
        """The same as options of the command line."""
        given = self._asdict()
        labels = given.pop("labels") or {}
        return {**given, "label": [f"{name}={value}" for name, value in labels.items()] or None}

    def refuse(self, *names: str) -> None:
        """Say which of these options nobody looks at where a list is followed.

        Raises:
            CommandError: One of them is given.
        """
        given = next((name for name in names if self.typed()[name] is not None), None)
        if given is not None:
            raise CommandError(f"--{given} is for lists, not for -f, which prints what happens from now on.")


class When(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """An instant, in local time where it has no offset, or how long ago. Gives what the daemon takes."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read one.

        >>> When().convert("2h", None, None), When().convert("2026-01-31T12:00:00Z", None, None)
        ('2h', '2026-01-31T12:00:00+00:00')
        """
        text = str(value).strip()
        if any(text.lower().endswith(unit) and text[:1].isdigit() for unit in ("ms", "s", "m", "h", "d", "w")):
            return text.lower()
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{value!r} is no instant; write 2h, 7d, 2026-01-31 or 2026-01-31T12:00.", param, ctx)
        return (found if found.tzinfo else found.astimezone()).isoformat()


_OPTIONS = (
    ("--flow", FlowName(), "NAME", "Only {of} this flow."),
    ("--step", StepName(), "NAME", "Only {of} this step."),
    ("--status", StatusName(), "STATUS", "queued, running, completed, failed, canceled, changed, blocked …"),
    ("--reason", ReasonName(), "REASON", "exit, timeout, signal, interrupted, needs_not_met, superseded …"),
    ("--since", When(), "WHEN", "Only of then or later: 2h, 7d, 2026-01-31, 2026-01-31T12:00."),
    ("--until", When(), "WHEN", "Only of before then."),
    ("--text", Text(), "TEXT", "Only with this text in {searched}."),
)


_label_option = click.option(
    "--label",
    type=Label(),
    metavar="NAME=VALUE",
    multiple=True,
    help="Only with this label (see [steps.labels]); may be given several times.",
)


def filter_options(*, of: str, searched: str, but: str | None = None) -> Callable[[Any], Any]:
    """The options; the verb gets them as one parameter, ``filters``.

    Args:
        of: What makes a row one of a flow: for help.
        searched: What ``--text`` looks into: for help.
        but: One that the verb does not have, or has for something else.
    """

    taken = [option for option in _OPTIONS if option[0] != but]
    names = [option[0].removeprefix("--") for option in taken]

    def decorate(function: Any) -> Any:
        @wraps(function)  # with the options that it has already
        def collected(
            *args: Any, label: tuple[tuple[str, str], ...], **options: Any,
        ) -> Any:  # fmt: skip
            given = {name: options.pop(name) for name in names}
            return function(*args, filters=Filters(labels=dict(label) or None, **given), **options)

        collected = _label_option(collected)
        for name, kind, metavar, words in reversed(taken):
            words = words.format(of=of, searched=searched)  # noqa: PLW2901
            collected = click.option(name, type=kind, metavar=metavar, help=words)(collected)
        return collected

    return decorate


def named_options(function: Any) -> Any:
    """``--flow``, ``--step`` and ``--label``; the verb gets them as one parameter, ``filters``."""

    @wraps(function)  # with the options that it has already
    def collected(
        *args: Any, flow: str | None, step: str | None, label: tuple[tuple[str, str], ...], **options: Any
    ) -> Any:
        return function(*args, filters=Filters(flow=flow, step=step, labels=dict(label) or None), **options)

    collected = _label_option(collected)
    for name, kind, metavar, words in reversed(_OPTIONS[:2]):
        collected = click.option(name, type=kind, metavar=metavar, help=words.format(of="of"))(collected)
    return collected


def whole_list(
    session: Session,
    key: str,
    filters: Filters,
    request: Callable[[int, str | None], Request[Any]],
    *,
    limit: int | None,
    cursor: str | None,
) -> Any:
    """The response to a list, with as many rows under ``key`` as were asked for if there are so many: the daemon looks
    at some thousand rows in one go, and says where to go on.

    Args:
        request: Makes the request of so many rows behind a cursor.
    """
    wanted = wire.DEFAULT_LIMIT if limit is None else limit
    response = session.ask(request(wanted, cursor))
    while filters != Filters() and response.get("nextCursor") and len(response[key]) < wanted:
        more = session.ask(request(wanted - len(response[key]), response["nextCursor"]))
        response = {**more, key: [*response[key], *more[key]]}
    return response


def tell_more(shown: int, command: str, *, limit: int | None) -> None:
    """Say below a list, newest first, how its next rows are seen; on a terminal also that fewer can be asked for.

    Args:
        shown: How many rows there are.
        command: What prints the next ones.
        limit: How many were asked for.
    """
    if limit is None and printing.is_terminal():
        printing.note(f"These are the newest {shown}; -n 10 shows fewer.")
    printing.note(f"More: {command}")
