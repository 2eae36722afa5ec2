"""Leads from other command lines to flowd's: the TypeScript system's, and those of pueue, supervisor, pm2, systemd and
of version control, whose words people try. Only looked at after a mistake.
"""

from collections.abc import Iterable, Sequence

_SERVE_OPTIONS = {
    "--app-server-url": "flowd needs no app server",
    "--bun": 'the setting `[runners] bun = "/path"` names it',
    "--cwd": "`-w FOLDER` names the workspace",
    "--data-dir": "FLOWD_STATE_DIR names it",
    "--flow-runner": "flowd runs steps by itself",
    "--host": "`--http HOST:PORT` does that",
    "--local-app-server": "flowd needs no app server",
    "--port": "`--http HOST:PORT` does that",
    "--secret": "FLOWD_HTTP_SECRET has it",
}

_VERBS = (
    ("flowd dispatch", "sends an event, whose matching steps run", "add enqueue submit emit trigger post publish push"),
    ("flowd exec FLOW STEP --event FILE", "runs one step right here", "test try simulate"),
    (
        "flowd retry RUN",
        "makes another attempt of a run that ended badly, `flowd replay EVENT` new runs of an event",
        "again redo resubmit",
    ),
    (
        "flowd retry RUN",
        "makes another attempt of a run; `flowd stop` and `flowd serve` start the daemon anew",
        "restart",
    ),
    ("flowd runs", "lists runs", "jobs tasks history builds list-units"),
    (
        "flowd run RUN",
        "shows a run, `flowd flows NAME` a flow, and `flowd event EVENT` an event",
        "show describe inspect view get",
    ),
    ("flowd event EVENT", "draws all that an event has caused, `flowd flows` which steps need which", "tree graph"),
    ("flowd logs RUN", "prints a run's output", "cat print"),
    ("flowd validate", "checks a package once you have edited its files, which are in force at once", "edit"),
    ("flowd status --config", "shows each setting and where it is from", "config settings"),
    ("flowd logs -f RUN", "follows a run's output", "watch attach output journal journalctl stream fg"),
    ("flowd dispatch --wait", "waits for what an event starts, `flowd logs -f RUN` for a run", "wait"),
    ("flowd dispatch --in 10m", "starts an event's runs later", "stash delay at later"),
    (
        "flowd schedules",
        "lists what comes by itself, as `[[schedules]]` in a flow.toml says it",
        "cron crontab schedule timers list-timers timer",
    ),
    (
        "flowd prune",
        "forgets what has ended, and `flowd cancel` ends what has not",
        "clean clear remove rm delete del forget gc reset flush purge",
    ),
    ("flowd pause", "starts nothing of a flow until `flowd resume`", "hold freeze suspend disable"),
    ("flowd resume", "lets go what was paused", "continue unpause unfreeze release enable"),
    (
        "flowd serve",
        "runs the daemon, and `flowd service install` has systemd run it",
        "start up daemon boot launch server startup supervisord pueued",
    ),
    ("flowd stop", "ends the daemon", "shutdown down quit exit halt terminate"),
    ("flowd status", "shows what the daemon does", "stat health ping state is-active info"),
    ("flowd top", "shows live what the daemon does", "monit monitor htop dash dashboard tui"),
    ("flowd reload", "reads the packages and the settings anew", "update reread refresh daemon-reload"),
    ("flowd new NAME", "writes a flow package", "init create generate scaffold"),
    ("flowd validate", "checks flow packages", "lint verify"),
    ("flowd backup", "writes a backup", "save dump export snapshot"),
    ("flowd parallel N", "changes how many runs are under way at once", "scale concurrency slots"),
    ("flowd service install", "has systemd run the daemon", "install setup"),
    ("flowd ui", "opens the web page", "web open browser"),
    ("flowd --version", "tells the version", "version"),
)
"""What does it here, what that is, and the words of others for it."""

_RUNS = "`flowd runs --flow NAME` lists the runs of a flow, `--event EVENT` those of an event."
_NAMELESS = {
    "runs": _RUNS,
    "ls": _RUNS,
    "ps": _RUNS,
    "status": "`flowd flows NAME` shows a flow, `flowd run RUN` a run, `flowd event EVENT` an event.",
    "stop": "That ends the daemon; `flowd pause FLOW` holds up a flow, `flowd cancel RUN` ends a run.",
}
"""What is meant by a name behind these."""


def lead(args: Sequence[str]) -> str:
    """A sentence for a command line that would work elsewhere, with a blank before it; empty for any other.

    >>> lead(["serve", "--port", "3586"])
    ' In flowd, `--http HOST:PORT` does that.'
    >>> lead(["drain", "off"])
    ' `flowd drain --off` starts runs again.'
    """
    verb, *rest = args or [""]
    if verb == "drain" and "off" in rest:
        return " `flowd drain --off` starts runs again."
    if verb == "serve":
        told = [_SERVE_OPTIONS[word.partition("=")[0]] for word in rest if word.partition("=")[0] in _SERVE_OPTIONS]
        return f" In flowd, {told[0]}." if told else ""
    return ""


def for_name(args: Sequence[str]) -> str:
    """A sentence, likewise, for a name behind a verb that takes none.

    >>> for_name(["runs", "nightly"])
    ' `flowd runs --flow NAME` lists the runs of a flow, `--event EVENT` those of an event.'
    """
    return next((f" {_NAMELESS[word]}" for word in args if word in _NAMELESS), "")


def elsewhere(verb: str) -> str | None:
    """What a verb of another command line is called here, as a sentence; None for one that nobody knows.

    >>> elsewhere("enqueue")
    'Here `flowd dispatch` sends an event, whose matching steps run.'
    """
    for ours, does, theirs in _VERBS:
        if verb.lower() in theirs.split():
            return f"Here `{ours}` {does}."
    return None


def is_of_a_step(words: Sequence[str]) -> bool:
    """Whether what follows ``run`` is the reference's ``run FLOW STEP --event FILE``, and names no run.

    >>> is_of_a_step(["demo", "hello", "--event", "e.json"]), is_of_a_step(["-w", "dir", "run_16439a6acab8"])
    (True, False)
    """
    names = 0
    is_value = False
    for word in words:
        if word in ("-h", "--help"):
            return False
        if is_value or word.startswith("-"):
            if word == "--event" or word.startswith("--event="):
                return True
            is_value = not is_value and word in ("-w", "--workspace", "--socket")
        else:
            names += 1
    return names > 1


def near(name: str, known: Iterable[str], *, count: int = 1) -> list[str]:
    """Those that are spelled much like a name, the likest first.

    >>> near("relase", ["release", "nightly"])
    ['release']
    """
    import difflib  # noqa: PLC0415 - only after a typing error

    lower = {one.lower(): one for one in known}
    return [lower[one] for one in difflib.get_close_matches(name.lower(), lower, n=count)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The likest as a question with a blank before it; empty where none is near."""
    found = near(name, known)
    return f" Did you mean {found[0]!r}?" if found else ""
