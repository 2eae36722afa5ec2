"""What errors of PostgreSQL mean to callers, and to whoever starts a daemon."""

import psycopg

from flowd.domain.errors import (
    NotYetError,
    RefusedError,
    StateError,
    StorageBusyError,
    StorageFailedError,
    StorageFullError,
)
from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import READ_ONLY, InDoubtError, LostError

_DISK_FULL, _LOCK_WAITED_FOR, _NO_RIGHT = "53100", "55P03", "42501"
_DAMAGED = {"XX001", "XX002"}
_ABOUT_STORAGE = {_DISK_FULL, _LOCK_WAITED_FOR, READ_ONLY, _NO_RIGHT, "25P03", "40001", "40P01", *_DAMAGED}
_CLASSES = {"08", "53", "57", "58"}
"""The connection, resources, an operator's intervention, the server's own system."""

_BAD_PASSWORD = {"28P01", "28000"}
_NO_DATABASE = "3D000"


def is_about_storage(error: Exception) -> bool:
    """Whether the database or its server is at fault, and not the statement that was executed."""
    if not isinstance(error, psycopg.Error):
        return False
    if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
        return True  # the connection
    return error.sqlstate in _ABOUT_STORAGE or (error.sqlstate or "")[:2] in _CLASSES


def may_repeat(error: Exception) -> bool:
    """Whether nothing of a transaction was done, and the same can be done at once again."""
    return isinstance(error, LostError)


def translate(error: Exception, address: Address, *, is_reading: bool = False) -> RefusedError:
    """What such an error means to a caller."""
    state = getattr(error, "sqlstate", None)
    what = first_line(error)
    if state == _DISK_FULL:
        return StorageFullError(f"The disk of the database {address} is full; nothing was stored. ({what})")
    if state in _DAMAGED:
        return StorageFailedError(f"The database {address} is damaged: {what}.")
    if isinstance(error, InDoubtError):
        return StorageBusyError(
            f"The database {address} went away while it was stored, and it is not known whether it was. Sending it "
            f"again is safe."
        )
    if is_reading:
        return StorageBusyError(f"The database {address} cannot be read now: {what}. Try again.")
    if state == _LOCK_WAITED_FOR:
        return StorageBusyError("Another host holds flowd's database; nothing was stored. Sending it again is safe.")
    if state == READ_ONLY:
        return StorageBusyError(
            f"The database {address} takes no writes now, as a standby does: nothing was stored. Sending it again is "
            f"safe."
        )
    return StorageBusyError(
        f"The database {address} cannot be reached or used now: {what}. Nothing was stored; sending it again is safe."
    )


def at_start(error: psycopg.Error, address: Address) -> StateError:
    """What it means to whoever starts a daemon, with the remedy. `NotYetError` where another start may find it well."""
    what, state = first_line(error), error.sqlstate
    if "no pg_hba.conf entry" in what:
        return StateError(
            f"The database {address} refuses us: {what}. Its pg_hba.conf has to let us in, or sslmode has to be "
            f"what it asks for."
        )
    if "certificate" in what or "SSL" in what:
        return StateError(f"The link to {address} cannot be made safe: {what}. Set sslmode and sslrootcert.")
    if state in _BAD_PASSWORD or "no password supplied" in str(error) or "password authentication" in str(error):
        return StateError(
            f"The database {address} refuses us: {what}. Give the password with FLOWD_STORE, the credential "
            f"flowd-store, or PGPASSFILE."
        )
    if state == _NO_DATABASE or "does not exist" in what:
        return StateError(f"There is no such database or user: {what}. Make it, or mend the setting store.")
    if state == _NO_RIGHT:
        return StateError(f"flowd's user may not use the database {address}: {what}. Grant it; see docs/hosts.md.")
    if state == READ_ONLY:
        return NotYetError(f"The database {address} takes no writes, as a standby does: {what}.")
    return NotYetError(f"The database {address} cannot be reached: {what}.")


def first_line(error: Exception) -> str:
    """An error in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".") if lines else type(error).__name__
