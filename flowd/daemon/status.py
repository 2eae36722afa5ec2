"""The daemon's status, as `flowd.api.shapes.daemon.StatusView` has it."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flowd
from flowd.api.json import instant
from flowd.api.shapes.daemon import AskingView, AttentionView, OutcomesView, RetentionView, StatusView, Stopping
from flowd.api.shapes.queue import pause_view
from flowd.daemon.http import HttpPart
from flowd.daemon.own_service import StepsFate
from flowd.domain import questions, retention
from flowd.domain.watches import WatchState
from flowd.engine.engine import Engine
from flowd.engine.keeping import Keeping
from flowd.observe import logs, own_unit
from flowd.observe.processes import find_process
from flowd.observe.sdnotify import Notifier
from flowd.settings import values as settings_values
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.wiring import Parts
from flowd_client import wire

MAX_RUNNING = 100
"""Of running steps that are listed one by one; the counts have them all."""

MAX_ASKING = 20
"""Of runs that ask, likewise."""


@dataclass(frozen=True, slots=True)
class Birth:
    """When the daemon was started: by the wall clock for records, by the monotonic one for durations."""

    at_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    at_s: float = field(default_factory=time.monotonic)

    @property
    def age_ms(self) -> int:
        """How long ago that was."""
        return round((time.monotonic() - self.at_s) * 1000)


def _manager(notifier: Notifier) -> dict[str, Any] | None:
    """Who manages this daemon; None where it was started by hand."""
    if not settings_values.is_managed(os.environ) or (unit := own_unit.current()) is None:
        return None
    view: dict[str, Any] = {
        "kind": "systemd",
        "scope": unit.scope,
        "unit": unit.name,
        "notify": notifier.is_connected,
    }
    if notifier.watchdog_s is not None:
        view["watchdogMs"] = round(notifier.watchdog_s * 1000)
    return view


async def status_view(
    settings: Settings,
    parts: Parts,
    *,
    birth: Birth,
    socket: Path,
    is_draining: bool,
    stopping: Stopping | None,
    http: HttpPart,
    page: str | None,
    notifier: Notifier,
    fate: StepsFate,
) -> StatusView:
    """The daemon now. Running steps are listed oldest first.

    Args:
        page: Where a page is served that HTTP is not needed for.
        fate: What a stop and a restart of our unit do to running steps.
    """
    engine = parts.engine
    snapshot = engine.snapshot()
    counts = await engine.reads.counts()
    return StatusView(
        version=flowd.__version__,
        protocol=wire.PROTOCOL_VERSION,
        pid=os.getpid(),
        state="draining" if is_draining else "ready",
        stopping=stopping,
        workspace=str(settings.workspace),
        state_dir=str(settings.state_dir),
        socket=str(socket),
        started_at=instant(birth.at_ms),
        uptime_ms=birth.age_ms,
        rss_bytes=_rss_bytes(os.getpid()) or 0,
        keeper=_keeper(parts),
        outdated_keeper=parts.keeper.outdated,
        catalog={
            "flows": len(snapshot.flows),
            "broken": len(snapshot.broken),
            "shadowed": len(snapshot.shadowed),
            "stale": sum(flow.stale for flow in snapshot.flows),
        },
        events=counts.events,
        runs=dict(counts.runs),
        outcomes=OutcomesView(**counts.outcomes, more=list(counts.uncounted)),
        waiting=counts.waiting,
        attention=await _attention(engine),
        pauses=[pause_view(pause) for pause in await engine.pauses.list()],
        waiting_for_storage=engine.waiting_for_storage,
        running=[
            {
                "runId": step.run_id,
                "step": step.label,
                "attempt": step.attempt_number,
                "startedAt": instant(step.started_at_ms),
                **({} if step.pid is None else {"pid": step.pid}),
            }
            for step in engine.under_way()[:MAX_RUNNING]
        ],
        on_stop=settings.on_stop,
        database={**_database(settings.state_dir / state_folder.DATABASE), "freeBytes": counts.free_bytes},
        store=_store(settings),
        limits={
            "maxParallel": engine.max_parallel,
            "maxQueued": settings.max_queued,
            "maxWaiting": settings.max_waiting,
            "maxTreeEvents": settings.max_tree_events,
            "maxPayloadBytes": settings.max_payload_bytes,
            "maxFrameBytes": settings.max_frame_bytes,
            "maxOutputBytes": settings.max_output_bytes,
        },
        retention=_retention(engine.keeping),
        http=http.where,
        page=page,
        manager=_manager(notifier),
        on_service_stop="cancel" if fate.is_canceled_at_stop else None,
        on_service_restart="kill" if fate.is_killed_at_restart else None,
        troubles=_troubles(
            settings,
            fate,
            http=http.problem,
            notices=await engine.notices.problem(),
            watches=engine.watches.states(),
        )
        or None,
    )


def _troubles(
    settings: Settings, fate: StepsFate, *, http: str | None, notices: str | None, watches: Iterable[WatchState]
) -> list[dict[str, str]]:
    """What does not work while the rest does: ``http`` is why HTTP is not served, ``notices`` what was not sent, and
    ``watches`` may have problems."""
    found = {
        "log": logs.trouble(),
        "http": http,
        "settings": settings.closed_sentence,
        "unit": fate.problem,
        "notices": notices,
        **{f"watch {state.watch.label}": state.problem for state in watches},
    }
    return [{"what": what, "problem": problem} for what, problem in found.items() if problem is not None]


async def _attention(engine: Engine) -> AttentionView | None:
    """How many runs ask, and the first few; None where none does."""
    asking = await engine.questions.count()
    if not asking:
        return None
    page = await engine.questions.list(limit=MAX_ASKING)
    return AttentionView(
        asking, [AskingView(one.run.id, instant(one.since_ms), questions.message_of(one.run)) for one in page.items]
    )


def _retention(keeping: Keeping) -> RetentionView | None:
    if not keeping.rules:
        return None
    rules = retention.told(keeping.rules)
    if keeping.last is None:
        return RetentionView(rules)
    forgot = keeping.last.forgot
    return RetentionView(rules, instant(keeping.last.at_ms), forgot.events, forgot.runs)


def _keeper(parts: Parts) -> dict[str, Any]:
    view: dict[str, Any] = {"id": parts.keeper.id, "restarts": parts.keeper.restarts}
    if parts.keeper.pid is not None:
        view["pid"] = parts.keeper.pid
        if (rss_bytes := _rss_bytes(parts.keeper.pid)) is not None:
            view["rssBytes"] = rss_bytes
    return view


def _rss_bytes(pid: int) -> int | None:
    process = find_process(pid)
    return None if process is None else process.rss_bytes


def _store(settings: Settings) -> dict[str, str]:
    where = settings.store
    if where is None:
        return {"kind": "sqlite"}
    return {"kind": "postgresql", "address": where.shown, "schema": where.schema}


def _database(path: Path) -> dict[str, Any]:
    view: dict[str, Any] = {}
    for name, file in (("bytes", path), ("walBytes", path.with_name(f"{path.name}-wal"))):
        with suppress(OSError):
            view[name] = file.stat().st_size
    return view
