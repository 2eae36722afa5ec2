"""``flowd hosts``: lists the hosts that share the store, and drains or forgets one."""

from collections.abc import Sequence

import click

from flowd.cli import printing, time_words
from flowd.cli.session import Session
from flowd.cli.verb import Text, Verb, Verbs, as_json_option
from flowd_client import requests
from flowd_client.views.host import HostView, PackageDifferenceView, read_host, read_hosts

_TOLD_OFFSET_MS = 1_000


_host_argument = click.argument("name", type=Text(), metavar="NAME")


@click.group(
    cls=Verbs,
    invoke_without_command=True,
    short_help="List the hosts that share the store; drain or forget one.",
)
@as_json_option
@click.pass_context
def hosts(context: click.Context, *, as_json: bool) -> None:
    """List the hosts that share the store, whichever of them is asked: whether they start runs, when they were heard of
    last, and at which commit of git their workspaces are; and the packages that are not the same on all live hosts.
    Where the store is in the state folder, that is this host alone.

    \b
    Examples:
      flowd hosts
      flowd hosts drain box-2
      flowd hosts --json | jq -r '.hosts[] | select(.state == "unreachable").name'
    """
    if context.invoked_subcommand is not None:
        return
    response = context.ensure_object(Session).ask(requests.hosts())
    if as_json:
        printing.print_json(response)
        return
    view = read_hosts(response)
    printing.table(
        ("HOST", "STATE", "RUNS", "VERSION", "LABELS", "SEEN", "CLOCK", "COMMIT"),
        [_row(host) for host in view],
        yields=("LABELS", "VERSION", "CLOCK", "COMMIT"),
        whole=("STATE",),
    )
    if view.packages:
        printing.line("")
        draw_differences(view.packages)


def draw_differences(packages: Sequence[PackageDifferenceView]) -> None:
    """Which hosts have another package than others, in a line each."""
    for package in packages:
        by_hash: dict[str, list[str]] = {}
        for host, digest in package.hashes.items():
            by_hash.setdefault(str(digest), []).append(host)
        sides = (f"{short(digest)} on {', '.join(names)}" for digest, names in by_hash.items())
        printing.line(f"{printing.status('differs')} {package.name}: {'; '.join(sides)}")


def short(digest: str) -> str:
    """The beginning of a hash, which is enough for people.

    >>> short("sha256:0123456789abcdef0123"), short("0123456789abcdef0123")
    ('0123456789ab', '0123456789ab')
    """
    return digest.removeprefix("sha256:")[:12]


def _row(host: HostView) -> tuple[str, ...]:
    labels = ", ".join(label for label in host.labels if not label.startswith("host:"))
    seen = "now" if host.silent_ms < _TOLD_OFFSET_MS else time_words.apart(host.silent_ms / 1000)
    return (
        f"{host.name} (this)" if host.this else host.name,
        host.state,
        f"{host.running}/{host.places}",
        host.version,
        labels or "-",
        seen,
        clock(host.clock_offset_ms),
        short(host.commit) if host.commit else "-",
    )


def clock(offset_ms: int) -> str:
    """How far a host's clock is from the store's.

    >>> clock(12), clock(-2500), clock(61_000)
    ('ok', '-2.5 s', '+61.0 s')
    """
    return "ok" if abs(offset_ms) < _TOLD_OFFSET_MS else f"{offset_ms / 1000:+.1f} s"


@hosts.command(cls=Verb)
@_host_argument
@as_json_option
@click.pass_obj
def drain(session: Session, name: str, *, as_json: bool) -> None:
    """Let a host start no more runs, from any host. What runs there goes on to its end; what is queued starts on others
    that can run it. In a store that hosts share, that outlives the host's daemon: it ends with `flowd hosts undrain`.

    \b
    Examples:
      flowd hosts drain box-2
    """
    response = session.ask(requests.drain_host(name))
    if as_json:
        printing.print_json(response)
        return
    host = read_host(response)
    printing.line(f"{host.name} starts nothing more; {printing.count(host.running, 'run')} under way there")


@hosts.command(cls=Verb)
@_host_argument
@as_json_option
@click.pass_obj
def undrain(session: Session, name: str, *, as_json: bool) -> None:
    """Let a host start runs again.

    \b
    Examples:
      flowd hosts undrain box-2
    """
    response = session.ask(requests.undrain_host(name))
    if as_json:
        printing.print_json(response)
        return
    host = read_host(response)
    if host.state == "draining":
        printing.line(f"{host.name} starts runs with its next daemon: this one was told there to drain")
    else:
        printing.line(f"{host.name} starts runs" + ("" if host.state == "ready" else " once its daemon is there"))


@hosts.command(cls=Verb)
@_host_argument
@click.option("--force", is_flag=True, help="Even if it may be there. You know that nothing runs there any more.")
@as_json_option
@click.pass_obj
def forget(session: Session, name: str, *, force: bool, as_json: bool) -> None:
    """Forget a host that is gone for good, and declare lost now what ran there: these runs end as interrupted, or begin
    again elsewhere where their steps are retried for that.

    Refused while the host may be there: it was heard of lately, or its leases are not over. A daemon of that name that
    lives after all stops when it hears of it.

    \b
    Examples:
      flowd hosts forget box-2
      flowd hosts forget box-2 --force
    """
    response = session.ask(requests.forget_host(name, force=force))
    if as_json:
        printing.print_json(response)
        return
    printing.line(f"{name} is forgotten; {printing.count(response.get('runs') or 0, 'run')} of it declared lost")
