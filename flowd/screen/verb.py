"""``flowd top``: its options, and what it needs."""

import asyncio
import shlex
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from pathlib import Path

import click

from flowd.cli.exits import CommandError
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.screen.daemon_link import to_socket, to_url


@click.command(cls=Verb, short_help="Watch what the daemon does, and act on it.")
@click.option("--url", metavar="URL", help="A daemon by its address: http://, https:// or unix:///path.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="With --url: the token, in the file's first line. Default: the one that a daemon on this machine has left.",
)
@click.pass_obj
def top(session: Session, url: str | None, token_file: Path | None) -> int:
    """Show what runs, what waits and for what, what asks for a person, and what has ended, live, on the whole terminal.
    Open a run to follow its output; cancel, retry, replay, approve, answer, pause. `?` shows the keys.

    Needs Textual: in a clone of flowd's repository, pip install '.[top]'

    \b
    Examples:
      flowd top
      flowd top -w ~/src/project
      flowd top --url https://flowd.example.org --token-file ~/.flowd-token
    """
    if token_file is not None and url is None:
        raise CommandError("--token-file goes with --url; the socket needs no token.")
    _require_textual()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandError("flowd top draws on a terminal, and this is none. `flowd status` and `flowd runs` print.")
    if not sys.stderr.isatty():  # which is what Textual draws on
        raise CommandError("flowd top draws on standard error, and that leads elsewhere. Leave it on the terminal.")
    link = to_socket(session) if url is None else to_url(url, token_file)
    asyncio.run(link.require_daemon())
    from flowd.screen.app import TopApp  # noqa: PLC0415 - 300 ms, and it may not be there

    app = TopApp(link)
    app.run()
    return app.return_code or 0


def _require_textual() -> None:
    if find_spec("textual") is None:
        raise CommandError(
            "flowd top needs Textual, which is not installed here: it comes with the extra codex-flowd[top]. "
            f"Get it with: {shlex.quote(sys.executable)} -m pip install {shlex.quote(_wanted_textual())}"
        )


def _wanted_textual() -> str:
    """Which Textual this flowd needs, as pip takes it."""
    with suppress(PackageNotFoundError):
        for requirement in requires("codex-flowd") or ():
            if requirement.startswith("textual"):
                return requirement.partition(";")[0].strip()
    return "textual"
