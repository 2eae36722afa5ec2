"""The keeper: whether one lives, and what its journal tells."""

from collections.abc import Iterator

import psutil

from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.keeper import journal


def check(scene: Scene) -> Iterator[Finding]:
    """The keeper is never connected to: it would take the doctor for its next daemon."""
    if not scene.keeper_folder.is_dir():
        yield ok("keeper", "none yet")
        return
    attempts, bad_lines = journal.load(str(scene.keeper_folder / "keeper.journal"))
    running = [name for name, facts in attempts.items() if "exit" not in facts]
    yield _life(scene, len(running))
    if bad_lines > 1:  # the last one may be torn by a crash
        yield warn(
            "keeper.journal",
            f"{bad_lines} lines of {scene.keeper_folder / 'keeper.journal'} cannot be read",
            "Exits that they told are lost; look whether the disk is well.",
        )
    else:
        yield ok("keeper.journal", f"{len(running)} running, {len(attempts) - len(running)} ended and not taken over")


def _life(scene: Scene, running: int) -> Finding:
    if scene.has_keeper:
        process = _process(scene)
        who = f"pid {process.pid}" if process else "of unknown pid"
        if process is not None and _is_stopped(process):
            return fail(
                "keeper",
                f"is stopped, {who}: nothing starts, and no end of a step is noticed",
                f"Let it go on: `kill -CONT {process.pid}`.",
            )
        if scene.has_daemon or not running:
            return ok("keeper", f"lives, {who}, with {running} running steps")
        grace_s = scene.settings.orphan_grace_s
        return warn(
            "keeper",
            f"lives without a daemon, {who}, with {running} running steps",
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


def _process(scene: Scene) -> psutil.Process | None:
    folder = str(scene.keeper_folder)
    for process in psutil.process_iter():
        try:
            if folder in process.cmdline() and any("flowd.keeper.main" in word for word in process.cmdline()):
                return process
        except psutil.Error:
            continue
    return None


def _is_stopped(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_STOPPED)
    except psutil.Error:
        return False
