"""The command line's entry. It imports little: a verb is imported when it is used."""

import atexit
import gc
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

import click

from flowd import __version__
from flowd.cli.exits import CommandError, Exit, code_of, discard, let_go, tell
from flowd.cli.output import OutputError, watch_stdout
from flowd.cli.session import Session
from flowd.cli.verb import WAYS_TO_ASK, Home, LazyGroup
from flowd_client.errors import FlowClientError

_SECTIONS = {
    "Events": {
        "dispatch": Home("flowd.cli.dispatch", "dispatch", "Send an event; every matching step runs."),
        "events": Home("flowd.cli.events", "events", "List events, newest first."),
        "event": Home("flowd.cli.events", "event", "Show an event, its runs, and all that they caused."),
        "replay": Home("flowd.cli.rerun", "replay", "Run a stored event's steps again."),
        "explain": Home("flowd.cli.explain", "explain", "Say why each step would run for an event, or not."),
    },
    "Runs": {
        "runs": Home("flowd.cli.runs", "runs", "List runs, newest first."),
        "run": Home("flowd.cli.runs", "run", "Show a run: why it ended so, its attempts, the end of its output."),
        "logs": Home("flowd.cli.logs", "logs", "Print a run's output, or follow it."),
        "retry": Home("flowd.cli.rerun", "retry", "Make another attempt of a run that ended badly."),
        "queue": Home("flowd.cli.queue", "queue", "Show what waits, for what, and since when."),
        "cancel": Home("flowd.cli.rerun", "cancel", "End a run, or all runs of an event."),
    },
    "People": {
        "attention": Home("flowd.cli.people", "attention", "List the runs that ask for a person."),
        "approve": Home("flowd.cli.people", "approve", "Let a run that asks count as completed."),
        "reject": Home("flowd.cli.people", "reject", "Let a run that asks count as failed."),
        "resolve": Home("flowd.cli.people", "resolve", "Say how a run that asks counts from now on."),
        "answer": Home("flowd.cli.people", "answer", "Answer a run that asks, and let it go on."),
    },
    "Flow packages": {
        "flows": Home("flowd.cli.flows", "flows", "List the flow packages that the daemon has in force."),
        "schedules": Home(
            "flowd.cli.schedules", "schedules", "List what comes by itself, when, and how the last times ended."
        ),
        "watches": Home("flowd.cli.watches", "watches", "List what is watched, and the newest event of each watch."),
        "validate": Home("flowd.cli.validate", "validate", "Check flow packages on disk. Needs no daemon."),
        "schema": Home("flowd.cli.schema", "schema", "Print the JSON Schema of flow.toml or flowd.toml."),
        "new": Home("flowd.cli.new", "new", "Write a working flow package to start from."),
        "dev": Home("flowd.cli.dev", "dev", "Run each step as you save it. Needs no daemon."),
        "fire": Home("flowd.cli.local", "fire", "Run an event's steps right here. Needs no daemon."),
        "exec": Home("flowd.cli.local", "exec_", "Run one step right here. Needs no daemon."),
    },
    "The daemon": {
        "serve": Home("flowd.cli.serve", "serve", "Run the daemon of a workspace."),
        "stop": Home("flowd.cli.stop", "stop", "Stop the daemon of a workspace."),
        "status": Home("flowd.cli.status", "status", "Show what the daemon does."),
        "top": Home("flowd.screen.verb", "top", "Watch what the daemon does, and act on it."),
        "doctor": Home("flowd.cli.doctor", "doctor", "Check everything that flowd depends on."),
        "reload": Home("flowd.cli.daemon", "reload", "Read the flow packages on disk now."),
        "trust": Home("flowd.cli.trust", "trust", "Vouch for a workspace that others can write to."),
        "pause": Home("flowd.cli.queue", "pause", "Start nothing of a flow, or nothing at all, until it is resumed."),
        "resume": Home("flowd.cli.queue", "resume", "Let go what was paused, or queued before a copy was made."),
        "ui": Home("flowd.cli.ui", "ui", "Open the web page."),
        "parallel": Home("flowd.cli.queue", "parallel", "Change how many runs are under way at once."),
        "prune": Home("flowd.cli.prune", "prune", "Forget old events with their runs and output."),
        "backup": Home("flowd.cli.backup", "backup", "Write a backup, beside a daemon that works."),
        "restore": Home("flowd.cli.backup", "restore", "Put a backup in the place of a stopped daemon's state."),
        "drain": Home("flowd.cli.daemon", "drain", "Start no more runs; go on accepting events."),
        "notices": Home("flowd.cli.notices", "notices", "List what was told outside of flowd; test a notifier."),
        "hosts": Home("flowd.cli.hosts", "hosts", "List the hosts that share the store; drain or forget one."),
        "workspaces": Home("flowd.cli.workspaces", "workspaces", "List the workspaces that have a daemon."),
        "service": Home("flowd.cli.service", "service", "Run flowd as a systemd service."),
        "store": Home("flowd.cli.store", "store", "Make, upgrade, check and fill the database that hosts share."),
        "import": Home("flowd.cli.import_", "import_", "Take over the reference system's events and runs."),
        "demo": Home("flowd.cli.new", "demo", "Watch flowd work in a scratch workspace."),
        "completion": Home("flowd.cli.completion", "completion", "Let the shell complete verbs, ids and names."),
        "help": Home("flowd.cli.help", "help_", "Show the help of flowd, or of a verb."),
    },
}

