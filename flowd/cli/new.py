"""``flowd new`` and ``flowd demo``: a first package, and a first look at flowd."""

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from flowd.cli import printing
from flowd.cli.session import Session
from flowd.cli.verb import Verb

_RUNNERS = ["python", "exec", "bun", "node"]


@click.command(cls=Verb, short_help="Write a working flow package to start from.")
@click.argument("name", required=False)
@click.option("--runner", type=click.Choice(_RUNNERS), help="How its steps run. Default: python.")
@click.option("--type", "event_type", metavar="TYPE", help="The event type that starts it. Default: NAME.requested.")
@click.option(
    "--steps",
    metavar="STEPS",
    help="Its steps: > for after, a comma for side by side, ? behind one that asks a person. Default: hello, "
    "or NAME with --cron and --on-save.",
)
@click.option("--cron", metavar="EXPR", help="Start it by the clock, too: minute, hour, day, month, weekday.")
@click.option("--timezone", metavar="ZONE", help="By whose clock, such as Europe/Berlin. Default: UTC.")
@click.option(
    "--on-save", "files", multiple=True, metavar="PATTERN", help="Start it when such files change; again for more."
)
@click.option("--installed", is_flag=True, help="Into .codex/flows instead of flows.")
@click.option("--json", "as_json", is_flag=True, help="The files written, as JSON.")
@click.pass_obj
def new(
    session: Session,
    *,
    name: str | None,
    runner: str | None,
    event_type: str | None,
    steps: str | None,
    cron: str | None,
    timezone: str | None,
    files: tuple[str, ...],
    installed: bool,
    as_json: bool,
) -> None:
    """Write a flow package that works as it is: its manifest, a script for each step, a schema of its events, an event
    that starts it, and a test. Without a NAME, on a terminal, it asks for all of that.

    \b
    Examples:
      flowd new
      flowd new hello
      flowd new release --runner bun --type release.published
      flowd new release --steps "checkout > test, build > publish"
      flowd new deploy --steps "build > ask? > publish"
      flowd new nightly --cron "30 2 * * *" --timezone Europe/Berlin
      flowd new docs --on-save "docs/**/*.md" --runner exec
    """
    from flowd.cli import new_package  # noqa: PLC0415 - for this verb alone

    if name is None and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise click.UsageError("Which name? `flowd new NAME` writes flows/NAME; on a terminal, `flowd new` asks.")
    given = new_package.Given(runner, event_type, steps, cron, timezone, files, is_installed=installed)
    plan = new_package.asked(given) if name is None else new_package.plan(name, given)
    written = new_package.write(session.workspace, plan)
    if as_json:
        printing.print_json({"flow": plan.name, "files": [str(file) for file in written]})
        return
    for file in written:
        printing.line(f"created {_shown(file)}")
    event = next(file for file in written if file.name == "event.json")
    _tell_what_next(session, plan.name, event, asking=[step for step, _ in plan.steps if step in plan.asking])


def _tell_what_next(session: Session, name: str, event: Path, *, asking: Sequence[str]) -> None:
    chosen = session.chosen_workspace
    flowd = "flowd" if chosen is None else f"flowd -w {shlex.quote(_shown(chosen))}"
    shown = shlex.quote(_shown(event))
    lines = [
        (f"{flowd} dev {shlex.quote(name)}", "run it on each save"),
        (f"{flowd} serve", "the daemon, in another terminal"),
        (f"{flowd} dispatch {shown} --wait", "send it an event"),
    ]
    lines += [(f"{flowd} approve {name}/{step}", "say yes where it asks") for step in asking]
    width = max(len(command) for command, _ in lines)
    printing.note("\nTry it:\n" + "\n".join(f"  {command:<{width}}  # {what}" for command, what in lines))


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
