"""Writes what a distribution's package has beside the program: the man page, and completions for three shells.

Everything is made of the command line itself: ``make packaging DIR=…``.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import click

import flowd
from flowd.cli import shells
from flowd.cli.main import cli

MAN_PAGE = Path(__file__).parent / "man" / "flowd.1"
"""As it lies in the repository, from where the wheel takes it; ``make docs`` writes it."""

SHARED = frozenset({"--workspace", "--socket", "--help"})
"""The options of every command, which are told once."""

COMPLETIONS = {"bash": "flowd.bash", "zsh": "_flowd", "fish": "flowd.fish"}


_EXIT_STATUS = {
    "0": "Good.",
    "1": "A run failed, is blocked or needs intervention, and the command waited for it.",
    "2": "The command line makes no sense.",
    "3": "There is no daemon.",
    "4": "There is no such run, event or flow.",
    "5": "It was refused; the message says why.",
    "70": "A fault in flowd.",
    "74": "The output cannot be written; of flowd serve, a write to the disk failed.",
    "75": "Of flowd serve: what it needs is not there yet.",
    "78": "Of flowd serve: its settings or its state cannot be used.",
    "130": "Interrupted.",
}
_ENVIRONMENT = {
    "FLOWD_WORKSPACE": "The workspace.",
    "FLOWD_STATE_DIR": "The folder of the workspace's state.",
    "FLOWD_SOCKET": "The daemon's socket. Steps have that of their own daemon.",
    "FLOWD_TRUST": "Workspaces that are trusted though others can write to them, with colons in between.",
    "FLOWD_MAX_PARALLEL, FLOWD_LOG_LEVEL, ...": "A setting, by its name in capital letters.",
}
_FILES = {
    "flows/, .codex/flows/": "The workspace's flow packages.",
    ".codex/flowd.toml": "Its settings.",
    "~/.config/flowd/config.toml": "The settings of all workspaces of yours.",
    ".codex/flowd/": "Its state: the database, the output of steps, the socket.",
}


def man_page() -> str:
    """``flowd(1)`` in the language of man(7)."""
    root = click.Context(cli, info_name="flowd", **cli.context_settings)
    lines = [
        f'.TH FLOWD 1 "" "flowd {flowd.__version__}" "User Commands"',
        ".SH NAME", r"flowd \- run flow packages for events",
        ".SH SYNOPSIS", r".B flowd", r"[\-w DIR] COMMAND [OPTIONS]",
        ".SH DESCRIPTION", *_text(cli.help or ""),
        ".SH OPTIONS", "Every command takes these, before its name or behind it:",
        *_options(root, cli, are_shared=True),
        ".SH COMMANDS", *_commands(root, cli),
        ".SH EXIT STATUS", *_listed(_EXIT_STATUS),
        ".SH ENVIRONMENT", *_listed(_ENVIRONMENT),
        ".SH FILES", *_listed(_FILES),
        ".SH SEE ALSO", *_text("systemctl(1), journalctl(1), cron(8)"),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """The text that a shell reads to complete flowd's command lines."""
    return shells.script(shell, cli)


def _commands(context: click.Context, group: click.Group) -> list[str]:
    lines: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        lines += [".SS " + _safe(f"{inner.command_path} {usage}"), *_text(command.help or "")]
        lines += _options(inner, command, are_shared=False)
        if isinstance(command, click.Group):
            lines += _commands(inner, command)
    return lines


def _options(context: click.Context, command: click.Command, *, are_shared: bool) -> list[str]:
    chosen = [it for it in command.get_params(context) if bool(SHARED & {*it.opts}) == are_shared]
    return _listed(dict(filter(None, (it.get_help_record(context) for it in chosen if isinstance(it, click.Option)))))


def _listed(entries: Mapping[str, str]) -> list[str]:
    return [line for word, text in entries.items() for line in (".TP", ".B " + _safe(word), *_text(text))]


def _text(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        is_literal = paragraph.lstrip().startswith("\b")
        words = [_safe(line.replace("\b", "")) for line in paragraph.strip("\n").splitlines() if line.strip(" \b")]
        lines += [".PP", *([".nf", *words, ".fi"] if is_literal else [line.strip() for line in words])]
    return lines[1:]


def _safe(text: str) -> str:
    safe = text.replace("…", "...").replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.lstrip()[:1] in (".", "'") else safe


def main(folder: Path) -> None:
    """Write all of it into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flowd.1").write_text(man_page(), encoding="utf-8")
    for shell, name in COMPLETIONS.items():
        (folder / name).write_text(completion(shell), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
