"""Ends the steps of a daemon that is gone: `flowd service end-steps`, also called by a unit's ``ExecStopPost=``."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from flowd.domain.errors import FlowdError, StateError
from flowd.executors.systemd.pending_job import pending_job
from flowd.keeper import journal
from flowd.keeper.capabilities import boot_id
from flowd.observe.own_unit import default_scope
from flowd.service import parents
from flowd.settings import sources as settings_sources
from flowd.settings.values import DEFAULT_WHERE_MANAGED, Settings
from flowd.state import folder as state_folder
from flowd.state import place, trust
from flowd.state.lock import is_locked
from flowd_client import discovery

log = logging.getLogger("flowd.units")

_BOUND_S = 80.0
"""Less than the 90 s of ``TimeoutStopSec=``, so that a manager never has to kill us."""


def is_called_by_unit(environ: Mapping[str, str]) -> bool:
    """Whether a unit's ``ExecStopPost=`` runs this process, not a person (systemd.exec(5))."""
    return "SERVICE_RESULT" in environ


def left_running(*, workspace: Path, environ: Mapping[str, str]) -> int:
    """How many steps run without a daemon; 0 where there is a daemon.

    Raises:
        OSError: We may not look into the state folder.
    """
    settings = _settings(workspace, environ)
    root = settings.state_dir if settings else _state_dir(workspace, environ)
    folder = root / state_folder.KEEPER
    if is_locked(root / state_folder.LOCK) or place.foreign_origin(root) is not None:
        return 0
    count = sum(json.loads(path.read_bytes()).get("exit") is None for path in (folder / "units").glob("*.note"))
    if is_locked(folder / "keeper.lock"):
        attempts, _ = journal.load(str(folder / "keeper.journal"))
        count += sum("exit" not in facts for facts in attempts.values())
    return count


async def end_steps(*, workspace: Path | None, environ: Mapping[str, str], is_asked: bool) -> int:
    """End the steps that a daemon has left running, if our unit is being stopped and the settings do not keep them.

    With settings that cannot be used, steps are ended as well: the state folder is looked for where clients look.

    Args:
        workspace: As given on the command line; None finds the enclosing one.
        is_asked: A person asks: whatever our unit does, and whatever ``on_stop`` says.

    Returns:
        How many were running.

    Raises:
        StateError: Somebody else could have put the state there; a person asks although a daemon runs; we may not look
            into the state; or the keeper does not answer.
    """
    settings = _settings(workspace, environ)
    root = settings.state_dir if settings else _state_dir(workspace, environ)
    parents.refuse_in_unit(root, environ)
    if is_asked:
        _refuse_beside_daemon(root)
    else:
        is_kept = (
            settings is not None
            and settings.on_stop == "keep"
            and settings.origins.get("on_stop") != DEFAULT_WHERE_MANAGED
        )
        if is_kept or await pending_job(environ) != "stop":
            return 0
    if (origin := place.foreign_origin(root)) is not None:
        log.warning("no steps of this workspace run: its state is another's", extra={"because": origin})
        return 0
    folder = root / state_folder.KEEPER
    count = await _end_keepers_steps(root, folder) if _is_locked(folder / "keeper.lock") else 0
    if any((folder / "units").glob("*.note")):  # steps may be of another executor than the one that is set now
        from flowd.executors.systemd import end_steps as systemd_steps  # noqa: PLC0415 - takes 40 ms, and few need it

        count += await systemd_steps.end_steps(
            folder, scope=default_scope(), boot_id=boot_id(), environ=environ, bound_s=_BOUND_S
        )
    return count


async def _end_keepers_steps(root: Path, folder: Path) -> int:
    # A third of what this program imports: it runs at each stop of a service, mostly with no keeper left.
    from flowd.domain.launching import KeeperLostError  # noqa: PLC0415
    from flowd.executors.direct import end_steps as direct_steps  # noqa: PLC0415

    try:
        return await direct_steps.end_steps(folder, bound_s=_BOUND_S)
    except KeeperLostError as error:
        raise StateError(
            f"The keeper of {root} does not answer, so its steps go on. `flowd doctor` says more."
        ) from error


def _refuse_beside_daemon(root: Path) -> None:
    if _is_locked(root / state_folder.LOCK):
        raise StateError(
            f"A daemon serves this workspace: its state is in {root}. `flowd cancel` ends its steps one by one."
        )


def _is_locked(path: Path) -> bool:
    try:
        return is_locked(path)
    except OSError as error:
        raise StateError(f"Cannot look into {path.parent} ({error.strerror}). Try again as root, with sudo.") from error


def _settings(workspace: Path | None, environ: Mapping[str, str]) -> Settings | None:
    """The settings; None where they cannot be used. Without credentials, which systemd gives to the daemon alone."""
    own_environ = {name: value for name, value in environ.items() if name != "CREDENTIALS_DIRECTORY"}
    is_vouched = is_called_by_unit(environ) or (workspace is not None and trust.is_service_of_root(workspace))
    try:
        return settings_sources.load(workspace=workspace, environ=own_environ, is_vouched=is_vouched)
    except trust.UntrustedError:
        raise
    except FlowdError as error:
        if is_called_by_unit(environ):
            log.warning("cannot use the settings; looking for steps without them", extra={"error": error.message})
        return None


def _state_dir(workspace: Path | None, environ: Mapping[str, str]) -> Path:
    if said := environ.get("FLOWD_STATE_DIR"):
        return Path(said)
    return discovery.state_dir((workspace or discovery.find_workspace()).resolve())
