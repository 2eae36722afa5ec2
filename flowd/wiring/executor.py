"""The executor that the settings choose."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowd.domain.errors import StateError
from flowd.domain.launching import KeeperLostError
from flowd.executors.direct.executor import DirectExecutor
from flowd.keeper.capabilities import boot_id
from flowd.keeper.journal import load as load_journal
from flowd.observe.own_unit import default_scope
from flowd.ports import Keeper
from flowd.settings.values import Settings
from flowd.state import folder as state_folder

_OTHER_EXECUTOR = (
    'The executor "{other}" still has steps in this workspace. Start flowd once with executor = "{other}" and let them '
    "end, or end them: `flowd service end-steps`, then start it once so."
)


class StepKeeper(Keeper, Protocol):
    """A keeper with a life of its own."""

    @property
    def restarts(self) -> int:
        """How often another process of it has taken the place of one that died."""
        ...

    @property
    def outdated(self) -> dict[str, Any] | None:
        """About a process of another version of flowd that still runs steps; None where it is ours."""
        ...

    async def open(self) -> None:
        """Take up what an earlier daemon left."""
        ...

    def restore(self) -> None:
        """Make again what somebody has removed of its files, so that the next daemon finds what runs. Cheap."""
        ...

    async def close(self, *, end_steps: bool) -> None:
        """Let go of steps, or end them."""
        ...


def refuse_other_executor(settings: Settings) -> None:
    """Raise where the executor that the settings do not choose has steps that run, or ends that nobody has recorded.

    Raises:
        StateError: It has.
    """
    folder = settings.state_dir / state_folder.KEEPER
    if settings.executor == "systemd":
        if load_journal(str(folder / "keeper.journal"))[0]:
            raise StateError(_OTHER_EXECUTOR.format(other="direct"))
    elif any((folder / "units").glob("*.note")):
        raise StateError(_OTHER_EXECUTOR.format(other="systemd"))


def build_keeper(
    settings: Settings,
    *,
    base_env: Mapping[str, str],
    environ: Mapping[str, str],
    on_lost: Callable[[KeeperLostError], None] | None = None,
    step_open_files: int | None = None,
) -> StepKeeper:
    """The executor that the settings choose; see `build` for the arguments.

    Raises:
        StateError: The other one has steps that run, or ends that nobody has recorded: this one would not know them,
            and they would be started a second time.
    """
    folder = settings.state_dir / state_folder.KEEPER
    refuse_other_executor(settings)
    if settings.executor == "systemd":
        from flowd.executors.systemd.executor import SystemdExecutor  # noqa: PLC0415 - takes 40 ms

        return SystemdExecutor(
            folder, base_env=base_env, scope=default_scope(), boot_id=boot_id(), environ=environ, on_lost=on_lost
        )
    return DirectExecutor(
        folder,
        base_env=base_env,
        orphan_grace_s=settings.orphan_grace_s,
        on_lost=on_lost,
        cgroup=settings.cgroup,
        step_open_files=step_open_files,
    )
