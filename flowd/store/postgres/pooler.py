"""Finds out whether a pooler stands between us and the server in a mode that we cannot use.

In session mode a pooler leaves a connection of the server to one client. In transaction mode it gives each transaction any
of them: what is listened for, prepared or set in one is not there in the next, and mostly another client has it.
"""

import secrets
from typing import Any

import psycopg

from flowd.domain.errors import StateError
from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import channel

_HEARD_WITHIN_S = 5.0
FOUND = "what is told through LISTEN and NOTIFY does not arrive: a pooler in transaction mode stands in between"
REMEDY = "Connect to the server itself, or to a pooler in session mode."


def keeps_sessions(raw: "psycopg.Connection[Any]", address: Address) -> bool:
    """Whether what is done on this connection, which is in no transaction, is still there later. Takes some seconds where
    it is not.

    Raises:
        psycopg.Error: There was no connection to ask by.
    """
    name = f"{channel(address.schema)}_check_{secrets.token_hex(4)}"
    raw.execute(f"LISTEN {name}", prepare=False)
    # By another client: what a connection tells itself comes back with its own answer, while a pooler still has it.
    with psycopg.connect(**address.parameters, autocommit=True) as other:
        other.execute(f"NOTIFY {name}", prepare=False)
    is_heard = next(iter(raw.notifies(timeout=_HEARD_WITHIN_S, stop_after=1)), None) is not None
    raw.execute(f"UNLISTEN {name}", prepare=False)
    return is_heard


def refuse_useless(raw: "psycopg.Connection[Any]", server_pid: int, address: Address) -> None:
    """Raise where a pooler gives our connection to others, too. A server that is reached without one costs nothing.

    Raises:
        StateError: With the remedy.
        psycopg.Error: There was no connection to ask by.
    """
    if raw.info.backend_pid != server_pid and not keeps_sessions(raw, address):  # poolers make up their own numbers
        raise StateError(f"The database {address} is of no use: {FOUND}. {REMEDY}")
