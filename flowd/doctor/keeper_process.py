"""Checks the keeper and its journal, or the records of systemd's units where systemd starts the steps."""

import json
from collections.abc import Iterator
from contextlib import suppress

from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.keeper import identity, journal
from flowd.observe.processes import ProcessView, all_processes


def check(scene: Scene) -> Iterator[Finding]:
    """Check the keeper without connecting: it would take the doctor for its next daemon."""
    if not scene.keeper_folder.is_dir():
        yield ok("keeper", "none yet")
        return
    attempts, bad_lines = journal.load(str(scene.keeper_folder / "keeper.journal"))
    noted = _noted(scene)
    if scene.executor == "systemd":
        yield _units(scene, noted)
        if attempts:
            yield _of_the_other("keeper.journal", len(attempts), "direct")
        return
    if noted:
        yield _of_the_other("keeper.units", len(noted), "systemd")
    running = [name for name, facts in attempts.items() if "exit" not in facts]
    yield _life(scene, len(running))
    if scene.has_keeper:
        yield from _version(scene, len(running))
    if bad_lines > 1:  # the last one may be torn by a crash
        yield warn(
            "keeper.journal",
            f"{bad_lines} lines of {scene.keeper_folder / 'keeper.journal'} cannot be read",
            "The exits in them are lost; check the disk.",
        )
    else:
        yield ok("keeper.journal", f"{len(running)} running, {len(attempts) - len(running)} ended and not taken over")


def _noted(scene: Scene) -> list[bool]:
    """Whether each step runs that flowd has recorded as a unit."""
    found = []
    for path in (scene.keeper_folder / "units").glob("*.note"):
        with suppress(FileNotFoundError, ValueError, AttributeError):  # it is done with, or nothing of it ever ran
            found.append(json.loads(path.read_bytes()).get("exit") is None)
    return found


def _units(scene: Scene, noted: list[bool]) -> Finding:
    running = sum(noted)
    text = f"systemd is the keeper: {running} running, {len(noted) - running} ended and not taken over"
    if noted and not scene.has_daemon:
        return warn(
            "keeper",
            f"{text}, and no daemon looks after them",
            "Start the daemon to go on with them, or end them: `flowd service end-steps`."
            if running
            else "Start the daemon: it records how they ended.",
        )
    return ok("keeper", text)


def _of_the_other(check_: str, count: int, executor: str) -> Finding:
    return warn(
        check_,
        f"{count} steps are of the executor {executor}: no daemon starts with another before they are done with",
        f'Start it once with executor = "{executor}", and let them end.',
    )


def _life(scene: Scene, running: int) -> Finding:
    if scene.has_keeper:
        process = _process(scene)
        who = f"pid {process.pid}" if process else "of unknown pid"
        if process is not None and process.is_stopped:
            return fail(
                "keeper",
                f"is stopped, {who}: nothing starts, and no end of a step is noticed",
                f"Continue it: `kill -CONT {process.pid}`.",
            )
        if scene.has_daemon or not running:
            return ok("keeper", f"is alive, {who}, with {running} running steps")
        grace_s = scene.settings.orphan_grace_s
        return warn(
            "keeper",
            f"is alive without a daemon, {who}, with {running} running steps",
            "Start the daemon to go on with them, or end them: `flowd service end-steps`; without either they "
            + (f"are ended after {grace_s:g} s." if grace_s else "go on."),
        )
    if scene.has_daemon:
        return fail(
            "keeper",
            "the daemon runs without a keeper, so it can start nothing",
            f"Look into the daemon's log and {scene.keeper_folder / 'keeper.log'}; restart the daemon.",
        )
    if running:
        return warn(
            "keeper",
            f"it died with {running} running steps, and no daemon has looked after them since",
            "Start the daemon: it finds out what became of them.",
        )
    return ok("keeper", "none, as there is no daemon")


def _version(scene: Scene, running: int) -> Iterator[Finding]:
    about = journal.writer(str(scene.keeper_folder / "keeper.journal"))
    if about.get("code") != identity.code():
        yield warn(
            "keeper.version",
            f"the keeper is of another version of flowd ({about.get('version', 'an earlier one')}),"
            f" with {running} running steps",
            "A daemon of this version replaces it as soon as they have ended. Starts that ask what it cannot keep are "
            "refused until then.",
        )


def _process(scene: Scene) -> ProcessView | None:
    folder = str(scene.keeper_folder)
    for process in all_processes():
        words = process.command_line
        if folder in words and any("flowd.keeper.main" in word for word in words):
            return process
    return None
