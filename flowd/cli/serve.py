"""``flowd serve``: run the daemon."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flowd.cli.exits import CommandError, Exit, tell
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.domain.errors import FlowdError, StateError
from flowd_client.discovery import WORKSPACE_VARIABLES, is_in_step

if TYPE_CHECKING:
    from flowd.settings.values import Settings


@click.command(cls=Verb, short_help="Run the daemon of a workspace.")
@click.option("--max-parallel", type=click.IntRange(min=1), metavar="N", help="Steps that run at the same time.")
@click.option("--executor", type=click.Choice(["direct", "systemd"]), help="Who starts steps: flowd, or systemd.")
@click.option(
    "--log-format", type=click.Choice(["auto", "pretty", "json", "journal"]), help="The format of the log on stderr."
)
@click.option(
    "--http", is_flag=False, flag_value="", metavar="[HOST:PORT]", help="Serve HTTP too, on 127.0.0.1:7345 by default."
)
@click.option(
    "--http-open", is_flag=True, help="Let everybody on this machine use HTTP without a secret: no token is made."
)
@click.pass_obj
def serve(
    session: Session,
    *,
    max_parallel: int | None,
    executor: str | None,
    log_format: str | None,
    http: str | None,
    http_open: bool,
) -> int:
    """Run the daemon of a workspace in the foreground, until SIGTERM or Ctrl-C. A first signal lets
    running steps finish, a second cancels them, a third kills them.

    \b
    Examples:
      flowd serve
      flowd serve -w ~/project --max-parallel 4
      flowd serve --http 127.0.0.1:7345
    """
    from flowd.daemon.init import fork_from_init  # noqa: PLC0415 - only for this verb

    fork_from_init()
    from flowd.daemon import process  # noqa: PLC0415 - heavy
    from flowd.settings import sources as settings_sources  # noqa: PLC0415 - heavy
    from flowd.settings.files import FileError  # noqa: PLC0415 - as above
    from flowd.settings.values import WorkspaceAwayError, is_managed  # noqa: PLC0415 - as above

    flags = {
        "max_parallel": max_parallel,
        "executor": executor,
        "log_format": log_format,
        "http": http,
        "http_open": http_open or None,
        "socket": session.chosen_socket,
    }

    def read_settings() -> "Settings":
        return settings_sources.load(
            workspace=session.chosen_workspace,
            flags=flags,
            environ=_own_environ(),
            is_vouched=_is_vouched(session.chosen_workspace),
        )

    try:
        return process.serve(_once_there(read_settings), read_settings)
    except WorkspaceAwayError as error:
        process.turn_away(error)
        raise CommandError(error.message, Exit.NOT_YET if is_managed(os.environ) else Exit.CONFIG) from error
    except FileError as error:
        process.turn_away(error)
        *others, last = error.sentences
        for sentence in others:
            tell(sentence)
        raise CommandError(last, Exit.CONFIG) from error
    except StateError as error:
        process.turn_away(error)
        raise CommandError(error.message, Exit.CONFIG) from error
    except FlowdError as error:
        raise CommandError(error.message, Exit.REFUSED) from error


def _once_there(read_settings: Callable[[], "Settings"]) -> "Settings":
    """The settings; in a unit of systemd's, a workspace that is away is waited for."""
    from flowd.daemon import awaiting  # noqa: PLC0415 - heavy
    from flowd.settings.values import WorkspaceAwayError, is_managed  # noqa: PLC0415 - heavy

    try:
        return read_settings()
    except WorkspaceAwayError as error:
        if not (is_managed(os.environ) and awaiting.until_back(error.workspace, error)):
            raise
    return read_settings()


def _is_vouched(chosen: Path | None) -> bool:
    """Whether a unit of systemd names the workspace: then its user and its path are somebody's word."""
    from flowd.settings.values import is_managed  # noqa: PLC0415 - as above

    is_named = chosen is not None or any(os.environ.get(name) for name in WORKSPACE_VARIABLES)
    return is_named and is_managed(os.environ)


def _own_environ() -> Mapping[str, str]:
    """The environment less what a step is told: a socket of ours is never that of the daemon that started the step."""
    told = ("FLOWD_SOCKET",) if is_in_step() else ()
    return {name: value for name, value in os.environ.items() if name not in told}
