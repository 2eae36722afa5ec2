"""``flowd notices``: lists what was told outside of flowd, tries a notifier out, and sends a notice again."""

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError, Exit
from flowd.cli.session import Session
from flowd.cli.verb import Text, Verb, Verbs, absolute_option, as_json_option
from flowd_client import requests, wire
from flowd_client.views.notice import NoticesView, NoticeView, NotifierView, read_notice, read_notices

_NONE = "The settings have no [[notify]]: nobody is told. See docs/notices.md."


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    short_help="List what was told outside of flowd; test a notifier.",
)
@click.option("--failed", is_flag=True, help="Only what was given up.")
@click.option("--notifier", type=Text(), metavar="NAME", help="Only of this notifier.")
@click.option("-n", "--limit", type=click.IntRange(1, wire.MAX_LIMIT), metavar="N", help="At most N. Default: 50.")
@click.option("--cursor", type=Text(), metavar="CURSOR", help="Continue where the last list ended.")
@absolute_option
@as_json_option
@click.pass_context
def notices(
    context: click.Context,
    *,
    failed: bool,
    notifier: str | None,
    limit: int | None,
    cursor: str | None,
    as_json: bool,
) -> None:
    """List what the notifiers of [[notify]] have told outside of flowd, newest first, and how they fare: what was sent,
    what waits for another try and why, what was given up.

    \b
    Examples:
      flowd notices
      flowd notices --failed --json | jq -r '.notices[].id'
      flowd notices test mail
    """
    if context.invoked_subcommand is not None:
        return
    session = context.ensure_object(Session)
    response = session.ask(requests.notices(failed=failed, notifier=notifier, limit=limit, cursor=cursor))
    if as_json:
        printing.print_json(response)
        return
    view = read_notices(response)
    _print(view)
    if view.next_cursor:
        more = {"failed": failed, "notifier": notifier, "limit": limit, "cursor": view.next_cursor}
        printing.note(f"More: {session.typed('notices', **more)}")


def _print(view: NoticesView) -> None:
    if not view.notifiers:
        printing.note(_NONE)
    else:
        printing.table(
            ("NOTIFIER", "TELLS", "OF", "TO", "SENT", "WAITING", "PROBLEM"),
            [_notifier_row(notifier) for notifier in view.notifiers],
            prose="PROBLEM",
            yields=("OF", "TO", "TELLS"),
        )
    if view:
        printing.line()
        printing.table(
            ("NOTICE", "STATE", "WHEN", "NOTIFIER", "WHAT", "TRIES", "TEXT"),
            [_row(notice) for notice in view],
            prose="TEXT",
            yields=("WHAT", "TRIES", "NOTIFIER"),
            whole=("STATE",),
        )


def _notifier_row(notifier: NotifierView) -> tuple[str, ...]:
    return (
        notifier.name,
        ", ".join(notifier.on),
        ", ".join(notifier.flows) or "all flows",
        notifier.to,
        str(notifier.sent),
        str(notifier.waiting),
        notifier.problem or "-",
    )


def _row(notice: NoticeView) -> tuple[str, ...]:
    why = f" ({notice.problem})" if notice.problem and notice.state != "sent" else ""
    return (
        notice.id,
        "given up" if notice.state == "failed" else notice.state,
        printing.when(notice.created_at),
        notice.notifier,
        notice.what,
        str(notice.tries),
        f"{notice.text}{why}",
    )


@notices.command(cls=Verb)
@click.argument("notifier", type=Text(), metavar="[NAME]", required=False)
@as_json_option
@click.pass_obj
def test(session: Session, notifier: str | None, *, as_json: bool) -> None:
    """Send a test through a notifier of the daemon that is asked, once and at once, and say what came back. Without a
    NAME, through the only one there is. Exit code 1 where it could not be sent.

    \b
    Examples:
      flowd notices test
      flowd notices test mail
    """
    notifier = notifier or _only_notifier(session)
    response = session.ask(requests.test_notifier(notifier))
    if as_json:
        printing.print_json(response)
        if not response.get("sent"):
            raise click.exceptions.Exit(Exit.RUN_FAILED)
        return
    took = f"in {response.get('tookMs', 0)} ms"
    if not response.get("sent"):
        raise CommandError(f"{notifier} could not send a test: {response.get('problem')} ({took})", Exit.RUN_FAILED)
    printing.line(f"{notifier} has sent a test {took}: {response.get('answer') or 'nothing came back'}")


def _only_notifier(session: Session) -> str:
    """The name of the notifier where there is one.

    Raises:
        CommandError: There is none, or several.
    """
    names = [notifier.name for notifier in read_notices(session.ask(requests.notices(limit=1))).notifiers]
    if not names:
        raise CommandError(_NONE, Exit.NOT_FOUND)
    if len(names) > 1:
        raise CommandError(f"Which notifier? Name one: {', '.join(names)}.")
    return names[0]


@notices.command(cls=Verb)
@click.argument("notice_id", type=Text(), metavar="ID")
@as_json_option
@click.pass_obj
def retry(session: Session, notice_id: str, *, as_json: bool) -> None:
    """Send a notice now that was given up, or waits for its next try. It is tried for another day then.

    \b
    Examples:
      flowd notices retry notice-0123456789abcdef01234567
    """
    response = session.ask(requests.retry_notice(notice_id))
    if as_json:
        printing.print_json(response)
        return
    notice = read_notice(response)
    printing.line(f"{notice.id} is sent by {notice.notifier} now; `flowd notices` says what comes of it")
