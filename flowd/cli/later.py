"""The options that say when the runs of an event may start."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from flowd.cli.exits import CommandError


class Later(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """An instant, in local time where it has no offset. Gives what an event says."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read one.

        >>> Later().convert("2026-01-31T14:05Z", None, None)
        '2026-01-31T14:05:00+00:00'
        """
        try:
            found = datetime.fromisoformat(str(value))
            return (found if found.tzinfo else found.astimezone()).isoformat()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no instant; write 2026-01-31T14:05, or 2026-01-31T14:05:00Z.", param, ctx)


def later(not_before: str | None, in_s: float | None) -> str | None:
    """The instant that one of the two options says; None where none is given.

    Raises:
        CommandError: Both are given.
    """
    if not_before is not None and in_s is not None:
        raise CommandError("--not-before and --in are two ways to say one thing. Leave one out.")
    if in_s is None:
        return not_before
    return (datetime.now(UTC) + timedelta(seconds=in_s)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