_ALIASES = {
    "ls": "runs",
    "ps": "runs",
    "tail": "logs",
    "follow": "logs",
    "kill": "cancel",
    "rerun": "retry",
    "send": "dispatch",
    "check": "validate",
    "list-events": "events",
    "show-event": "event",
    "replay-event": "replay",
    "list-runs": "runs",
    "show-run": "run",
}
"""What people try, and the reference command line's names."""

_UNLISTED = {
    "list": Home("flowd.cli.listing", "list_", "List flow packages on disk. Needs no daemon."),
    "undrain": Home("flowd.cli.daemon", "undrain", "Start runs again: the same as drain --off."),
}
"""The reference command line's, and the other half of a verb."""

_COMPLETE_VARIABLE = "_FLOWD_COMPLETE"


@click.group(
    cls=LazyGroup,
    sections=_SECTIONS,
    aliases=_ALIASES,
    unlisted=_UNLISTED,
    context_settings={"help_option_names": list(WAYS_TO_ASK)},
    epilog="Exit codes: 0 good, 1 a run ended badly under --wait, 2 usage, 3 no daemon, 4 not found, 5 refused. "
    "Completion for your shell: flowd completion install.",
)
@click.version_option(__version__, prog_name="flowd", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Accept events, run every matching flow step, remember everything.

    \b
    Start here:
      flowd new hello                        write a flow package
      flowd serve                            run the daemon (in another terminal)
      flowd dispatch flows/hello/event.json --wait
      flowd runs                             what ran, and how it ended
    """
    gc.freeze()  # what has been imported stays; see `flowd.__main__`
    gc.enable()
    session = ctx.ensure_object(Session)
    ctx.call_on_close(session.close)


def run(args: Sequence[str]) -> int:
    """Run a command line and return its exit code. Failures are printed on stderr, never raised."""
    try:
        code = _invoke(list(args))
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return Exit.INTERRUPTED
    except BrokenPipeError:
        discard(sys.stdout)
        return Exit.BROKEN_PIPE
    except OutputError as error:
        discard(sys.stdout)
        tell(f"Cannot write the output: {error.strerror}.")
        return Exit.NO_OUTPUT
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return Exit.USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx is not None else "flowd"
        from flowd.cli.leads import for_name, lead  # noqa: PLC0415 - only after a mistake

        said = error.format_message()
        more = lead(args) or (for_name(args) if "extra argument" in said else "")
        tell(f"{said}{'' if said[-1:] in '.?!' else '.'}{more} `{where} -h` shows how.")
        return Exit.USAGE
    except click.ClickException as error:
        tell(error.format_message())
        return error.exit_code
    except FlowClientError as error:
        tell(error.message)
        return code_of(error)
    except CommandError as error:
        tell(error.message)
        return error.code
    except Exception as error:  # noqa: BLE001 - the last line before the terminal
        return _tell_fault(error)
    return code


def _invoke(args: list[str]) -> int:
    instruction = os.environ.get(_COMPLETE_VARIABLE)
    if instruction:
        from click.shell_completion import shell_complete  # noqa: PLC0415 - only for shells

        from flowd.cli import shells  # noqa: F401, PLC0415 - which answers in place of click's own

        return shell_complete(cli, {"obj": Session()}, "flowd", _COMPLETE_VARIABLE, instruction)
    try:
        with cli.make_context("flowd", args) as ctx:
            code = cli.invoke(ctx)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return code if isinstance(code, int) else Exit.GOOD


def _is_folder_deleted() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


def _tell_fault(error: Exception) -> int:
    if isinstance(error, FileNotFoundError) and _is_folder_deleted():
        tell("The working folder was deleted. Go to another one, or name every path from /, the workspace with -w.")
        return Exit.USAGE
    if os.environ.get("FLOWD_DEBUG"):
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    if _is_shortage(error):
        tell(
            "Another process or thread cannot be started: this user has as many as it may. Raise the limit (ulimit -u,"
            " LimitNPROC=, TasksMax=), or end some."
        )
        return Exit.FAULT
    tell(f"Fault in flowd: {type(error).__name__}: {error}. FLOWD_DEBUG=1 shows where; please report it.")
    return Exit.FAULT


def _is_shortage(error: BaseException) -> bool:
    """Whether the user may have no more processes; threads count as such, and Python says so in words only."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(_is_shortage, error.exceptions))
    return isinstance(error, BlockingIOError) or (
        isinstance(error, RuntimeError) and "can't start new thread" in str(error)
    )


def _hold_standard_streams() -> None:
    """Open /dev/null where a standard stream is closed, as some supervisors and ``<&- >&-`` leave it.

    Else the next file that is opened, the database say, gets its number, and is written into with our messages.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number, which is this one: those below it are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # noqa: FBT003
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def main() -> None:
    """Run the command line of this process, and end it with the exit code."""
    _hold_standard_streams()
    watch_stdout()
    _leave(run(sys.argv[1:]))


def _leave(code: int) -> NoReturn:
    """End the process without taking the interpreter apart, which costs a sixth of `flowd runs` and frees nothing more.

    Exit handlers are run, and what was printed is out. A process with threads ends as usual.
    """
    let_go(sys.stdout, sys.stderr)
    if threading.active_count() > 1:
        sys.exit(code)
    atexit._run_exitfuncs()  # noqa: SLF001 - nothing public runs them
    let_go(sys.stdout, sys.stderr)
    os._exit(code)
