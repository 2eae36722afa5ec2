"""The daemon's life: open, serve until told to stop, stop."""

import asyncio
import faulthandler
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import flowd
from flowd import wiring
from flowd.api import unix_socket
from flowd.api.dispatcher import Dispatcher
from flowd.api.http.config import HttpConfig
from flowd.api.http.tally import total
from flowd.api.methods import Methods
from flowd.api.metrics.family import Measured
from flowd.api.shapes.catalog import ReloadedSettingsView
from flowd.api.shapes.daemon import Drain, DrainView, PageView, Status, StatusView, Stopping
from flowd.api.subscriptions import Subscriptions
from flowd.api.unix_socket import UnixServer
from flowd.daemon import garbage, signals, surroundings
from flowd.daemon.exits import EXIT_KEEPER_LOST, EXIT_OK, EXIT_STORAGE_FAILED
from flowd.daemon.guard import SHARED_MEMORY, GuardedSocket, until_state_is_lost
from flowd.daemon.http import HttpPart
from flowd.daemon.metrics import Metrics, metrics_view
from flowd.daemon.own_service import OwnService
from flowd.daemon.page import PrivatePage, Served, serve
from flowd.daemon.reloading import changes_of, settings_anew
from flowd.daemon.shutdown import on_this_stop, what_a_stop_does, wind_down
from flowd.daemon.status import Birth, status_view
from flowd.domain.errors import FlowdError, StateError, StorageFailedError
from flowd.domain.launching import KeeperLostError
from flowd.domain.people import Person
from flowd.domain.redaction import Redactor
from flowd.engine.scheduler import TASK_PREFIX
from flowd.executors.direct.launcher import environment_without
from flowd.keeper.peer import peer_uid
from flowd.observe import listenfds, stream
from flowd.observe.sdnotify import Notifier
from flowd.settings.values import Settings
from flowd.state import folder as state_folder
from flowd.state import sockets

log = logging.getLogger("flowd.daemon")

_HANG_S = 3600.0

_SETTLE_S = 5.0
"""So long a stop waits for notices of what has just ended."""


