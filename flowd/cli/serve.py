"""``flowd serve``: run the daemon."""

import click

from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.domain.errors import FlowdError


@click.command(cls=Verb, short_help="Run the daemon of a workspace.")
@click.option("--max-parallel", type=click.IntRange(min=1), metavar="N", help="Runs under way at once.")
@click.option("--log-format", type=click.Choice(["auto", "text", "json"]), help="How the log on stderr looks.")
@click.pass_obj
def serve(session: Session, max_parallel: int | None, log_format: str | None) -> int:
    """Run the daemon of a workspace in the foreground, until SIGTERM or Ctrl-C. Steps under way go on without it.

    \b
    Examples:
      flowd serve
      flowd serve -w ~/project --max-parallel 4
    """
    from flowd import daemon, settings  # noqa: PLC0415 - heavy

    flags: dict[str, object] = {"max_parallel": max_parallel, "log_format": log_format}
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return daemon.serve(settings.load(workspace=session.workspace, flags=given))
    except FlowdError as error:
        raise CommandError(error.message, Exit.REFUSED) from error
