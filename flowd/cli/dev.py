"""``flowd dev``: work on a flow; each save runs what it concerns, right here."""

import asyncio
from pathlib import Path

import click

from flowd.cli.local import approve_option, tell_warnings, told
from flowd.cli.session import Session
from flowd.cli.verb import Verb
from flowd.cli.written import WrittenTarget
from flowd.domain.errors import FlowdError


@click.command(cls=Verb, short_help="Run each step as you save it. Needs no daemon.")
@click.argument("target", required=False, type=WrittenTarget(), metavar="[FLOW[/STEP]]")
@click.option(
    "--event", "event_path", type=click.Path(path_type=Path), metavar="FILE", help="Try steps with the event in FILE."
)
@approve_option
@click.option("--once", "is_once", is_flag=True, help="Run now and once; exit with 1 where a step ended badly.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="On stdout a line of JSON for each run, and for findings; all else on stderr.",
)
@click.pass_obj
def dev(
    session: Session,
    *,
    target: str | None,
    event_path: Path | None,
    approved: tuple[str, ...],
    is_once: bool,
    as_json: bool,
) -> int:
    """Watch the flow packages, and on each save check the package and run the steps that the save concerns, right here,
    showing what they write. Nothing is stored, and no daemon gets what they send.

    The event is the newest that the workspace's daemon has had for the step, where one answers; else event.json or one
    in events/ of the package. Of the steps that a step needs, results are taken from the same round, or they run first.
    A save while steps run ends them and begins anew.

    Keys: r runs again, a runs it with all that need it, e chooses the event, q quits. See docs/dev.md.

    \b
    Examples:
      flowd dev
      flowd dev release
      flowd dev release/notes --event events/minor.json
      flowd dev release --once --approve ask
      flowd dev release/notes --once --json | jq '.results[0].result'
    """
    from flowd.cli.developing.development import Development  # noqa: PLC0415 - heavy
    from flowd.cli.developing.events import example  # noqa: PLC0415
    from flowd.cli.developing.scope import Target  # noqa: PLC0415
    from flowd.cli.developing.voice import Voice  # noqa: PLC0415
    from flowd.embedded.ending import until_told_to_end  # noqa: PLC0415
    from flowd.embedded.running import private_settings  # noqa: PLC0415

    tell_warnings("package_broken")
    choice = None if event_path is None else example(event_path, str(event_path))
    flow, _, step = (target or "").partition("/")
    wanted = Target(flow or None, step or None, choice, approved)
    try:
        with private_settings(session.workspace) as settings:
            development = Development(session, settings, wanted, Voice(as_json=as_json))
            return asyncio.run(until_told_to_end(development.work(is_once=is_once)))
    except FlowdError as error:
        raise told(error) from error
