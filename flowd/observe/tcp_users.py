"""Whose the other end of a TCP connection is, where that is on this machine. From /proc/net/tcp and tcp6 (proc(5))."""

import ipaddress
import struct
from collections.abc import Iterable

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")

Address = tuple[str, int]


def owner(ours: Address, theirs: Address) -> int | None:
    """The user id of the socket at ``theirs`` that is connected to ``ours``.

    Reads a line for each connection of the machine: nothing for the loop, nor for each request.

    Returns:
        None where no such socket is known: it is on another machine, in another network namespace, or the system has no
        such table.
    """
    for path in _TABLES:
        try:
            with open(path, encoding="ascii") as table:
                found = find(table, ours, theirs)
        except OSError:
            continue
        if found is not None:
            return found
    return None


def find(lines: Iterable[str], ours: Address, theirs: Address) -> int | None:
    """The user in the line of the table that is about this connection, as the other end sees it."""
    wanted = {(_shown(theirs, is_mapped), _shown(ours, is_mapped)) for is_mapped in (False, True)}
    for line in lines:
        fields = line.split()
        if len(fields) > 7 and (fields[1], fields[2]) in wanted:
            return int(fields[7])
    return None


def _shown(address: Address, is_mapped: bool) -> str:
    """An address as the tables have it: words of four bytes, each in the machine's order.

    >>> _shown(("127.0.0.1", 80), False) in ("0100007F:0050", "7F000001:0050")
    True
    """
    host = ipaddress.ip_address(address[0].partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped is not None:
        host = host.ipv4_mapped
    if is_mapped and isinstance(host, ipaddress.IPv4Address):
        host = ipaddress.IPv6Address(f"::ffff:{host}")
    words = struct.unpack(f"={len(host.packed) // 4}I", host.packed)
    return "".join(f"{word:08X}" for word in words) + f":{address[1]:04X}"
