"""Writes what a distribution's package has beside the program: the man page, and completions for three shells.

Everything is made of the command line itself: ``make packaging DIR=…``.
"""

import sys
from pathlib import Path

import click
from click.shell_completion import get_completion_class

import flowd
from flowd.cli.main import cli

COMPLETIONS = {"bash": "flowd.bash", "zsh": "_flowd", "fish": "flowd.fish"}


def man_page() -> str:
    """``flowd(1)`` in the language of man(7)."""
    root = click.Context(cli, info_name="flowd")
    lines = [
        f'.TH FLOWD 1 "" "flowd {flowd.__version__}" "User Commands"',
        ".SH NAME", r"flowd \- run flow packages for events",
        ".SH SYNOPSIS", r".B flowd", r"[\-w DIR] COMMAND [OPTIONS]",
        ".SH DESCRIPTION", *_text(cli.help or ""),
        ".SH COMMANDS", *_commands(root, cli),
        ".SH EXIT STATUS", *_text(cli.epilog or ""),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def completion(shell: str) -> str:
    """The text that a shell reads to complete flowd's command lines."""
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(cli, {}, "flowd", "_FLOWD_COMPLETE").source()


def _commands(context: click.Context, group: click.Group) -> list[str]:
    lines: list[str] = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        usage = " ".join(command.collect_usage_pieces(inner))
        lines += [".SS " + _safe(f"{inner.command_path} {usage}"), *_text(command.help or "")]
        for parameter in command.get_params(inner):
            if (record := parameter.get_help_record(inner)) is not None:
                lines += [".TP", ".B " + _safe(record[0]), *_text(record[1])]
        if isinstance(command, click.Group):
            lines += _commands(inner, command)
    return lines


def _text(text: str) -> list[str]:
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        is_literal = paragraph.lstrip().startswith("\b")
        words = [_safe(line.replace("\b", "")) for line in paragraph.strip("\n").splitlines() if line.strip(" \b")]
        lines += [".PP", *([".nf", *words, ".fi"] if is_literal else [line.strip() for line in words])]
    return lines[1:]


def _safe(text: str) -> str:
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.lstrip()[:1] in (".", "'") else safe


def main(folder: Path) -> None:
    """Write all of it into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flowd.1").write_text(man_page(), encoding="utf-8")
    for shell, name in COMPLETIONS.items():
        (folder / name).write_text(completion(shell), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
