"""Talks to a systemd manager over D-Bus. The one owner of `dbus_fast`; everything else uses `Manager`."""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.errors import DBusError

from flowd.domain.errors import NotYetError
from flowd.observe.own_unit import Scope

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_UNIT = "org.freedesktop.systemd1.Unit"
_SERVICE = "org.freedesktop.systemd1.Service"
_JOB = "org.freedesktop.systemd1.Job"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_CONNECT_WITHIN_S = 10.0
_CALL_WITHIN_S = 30.0
_RETRY_INTERVAL_S = 0.25

NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
_NOT_REFERENCED = "org.freedesktop.systemd1.NotReferenced"
UNIT_EXISTS = "org.freedesktop.systemd1.UnitExists"
SHUTTING_DOWN = "org.freedesktop.systemd1.TransactionIsDestructive"
"""Of a start: it would undo the stops of a reboot or logout, the only ones that systemd does not let be undone."""
_BUS_CANNOT_REACH = frozenset(
    f"org.freedesktop.DBus.Error.{name}" for name in ("Disconnected", "NameHasNoOwner", "NoReply", "ServiceUnknown")
)
_BUS_CANNOT_START = "org.freedesktop.DBus.Error.Spawn."
"""Errors of the bus for a systemd that has left it, as at a logout a moment before the bus goes as well."""


class BusError(Exception):
    """The manager refused a call, or the bus did. ``name`` is the D-Bus error's."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{message} ({name})" if message else name)
        self.name = name

    @property
    def is_lost(self) -> bool:
        """Whether systemd did not answer, and may have done what it was asked; else it has refused."""
        return self.name.startswith(("flowd.", _BUS_CANNOT_START)) or self.name in _BUS_CANNOT_REACH


def variant(signature: str, value: Any) -> Variant:
    """A typed value for a unit's property."""
    return Variant(signature, value)


def address_of(scope: Scope, environ: Mapping[str, str] = os.environ) -> str:
    """The bus's address. A user's is where logind puts it even if the environment does not say so.

    Services of the system manager, cron jobs and ``su`` shells lack ``XDG_RUNTIME_DIR``; the bus is there all the same
    while the user lingers or is logged in.
    """
    if scope == "system":
        return environ.get("DBUS_SYSTEM_BUS_ADDRESS") or "unix:path=/run/dbus/system_bus_socket"
    home = f"/run/user/{os.geteuid()}/bus"
    if Path(home).exists():
        return f"unix:path={home}"
    runtime = environ.get("XDG_RUNTIME_DIR")
    return environ.get("DBUS_SESSION_BUS_ADDRESS") or (f"unix:path={runtime}/bus" if runtime else f"unix:path={home}")


def unit_path(name: str) -> str:
    """A unit's object on the bus.

    >>> unit_path("a-1.service")
    '/org/freedesktop/systemd1/unit/a_2d1_2eservice'
    """
    letters = (
        chr(byte) if chr(byte).isalnum() and byte < 128 and (index or not chr(byte).isdigit()) else f"_{byte:02x}"
        for index, byte in enumerate(name.encode())
    )
    return f"{_PATH}/unit/{''.join(letters)}"


