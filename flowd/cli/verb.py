"""Builds verbs: imported when used, with the shared options accepted before and after the verb."""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, NamedTuple

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd_client import wire


class Home(NamedTuple):
    """Where a verb's command lives, and its line in the list of verbs (so that listing imports none)."""

    module: str
    name: str
    short_help: str


WAYS_TO_ASK = ("-h", "--help")


class Verb(click.Command):
    """A command that takes ``-w`` and ``--socket``, which people write after a verb as often as before it.

    Help is asked for in the same ways in whatever context: click keeps what the first one said.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See `click.Command.parse_args`. Mistakes are of this verb: of a missing value, click does not say so."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def get_help_option_names(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as said
        """See `click.Command.get_help_option_names`."""
        return list(WAYS_TO_ASK)


class Verbs(Verb, click.Group):
    """A verb with verbs of its own, that takes the shared options before these, too."""


def shared_options() -> list[click.Parameter]:
    """The options of every verb, new objects each time."""
    return [
        click.Option(
            ["-w", "--workspace"],
            type=click.Path(file_okay=False),
            metavar="DIR",
            expose_value=False,
            callback=_remember_workspace,
            help="The workspace. Default: $FLOWD_WORKSPACE, else the nearest folder upwards that is one.",
        ),
        click.Option(
            ["--socket"],
            type=click.Path(),
            metavar="PATH",
            expose_value=False,
            callback=_remember_socket,
            help="The daemon's socket, where it is not the workspace's own.",
        ),
    ]


def _remember_workspace(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).choose_workspace(value)


def _remember_socket(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(Session).choose_socket(value)


class LazyGroup(click.Group):
    """A group whose verbs are imported when they are used."""

    def __init__(
        self,
        *args: Any,
        sections: dict[str, dict[str, Home]],
        aliases: dict[str, str],
        unlisted: dict[str, Home],
        **kwargs: Any,
    ) -> None:
        """``unlisted`` are verbs that work and are shown by no list."""
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())
        self._sections = sections
        self._aliases = aliases
        self._unlisted = unlisted
        self._homes = {name: home for homes in sections.values() for name, home in homes.items()}

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """All verbs, in the order of the sections."""
        return list(self._homes)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import a verb."""
        home = self._homes.get(self._aliases.get(cmd_name, cmd_name)) or self._unlisted.get(cmd_name)
        if home is None:
            return None
        command: click.Command = getattr(import_module(home.module), home.name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a verb as click does, and guess what a misspelt one means."""
        name = args[0]
        if name == "run" and len(args) > 2:
            from flowd.cli.leads import is_of_a_step  # noqa: PLC0415 - `flowd run RUN` does without

            args = ["exec", *args[1:]] if is_of_a_step(args[1:]) else args
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            raise click.UsageError(f"There is no verb {name!r}.{self.guess(name)}", ctx)
        return super().resolve_command(ctx, args)

    def guess(self, name: str) -> str:
        """Which verb is perhaps meant, as a sentence with a blank before it; empty where none is near."""
        from flowd.cli.leads import did_you_mean, elsewhere  # noqa: PLC0415 - only after a typing error

        said = elsewhere(name)
        return f" {said}" if said else did_you_mean(name, [*self._homes, *self._aliases])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The verbs by section, without importing any."""
        for title, homes in self._sections.items():
            with formatter.section(title):
                formatter.write_dl([(name, home.short_help) for name, home in homes.items()])


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """``500ms``, ``30s``, ``5m``, ``1h``, ``7d``; a bare number is seconds. Gives seconds."""

    name = "duration"
    units: Sequence[tuple[str, float]] = (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read one."""
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        factor = 1.0
        for suffix, unit in self.units:
            if text.endswith(suffix):
                text, factor = text[: -len(suffix)], unit
                break
        try:
            seconds = float(text) * factor
        except ValueError:
            seconds = -1.0
        if not 0 < seconds < 1e9:
            self.fail(f"{value!r} is not a duration; write 500ms, 30s, 5m, 1h or 7d.", param, ctx)
        return seconds


class Text(click.ParamType):  # type: ignore[type-arg]  # generic only since click 8.4
    """Text for the daemon, in UTF-8 whatever the locale is. Paths are not: they stay the bytes that were typed."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read one."""
        try:
            # Python keeps bytes of the command line that the locale knows no character for as lone surrogates.
            return str(value).encode("utf-8", "surrogateescape").decode("utf-8")
        except UnicodeError:
            self.fail(f"{value!r} is not UTF-8.", param, ctx)


def list_options(*, following: str) -> Callable[[Any], Any]:
    """The options of a verb that lists something.

    Args:
        following: What ``--follow`` does.
    """
    options = (
        click.option(
            "-n",
            "--limit",
            type=click.IntRange(1, wire.MAX_LIMIT),
            metavar="N",
            help="At most N: 1 to 500. Default: 50.",
        ),
        click.option("--cursor", type=Text(), metavar="CURSOR", help="Continue where the last list ended."),
        click.option("-f", "--follow", "is_following", is_flag=True, help=following),
        click.option(
            "--after",
            type=Text(),
            metavar="CURSOR",
            help="With -f: begin after this update (its cursor is in the JSON).",
        ),
        absolute_option,
        as_json_option,
    )

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def wait_options(waiting: str) -> Callable[[Any], Any]:
    """``--wait``, ``--timeout`` and ``--json``, of a verb that makes runs.

    Args:
        waiting: What ``--wait`` does.
    """
    wait = click.option("--wait", is_flag=True, help=waiting)
    timeout = click.option(
        "--timeout",
        "timeout_s",
        type=Duration(),
        metavar="TIME",
        help="How long --wait waits: 500ms, 30s, 5m. Default: no limit.",
    )
    return lambda function: wait(timeout(as_json_option(function)))


def _remember_absolute(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[printing.ABSOLUTE] = True


absolute_option: Callable[[Any], Any] = click.option(
    "--absolute",
    is_flag=True,
    expose_value=False,
    callback=_remember_absolute,
    help="Times by the clock of here (TZ) in place of how long ago.",
)

only_option: Callable[[Any], Any] = click.option(
    "--only", "is_alone", is_flag=True, help="The event alone, without what its runs cause."
)

as_json_option: Callable[[Any], Any] = click.option(
    "--json", "as_json", is_flag=True, help="The daemon's response as JSON, and nothing else, on stdout."
)
