"""Stores for tests: every kind of them behind its port, and the few calls that most tests make of one."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import postgres_rig

from flowd.domain import retention
from flowd.domain.definition import Definition
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import Claim, Claimed, NewRun, StartedRun
from flowd.domain.result import FlowResult
from flowd.domain.retention import Cutoff
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.domain.stored import NewEvent, Pruned
from flowd.ports import OpenStore
from flowd.store.sqlite.store import SqliteStore

STEP = Definition("flow", 1, "/flow", "sha256:0", "step", "exec", "run.sh", 1000, 100)
DONE = Outcome(ProcessStatus.COMPLETED, result=FlowResult("changed", '{"status":"changed"}'), exit_code=0)
FAILED = Outcome(ProcessStatus.FAILED, Reason.EXIT, "exited with 1", exit_code=1)

Opener = Callable[[Path, int, int], OpenStore]
"""Opens the store whose state is in a folder; the numbers are ``max_queued`` and ``max_waiting``. To be called in a
running loop."""


def _open_postgres(folder: Path, max_queued: int, max_waiting: int) -> OpenStore:
    from flowd.store.postgres.address import Address  # noqa: PLC0415 - not every machine has its driver
    from flowd.store.postgres.store import PostgresStore  # noqa: PLC0415

    url = postgres_rig.DATABASE.address(folder)
    return PostgresStore(Address(url, url, "flowd"), max_queued=max_queued, max_waiting=max_waiting)


OPENERS: dict[str, Opener] = {
    "sqlite": lambda folder, max_queued, max_waiting: SqliteStore(
        folder / "flowd.db", max_queued=max_queued, max_waiting=max_waiting
    ),
    "postgres": _open_postgres,
}
"""Every kind of store there is."""


class Stores:
    """Opens stores of one kind on one folder, again and again."""

    def __init__(self, opener: Opener, folder: Path) -> None:
        self._opener = opener
        self._folder = folder

    def use(
        self, use: Callable[[OpenStore], Awaitable[None]], *, max_queued: int = 1000, max_waiting: int = 10_000
    ) -> None:
        """Open it, let it be used, close it."""

        async def run() -> None:
            store = self._opener(self._folder, max_queued, max_waiting)
            try:
                await use(store)
            finally:
                await store.close()

        asyncio.run(run())


def new_event(event_id: str, *, kind: str = "t", fingerprint: bytes = b"0") -> NewEvent:
    """An event to accept."""
    return NewEvent(event_id, kind, None, None, "2026-01-01T00:00:00.000Z", b'{"payload":{}}', fingerprint)


def claim(
    limit: int = 1,
    *,
    at_ms: int = 2,
    steady_ms: int | None = None,
    definition_of: Callable[[str, str], Definition | None] = lambda *_: STEP,
) -> Claim:
    """A claim; the steady clock goes with the wall clock unless told otherwise."""
    return Claim(limit, "keeper", "boot", definition_of, at_ms, at_ms if steady_ms is None else steady_ms)


async def accept(store: OpenStore, name: str, *, kind: str = "t") -> str:
    """Accept ``event-<name>`` with one run, whose id is returned."""
    await store.accept(new_event(f"event-{name}", kind=kind), [NewRun(f"run-{name}", STEP)], at_ms=1)
    return f"run-{name}"


async def begin(store: OpenStore, run_id: str | None = None) -> StartedRun:
    """Claim the next run, which must be this one if it is named."""
    (started,) = (await store.claim(claim())).started
    assert run_id in (None, started.run.id)
    return started


async def run_of(store: OpenStore, run_id: str) -> Run:
    """A run that is there."""
    run = await store.run(run_id)
    assert run is not None
    return run


def committed(store: OpenStore) -> int:
    """How many commits there were."""
    return store.tallies.commit_s.up_to()[-1]


def ids(claimed: Claimed) -> list[str]:
    """Of the runs that were claimed."""
    return [started.run.id for started in claimed.started]


async def forget_before(
    store: OpenStore,
    before_ms: int,
    *,
    dry_run: bool = False,
    remove_output: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Forget all that ended before an instant."""
    return await forget(store, retention.before(before_ms), dry_run=dry_run, remove_output=remove_output)


async def forget(
    store: OpenStore,
    cutoffs: Sequence[Cutoff],
    *,
    dry_run: bool = False,
    remove_output: Callable[[str], None] = lambda _: None,
) -> Pruned:
    """Forget all that is beyond these."""
    done = Pruned()
    after_seq: int | None = -(1 << 62)
    while after_seq is not None:
        old = await store.old_events(cutoffs, after_seq=after_seq)
        done += await store.prune(old.seqs, cutoffs, dry_run=dry_run, remove_output=remove_output)
        after_seq = old.next_seq
    return done
