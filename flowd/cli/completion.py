"""``flowd completion``: completion of verbs, options, ids and names by the shell."""

import os
from pathlib import Path

import click

from flowd.cli import printing
from flowd.cli.exits import CommandError
from flowd.cli.verb import Verb, Verbs
from flowd_client import small_file

_OURS = "_FLOWD_COMPLETE"
"""In each that we have ever written."""

SHELLS = ("bash", "zsh", "fish")
BASH_COMPLETION = (
    "/usr/share/bash-completion/bash_completion",
    "/etc/bash_completion",
    "/usr/local/share/bash-completion/bash_completion",
    "/usr/local/etc/profile.d/bash_completion.sh",
    "/opt/homebrew/etc/profile.d/bash_completion.sh",
    "/opt/local/etc/profile.d/bash_completion.sh",
    "/run/current-system/sw/etc/profile.d/bash_completion.sh",
    "/home/linuxbrew/.linuxbrew/etc/profile.d/bash_completion.sh",
)
"""Any of these is there where bash-completion is, by which bash finds our file: Linux, MacPorts, Homebrew, NixOS."""
_shell = click.argument("shell", type=click.Choice(SHELLS), required=False)


@click.group(cls=Verbs, short_help="Let the shell complete verbs, ids and names.")
def completion() -> None:
    """Let the shell complete verbs, options, runs, events, flows, steps, statuses and files.

    \b
    Examples:
      flowd completion install
      flowd completion show zsh
    """


@completion.command(cls=Verb, short_help="Write the file that the shell reads by itself.")
@_shell
def install(shell: str | None) -> None:
    """Write the file that the shell reads by itself, for the user who calls: of bash (with bash-completion), zsh or
    fish; by default of the one in $SHELL.

    \b
    Examples:
      flowd completion install
      flowd completion install zsh
    """
    shell = _chosen(shell)
    path = _place(shell)
    try:
        _write(path, _script(shell))
    except OSError as error:
        raise CommandError(f"{error.filename or path}: cannot be written: {error.strerror}.") from error
    printing.line(f"wrote {path}")
    if shell == "zsh":
        printing.note(
            f"zsh finds it with these lines in ~/.zshrc, if you do not have them: fpath=({path.parent} $fpath); "
            "autoload -Uz compinit; compinit"
        )
    if shell == "bash" and not any(map(os.path.exists, BASH_COMPLETION)):
        printing.note(
            "bash reads it only with the package bash-completion, which was not found here: install it "
            "(apt install bash-completion). Without it, this line in ~/.bashrc does as well: "
            "source <(flowd completion show bash)"
        )
        return
    printing.note("New shells complete `flowd`.")


@completion.command(cls=Verb, short_help="Print what the shell reads.")
@_shell
def show(shell: str | None) -> None:
    """Print what the shell reads, to put it where you like.

    \b
    Examples:
      flowd completion show bash >> ~/.bashrc
    """
    click.echo(_script(_chosen(shell)))


def _write(path: Path, script: str) -> None:
    """Write it where nothing is, or an earlier one of ours: what somebody else has put there stays."""
    try:
        before = small_file.read(path).decode("utf-8", "replace")
    except FileNotFoundError:
        before = _OURS
    if before and _OURS not in before:
        raise CommandError(
            f"{path} is not of flowd, and stays as it is. Move it away, or use what `flowd completion show` prints."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.resolve()  # a link to where somebody keeps such files goes on being one
    fresh = whole.with_name(f".{whole.name}.{os.getpid()}")
    try:
        fresh.write_text(script, encoding="utf-8")
        fresh.replace(whole)
    finally:
        fresh.unlink(missing_ok=True)


def _chosen(shell: str | None) -> str:
    found = shell or Path(os.environ.get("SHELL", "")).name
    if found not in SHELLS:
        raise CommandError(f"Which shell? Name one of {', '.join(SHELLS)}.")
    return found


def _place(shell: str) -> Path:
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    places = {
        "bash": data / "bash-completion/completions/flowd",
        "zsh": data / "zsh/site-functions/_flowd",
        "fish": config / "fish/completions/flowd.fish",
    }
    return places[shell]


def _script(shell: str) -> str:
    from flowd.cli import shells  # noqa: PLC0415 - most that is done here is to answer
    from flowd.cli.main import cli  # noqa: PLC0415 - which imports us when we are used

    return shells.script(shell, cli)
