"""``flowd new`` and ``flowd demo``: a first package, and a first look at flowd."""

import os
import shlex
from pathlib import Path

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError
from flowd.cli.session import Session
from flowd.cli.verb import Verb


@click.command(cls=Verb, short_help="Write a working flow package to start from.")
@click.argument("name")
@click.option("--runner", type=click.Choice(["python", "exec", "bun", "node"]), default="python", show_default=True)
@click.option("--type", "event_type", metavar="TYPE", help="The event type that starts it. Default: NAME.requested.")
@click.option("--installed", is_flag=True, help="Into .codex/flows instead of flows.")
@click.pass_obj
def new(session: Session, name: str, runner: str, event_type: str | None, installed: bool) -> None:
    """Write a flow package that works as it is, with an event that starts it.

    \b
    Examples:
      flowd new hello
      flowd new release --runner bun --type release.published
    """
    from flowd.runners.scaffold import scaffold  # noqa: PLC0415 - for this verb alone

    kind = event_type or f"{name}.requested"
    try:
        files = scaffold(session.workspace, name, runner=runner, event_type=kind, installed=installed)
    except ValueError as error:
        raise CommandError(f"{error}.") from error
    except OSError as error:
        raise CommandError(f"{error.filename or session.place}: cannot be written: {error.strerror}.") from error
    for file in files:
        printing.line(f"created {_shown(file)}")
    event = next((file for file in files if file.name == "event.json"), None)
    if event is not None:
        shown = shlex.quote(_shown(event))
        chosen = session.chosen_workspace
        flowd = "flowd" if chosen is None else f"flowd -w {shlex.quote(_shown(chosen))}"
        printing.note(f"\nTry it:\n  {flowd} validate\n  {flowd} fire {shown}\n  {flowd} dispatch {shown} --wait")


def _shown(file: Path) -> str:
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative


@click.command(cls=Verb, short_help="Watch flowd work in a scratch workspace.")
@click.option("--keep", is_flag=True, help="Keep the scratch workspace to look around in.")
@click.option("--fast", is_flag=True, help="Do not pause between scenes.")
def demo(keep: bool, fast: bool) -> int:
    """Start a daemon in a scratch workspace, take an event through it, and clean up.

    \b
    Examples:
      flowd demo
      flowd demo --fast --keep
    """
    from flowd.cli.demo import run  # noqa: PLC0415 - for this verb alone

    return run(keep=keep, fast=fast)
