"""Where the database is, and how it is connected to."""

from dataclasses import dataclass, field
from typing import Any

from psycopg import conninfo

CONNECT_WITHIN_S = 5

_LINK: dict[str, Any] = {
    "application_name": "flowd",
    "connect_timeout": CONNECT_WITHIN_S,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
"""So that a link that is cut off is noticed in seconds. The address may say otherwise."""


@dataclass(frozen=True, slots=True)
class Address:
    """Of a schema in a database.

    Attributes:
        url: For libpq, with the password where it has one.
        shown: The same for people.
    """

    url: str = field(repr=False)
    shown: str
    schema: str

    def __str__(self) -> str:
        return self.shown

    @property
    def parameters(self) -> dict[str, Any]:
        """For a connection. Of several servers it is the one that takes writes, unless the address says otherwise.

        >>> Address("postgresql://db1,db2/work", "", "flowd").parameters["target_session_attrs"]
        'read-write'
        """
        said = conninfo.conninfo_to_dict(self.url)
        are_several = any("," in str(said.get(name, "")) for name in ("host", "hostaddr"))
        return _LINK | ({"target_session_attrs": "read-write"} if are_several else {}) | said
