"""``flowd help [VERB]``: the same as ``-h``, for those who type that first."""

import click
from click.shell_completion import CompletionItem

from flowd.cli.names import offered
from flowd.cli.verb import LazyGroup, Verb


def _verbs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    return offered(group.list_commands(ctx), incomplete)


@click.command("help", cls=Verb, short_help="Show the help of flowd, or of a verb.")
@click.argument("verbs", metavar="[VERB]...", nargs=-1, shell_complete=_verbs)
@click.pass_context
def help_(ctx: click.Context, verbs: tuple[str, ...]) -> None:
    """Show the help of flowd, or of a verb.

    \b
    Examples:
      flowd help
      flowd help dispatch
      flowd help store init
    """
    parent = ctx.parent
    assert parent is not None
    shown = parent
    for name in verbs:
        group = shown.command
        command = group.get_command(shown, name) if isinstance(group, click.Group) else None
        if command is None:
            known = group.guess(name) if isinstance(group, LazyGroup) else ""
            raise click.UsageError(f"There is no verb {' '.join(verbs)!r}.{known}", ctx)
        shown = click.Context(command, info_name=command.name, parent=shown)
    click.echo(shown.get_help())
