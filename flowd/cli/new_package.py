"""What ``flowd new`` writes: made of flags, or of answers on a terminal."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import click

from flowd.cli.exits import CommandError
from flowd.formats.cron import CronError, read_cron
from flowd.runners.scaffold import RUNNERS, Plan, check_name, check_type, read_steps, scaffold
from flowd.watching.patterns import problem_of

T = TypeVar("T")

_STARTS = {"event": "an event that somebody sends", "clock": "the clock", "files": "files that are saved"}
_NIGHTLY, _SOURCES = "30 2 * * *", "src/**"


@dataclass(frozen=True)
class Given:
    """The flags, None where one was not given."""

    runner: str | None
    event_type: str | None
    steps: str | None
    cron: str | None
    timezone: str | None
    files: Sequence[str]
    is_installed: bool


def plan(name: str, given: Given) -> Plan:
    """What the flags mean, and for those left out what is usual.

    Raises:
        CommandError: One of them cannot be meant.
    """
    try:
        check_name(name, "a package")
        kind = f"{name}.requested" if given.event_type is None else check_type(given.event_type)
        made = Plan(name, event_type=kind, is_installed=given.is_installed)
        if given.runner is not None:
            made = replace(made, runner=given.runner)
        if given.steps is not None:
            made = _with_steps(made, given.steps)
        if given.timezone is not None and given.cron is None:
            raise ValueError("a time zone is for --cron, which says when")
        if given.cron is not None:
            made = replace(made, cron=_cron(given.cron, given.timezone), timezone=given.timezone)
        made = replace(made, files=tuple(map(_pattern, given.files)))
        return made if given.steps is not None else replace(made, stages=((_usual_step(made),),))
    except ValueError as error:
        raise CommandError(f"{_sentence(error)}.") from error


def write(workspace: Path, made: Plan) -> list[Path]:
    """Write it, and into the workspace the schema that its manifest names for editors.

    Raises:
        CommandError: It is there already, or cannot be written.
    """
    try:
        return scaffold(workspace, made)
    except ValueError as error:
        raise CommandError(f"{_sentence(error)}.") from error
    except OSError as error:
        raise CommandError(f"{error.filename or workspace}: cannot be written: {error.strerror}.") from error


def asked(given: Given) -> Plan:
    """What somebody on a terminal says; what the flags say is not asked.

    Raises:
        click.Abort: They would rather not. Nothing was written.
    """
    name = _ask("Name of the flow", "hello", lambda text: check_name(text, "a package"))
    made = plan(name, given)
    if not (given.cron or given.files or given.event_type):
        made = _with_start(made)
    if given.steps is None:
        click.echo(
            'Its steps: one name, or several: ">" for after, "," for side by side, "?" behind one that asks a person,\n'
            "as in a > b, c > ask? > d",
            err=True,
        )
        made = _ask("Steps", _usual_step(made), lambda text: _with_steps(made, text))
    if given.runner is None:
        made = replace(made, runner=_choose("Runner", RUNNERS))
    return made


def _usual_step(made: Plan) -> str:
    """What starts by itself greets nobody: its step is called as the flow is."""
    return made.name if made.cron or made.files else "hello"


def _with_steps(made: Plan, text: str) -> Plan:
    steps = read_steps(text)
    return replace(made, stages=steps.stages, asking=steps.asking)


def _with_start(made: Plan) -> Plan:
    click.echo("What starts it: " + ", ".join(f"{word} ({what})" for word, what in _STARTS.items()), err=True)
    match _choose("Start", list(_STARTS)):
        case "clock":
            return replace(made, cron=_ask("When, as cron has it", _NIGHTLY, lambda text: _cron(text, None)))
        case "files":
            return replace(made, files=_ask("Which files", _SOURCES, lambda text: (_pattern(text),)))
        case _:
            return replace(made, event_type=_ask("Type of the event", made.event_type, check_type))


def _ask(question: str, usual: str, read: Callable[[str], T]) -> T:
    """Ask until the answer can be meant."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise click.UsageError(_sentence(error)) from error

    answer: T = click.prompt(question, default=usual, err=True, value_proc=checked)
    return answer


def _choose(question: str, words: Sequence[str]) -> str:
    return str(click.prompt(question, default=words[0], err=True, type=click.Choice(words)))


def _cron(text: str, timezone: str | None) -> str:
    try:
        read_cron(text, timezone or "UTC")
    except CronError as error:
        shown = timezone if timezone is not None and "zone" in error.message else text
        raise ValueError(f"{shown!r} {error.message}. {error.remedy}".rstrip(". ")) from error
    return text


def _pattern(text: str) -> str:
    if problem := problem_of(text):
        raise ValueError(f"{text!r} {problem}")
    return text


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[0].upper() + text[1:]