class Daemon:
    """One workspace's daemon."""

    def __init__(self, settings: Settings, redactor: Redactor, read_settings: Callable[[], Settings]) -> None:
        """``read_settings`` reads them anew, for a reload."""
        self._settings = settings
        self._read_settings = read_settings
        self._redactor = redactor
        self._step_open_files = surroundings.raise_open_files()
        self._birth = Birth()
        self._had_terminal = sys.stderr.isatty()
        # nohup says that a closed terminal is no reason to stop.
        self._ends_with_terminal = surroundings.has_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
        self._stops = 0
        self._stop_asked = asyncio.Event()
        self._exit_code = EXIT_OK
        self._is_stopping = False
        self._on_stop = settings.on_stop
        self._own_service = OwnService(settings)
        self._http = HttpPart(settings.http, settings.state_dir)
        self._is_state_lost = False
        self._notifier = Notifier.of(os.environ)

    async def run(self) -> int:
        """Open, serve, stop. Every step under way is left to the keeper if the disk fails."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signals.call_at(number, self._ask_to_stop, number)
        if self._notifier.watchdog_s is not None:
            faulthandler.enable()  # the watchdog's SIGABRT then leaves word in the log of where the loop is stuck
        if "FLOWD_DEBUG_HANG" in os.environ:  # for tests of the watchdog
            signals.call_at(signal.SIGUSR2, time.sleep, _HANG_S)
        passed = listenfds.control_socket(os.environ)
        if passed is not None:
            listener, self._socket = passed, Path(passed.getsockname())
            sockets.point_to(self._socket, self._settings.workspace)
            self._guarded = GuardedSocket(self._socket, wanted=None)
        else:
            self._socket = sockets.socket_path(self._settings.socket)
            # Before anything else: a daemon that nobody can reach takes up no runs.
            listener = sockets.bind(self._socket)
            self._guarded = GuardedSocket(self._socket, wanted=self._settings.socket)
        self._http.listen()
        try:
            await self._serve(listener)
        finally:
            listener.close()
            self._http.close()
            if self._guarded.is_ours:
                self._socket.unlink(missing_ok=True)
        return self._exit_code

    async def _serve(self, listener: socket.socket) -> None:
        try:
            self._parts = await wiring.build(
                self._settings,
                environ=os.environ,
                on_storage_failure=self._fail,
                on_keeper_lost=self._lose_keeper,
                socket_path=self._socket,
                redactor=self._redactor,
                step_open_files=self._step_open_files,
            )
        except OSError as error:
            raise state_folder.unusable(self._settings.state_dir, error) from error
        except KeeperLostError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            raise StateError(str(error)) from error
        end_steps = False
        try:
            async with AsyncExitStack() as stack:
                tasks = await stack.enter_async_context(asyncio.TaskGroup())
                self._parts.engine.notices.use(wiring.notifiers(self._settings, os.environ))
                await self._parts.engine.open(tasks)
                self._private_page = PrivatePage(
                    stack, self._http_server, max_payload_bytes=self._settings.max_payload_bytes
                )
                self._parts.engine.notices.page = self._page_address
                server = await self._listen(listener)
                self._guarded.listen_anew = server.listen_anew
                stack.push_async_callback(server.close)
                end_http_trying = await self._http.open(tasks, stack, self._http_server)
                guard = tasks.create_task(self._guard_state(), name="guard state")
                signals.call_at(signal.SIGHUP, self._hang_up, tasks)
                self._tell_ready()
                garbage.settle()
                beat = tasks.create_task(self._notifier.beat(self._summary), name="beat")
                lag = tasks.create_task(self._metrics.watch_loop(), name="loop lag")
                await self._stop_asked.wait()
                end_steps = await self._wind_down()
                if self._exit_code == EXIT_OK:
                    await self._parts.engine.notices.settle(bound_s=_SETTLE_S)
                await server.close()
                for task in (guard, beat, lag):
                    task.cancel()
                end_http_trying()
                # Runs that go on without us, or wait for storage: whoever supervises them lets go, and the next daemon
                # takes them up.
                _cancel_others()
        finally:
            await self._parts.close(end_steps=end_steps)

    # --- opening -----------------------------------------------------------------------------------------------------

    async def _listen(self, listener: socket.socket) -> UnixServer:
        self._methods = Methods(
            self._parts.engine,
            status=self._status,
            drain=self._drain,
            reload_settings=self._reload_settings,
            open_page=self._open_page,
        )
        subscriptions = Subscriptions(self._parts.feed, self._parts.engine.snapshot)
        server = UnixServer(
            listener,
            Dispatcher(self._methods.table),
            max_frame_bytes=self._settings.max_frame_bytes,
            peer_uid=peer_uid if "peercred" not in environment_without() else unix_socket.unknown_uid,
            subscriptions=subscriptions,
        )
        http = (self._http, self._private_page)
        self._metrics = Metrics(self._parts, server, subscriptions, http=lambda: total(one.figures for one in http))
        await server.open()
        return server

    def _http_server(self, config: HttpConfig, listener: socket.socket) -> Served:
        return serve(
            config,
            listener,
            self._parts,
            self._methods.table,
            is_ready=lambda: not self._is_draining,
            measure=self._measure,
            secrets=lambda: self._settings.secrets,
        )

    def _page_address(self) -> str | None:
        served = self._http.page or self._private_page.page
        return None if served is None else served.address

    async def _open_page(self, by: Person) -> PageView:
        served = self._http.page
        if served is not None:
            return await served.link(by, until_stop=False)
        return await (await self._private_page.open()).link(by, until_stop=True)

    def _tell_ready(self) -> None:
        snapshot = self._parts.engine.snapshot()
        log.info(
            "ready",
            extra={
                "version": flowd.__version__,
                "workspace": str(self._settings.workspace),
                "socket": str(self._socket),
                "flows": len(snapshot.flows),
                "broken": len(snapshot.broken),
                "startup_ms": self._birth.age_ms,
            },
        )
        for package in snapshot.broken:
            log.warning("broken package", extra={"package": package.name, "problem": package.sentence()})
        self._notifier.ready(self._summary())

    def _summary(self) -> str:
        """One line for ``systemctl status``."""
        engine = self._parts.engine
        flows = len(engine.snapshot().flows)
        state = "draining" if self._is_draining else "ready"
        summary = f"{state}: {len(engine.active)} running, {engine.waiting} queued, {flows} flows"
        waiting = engine.waiting_for_storage
        return f"{summary}; {waiting} wait for storage" if waiting else summary

    # --- stopping ----------------------------------------------------------------------------------------------------

    def _ask_to_stop(self, number: int) -> None:
        if number == signal.SIGINT and self._had_terminal and stream.is_writable(sys.stderr):
            sys.stderr.write("\r\033[K")  # the ^C that the terminal has just drawn
        self._stops += 1
        self._stop_asked.set()

    def _fail(self, failure: StorageFailedError) -> None:
        log.critical("storage failed", extra={"problem": failure.message})
        self._exit_code = EXIT_STORAGE_FAILED
        self._stop_asked.set()

    async def _guard_state(self) -> None:
        """Stop when somebody removes or replaces the state."""
        lost = await until_state_is_lost(
            self._settings.state_dir,
            look=[self._parts.restore, self._guarded.check, self._http.check],
        )
        self._is_state_lost = lost.name != SHARED_MEMORY
        what = "ends its steps and stops" if self._is_state_lost else "stops; the next one goes on with its steps"
        self._fail(
            StorageFailedError(f"{lost} was removed, emptied or replaced while the daemon used it; the daemon {what}.")
        )

    def _lose_keeper(self, loss: KeeperLostError) -> None:
        # A daemon that accepts and can start nothing is worse than one that its supervisor starts anew.
        log.critical("keeper lost", extra={"problem": str(loss)})
        self._exit_code = self._exit_code or EXIT_KEEPER_LOST
        self._stop_asked.set()

    async def _wind_down(self) -> bool:
        """Drain, then do with what still runs as ``on_stop`` says. A second signal cancels it, a third kills it.

        Returns:
            Whether nothing runs any more; False leaves the rest to the keeper.
        """
        engine = self._parts.engine
        engine.wind_down()
        self._is_stopping = True
        if self._exit_code != EXIT_OK:
            # What runs is not always active any more: some of it could not be written down. The next daemon finds it by
            # the keeper's folder, if that is still there.
            return self._is_state_lost
        self._notifier.stopping(self._summary())
        self._on_stop = on_stop = await on_this_stop(self._settings)
        log.info("stopping", extra={"on_stop": on_stop, "running": len(engine.active)})
        is_done = await wind_down(
            engine,
            on_stop,
            wishes=lambda: self._stops,
            has_failed=lambda: self._exit_code != EXIT_OK,
            tick=lambda: self._notifier.extend(self._summary()),
        )
        with suppress(FlowdError):
            queued = (await engine.reads.counts()).runs["queued"]
            log.info("stopped", extra={"left_running": len(engine.active), "left_queued": queued})
        return is_done

    # --- answering ---------------------------------------------------------------------------------------------------

    async def _reload(self) -> None:
        self._notifier.reloading()
        before = self._parts.engine.snapshot()
        try:
            self._reload_settings()
            after = await self._parts.engine.reload()
        except Exception:
            log.exception("reload failed")  # what was in force stays in force
            return
        finally:
            self._notifier.ready(self._summary())
        log.info(
            "reloaded", extra={"flows": len(after.flows), "broken": len(after.broken), **changes_of(before, after)}
        )

    def _reload_settings(self) -> ReloadedSettingsView | None:
        notifiers = self._settings.notifiers
        self._settings, told = settings_anew(self._settings, self._read_settings, take_http=self._http.take)
        self._parts.engine.keeping.take(self._settings.retention)
        if self._settings.notifiers != notifiers:
            self._parts.engine.notices.use(wiring.notifiers(self._settings, os.environ))
        return told

    def _hang_up(self, tasks: asyncio.TaskGroup) -> None:
        """SIGHUP: look at the packages, unless it says that the terminal we were started in was closed."""
        if self._ends_with_terminal and not surroundings.has_terminal():
            self._ask_to_stop(signal.SIGHUP)
        else:
            tasks.create_task(self._reload())

    @property
    def _is_draining(self) -> bool:
        return self._is_stopping or self._parts.engine.is_draining

    @property
    def _stopping(self) -> Stopping | None:
        return what_a_stop_does(self._on_stop, self._stops) if self._stop_asked.is_set() else None

    async def _drain(self, asked: Drain) -> DrainView:
        engine = self._parts.engine
        if asked.off:
            await engine.undrain()
        else:
            engine.drain()
        log.info("drain ended" if asked.off else "draining")
        return DrainView(
            state="draining" if engine.is_draining else "ready",
            running=list(engine.active),
            stopping=self._stopping,
        )

    async def _measure(self) -> list[Measured]:
        return await self._metrics.measure(await self._status(Status()))

    async def _status(self, asked: Status) -> StatusView:
        view = await status_view(
            self._settings,
            self._parts,
            birth=self._birth,
            socket=self._socket,
            is_draining=self._is_draining,
            stopping=self._stopping,
            http=self._http,
            page=self._private_page.where,
            notifier=self._notifier,
            fate=await self._own_service.fate(),
        )
        if asked.settings:
            view.settings = list(self._settings.table)
        if asked.metrics:
            view.metrics = await metrics_view(await self._metrics.measure(view))
        return view


def _cancel_others() -> None:
    current = asyncio.current_task()
    for task in asyncio.all_tasks():
        if task is not current and task.get_name().startswith(TASK_PREFIX):
            task.cancel()