class Manager:
    """A connection to one systemd manager."""

    def __init__(self, bus: MessageBus, scope: Scope) -> None:
        self._bus = bus
        self.scope = scope
        self._loss = asyncio.get_running_loop().create_task(self._until_lost(), name="systemd's bus")

    @classmethod
    async def connect(
        cls, scope: Scope, environ: Mapping[str, str] = os.environ, *, patience_s: float = 0.0
    ) -> "Manager":
        """Connect, and check that systemd answers.

        Args:
            patience_s: How long to go on trying. At boot, users' managers come up while services start.

        Raises:
            NotYetError: There is no such bus, or no systemd on it; the message has the remedy.
        """
        deadline = asyncio.get_running_loop().time() + patience_s
        while True:
            try:
                return await cls._connect(scope, environ)
            except NotYetError:
                if asyncio.get_running_loop().time() >= deadline:
                    raise
            await asyncio.sleep(_RETRY_INTERVAL_S)

    @classmethod
    async def _connect(cls, scope: Scope, environ: Mapping[str, str]) -> "Manager":
        address = address_of(scope, environ)
        bus = MessageBus(bus_address=address, bus_type=BusType.SYSTEM if scope == "system" else BusType.SESSION)
        try:
            async with asyncio.timeout(_CONNECT_WITHIN_S):
                await bus.connect()
                manager = cls(bus, scope)
                await manager.get(_PATH, _MANAGER, "Version")
        except (OSError, TimeoutError, EOFError, DBusError, BusError, ValueError) as error:
            bus.disconnect()
            raise NotYetError(_no_bus(scope, address, error)) from error
        return manager

    async def __aenter__(self) -> "Manager":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Disconnect. Units go on."""
        self._bus.disconnect()
        await asyncio.wait([self._loss], timeout=1.0)
        self._loss.cancel()

    async def wait_for_loss(self) -> None:
        """Return when the connection is lost: the bus has gone, or `close` was called."""
        await asyncio.wait([self._loss])  # of which a cancelled waiter cancels nothing

    async def _until_lost(self) -> None:
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except (OSError, EOFError):
            pass

    # --- units

    async def start_transient(self, name: str, properties: Sequence[tuple[str, Variant]]) -> None:
        """Make a unit that lives in memory only, and queue its start.

        Raises:
            BusError: It was refused; ``UNIT_EXISTS`` where one of that name is loaded.
        """
        body = [name, "fail", [[key, value] for key, value in properties], []]
        await self.call(_PATH, _MANAGER, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)

    async def stop(self, name: str) -> None:
        """Queue a unit's stop. A unit that is not loaded is left alone."""
        await self._on_unit("StopUnit", "ss", name, "replace")

    async def kill(self, name: str, signal_number: int) -> None:
        """Signal everything in a unit's cgroup. A unit that is not loaded is left alone."""
        await self._on_unit("KillUnit", "ssi", name, "all", signal_number)

    async def reset_failed(self, name: str) -> None:
        """Have a failed unit forgotten. A unit that is not loaded is left alone."""
        await self._on_unit("ResetFailedUnit", "s", name)

    async def unit_path(self, name: str) -> str:
        """The object of a unit, loaded or not: what is not loaded says so in ``LoadState``."""
        return str((await self.call(_PATH, _MANAGER, "LoadUnit", "s", [name]))[0])

    async def ref(self, name: str) -> None:
        """Keep a unit loaded for as long as we are connected. A unit that is not loaded is left alone."""
        await self._on_unit("RefUnit", "s", name)

    async def unref(self, name: str) -> None:
        """Undo `ref`. A unit that is not loaded, or was not referenced, is left alone."""
        try:
            await self._on_unit("UnrefUnit", "s", name)
        except BusError as error:
            if error.name != _NOT_REFERENCED:
                raise

    async def manager_property(self, name: str) -> Any:
        """A property of the manager itself."""
        return await self.get(_PATH, _MANAGER, name)

    async def describe_at(self, path: str) -> dict[str, Any]:
        """All properties of a service, by its object path. A unit that is not loaded says so in ``LoadState``."""
        unit, service = await asyncio.gather(self.get_all(path, _UNIT), self.get_all(path, _SERVICE))
        return {**service, **unit}

    async def job_type(self, name: str) -> str | None:
        """What a unit's pending job is for (``stop``, ``restart``, ``start`` …); None when there is none."""
        job_id, job_path = await self.get(await self.unit_path(name), _UNIT, "Job")
        if not job_id:
            return None
        try:
            return str(await self.get(job_path, _JOB, "JobType"))
        except BusError:
            return None  # it has been done meanwhile

    async def watch(self, on_changed: Callable[[str], None]) -> None:
        """Call back with the object path of every unit whose properties change, from now on."""

        def handle(message: Message) -> None:
            if message.message_type is MessageType.SIGNAL and message.member == "PropertiesChanged":
                on_changed(str(message.path))

        self._bus.add_message_handler(handle)
        rule = f"type='signal',interface='{_PROPERTIES}',member='PropertiesChanged',path_namespace='{_PATH}/unit'"
        await self._send(
            Message(
                destination="org.freedesktop.DBus",
                path="/org/freedesktop/DBus",
                interface="org.freedesktop.DBus",
                member="AddMatch",
                signature="s",
                body=[rule],
            )
        )
        await self.call(_PATH, _MANAGER, "Subscribe", "", [])

    # --- plain D-Bus

    async def get(self, path: str, interface: str, name: str) -> Any:
        """One property."""
        body = await self.call(path, _PROPERTIES, "Get", "ss", [interface, name])
        return body[0].value

    async def get_all(self, path: str, interface: str) -> dict[str, Any]:
        """All properties of an interface."""
        body = await self.call(path, _PROPERTIES, "GetAll", "s", [interface])
        return {name: value.value for name, value in body[0].items()}

    async def call(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> list[Any]:
        """Call systemd.

        Raises:
            BusError: It answered with an error, or the connection is lost.
        """
        return await self._send(
            Message(destination=_NAME, path=path, interface=interface, member=member, signature=signature, body=body)
        )

    async def _send(self, message: Message) -> list[Any]:
        try:
            async with asyncio.timeout(_CALL_WITHIN_S):
                reply = await self._bus.call(message)
        except TimeoutError as error:
            raise BusError(
                "flowd.Timeout", f"systemd did not answer {message.member} within {_CALL_WITHIN_S:.0f} s"
            ) from error
        except (OSError, EOFError, DBusError) as error:
            raise BusError("flowd.Lost", f"the connection to systemd was lost: {error}") from error
        if reply.message_type is MessageType.ERROR:
            text = str(reply.body[0]) if reply.body else ""
            raise BusError(str(reply.error_name), text)
        return list(reply.body)

    async def _on_unit(self, member: str, signature: str, *body: Any) -> None:
        try:
            await self.call(_PATH, _MANAGER, member, signature, list(body))
        except BusError as error:
            if error.name != NO_SUCH_UNIT:
                raise


def _no_bus(scope: Scope, address: str, error: Exception) -> str:
    why = str(error) or type(error).__name__
    if scope == "user":
        name = os.environ.get("USER") or str(os.geteuid())
        remedy = (
            f"Let your user manager run without a login (loginctl enable-linger {name}), install dbus-user-session "
            'if it is missing, or set executor = "direct"'
        )
    else:
        remedy = 'Start systemd and dbus on this machine, or set executor = "direct"'
    return f"There is no systemd {scope} manager to start steps with at {address}: {why}. {remedy}."
