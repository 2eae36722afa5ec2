"""Finds the address that the HTTP shim listens on: ``--http``, ``FLOWD_HTTP``, or ``listen`` in ``[http]``."""

from collections.abc import Mapping
from pathlib import Path

from flowd.api.http.config import DEFAULT_HOST, DEFAULT_PORT, Address, PassedAddress, TcpAddress, UnixAddress

_OFF = ("", "0", "off", "no", "false")
_ON = ("1", "on", "yes", "true")


def choose_address(
    flag: object, environ: Mapping[str, str], listen: str | None, place: str, root: Path
) -> tuple[Address | None, str]:
    """Choose the address, and say who asked for it; None where nobody did.

    Args:
        flag: The value of ``--http``; an empty string asks for the default address.
        listen: Of the file; None where it does not say.
        place: The file.
        root: Relative paths start here.

    Raises:
        ValueError: It cannot be read.
    """
    if flag is not None:
        asked, origin = str(flag) or "on", "flag --http"
    elif environ.get("FLOWD_HTTP"):
        asked, origin = environ["FLOWD_HTTP"], "$FLOWD_HTTP"
    elif listen is not None:
        asked, origin = listen, place
    else:
        return None, "default"
    if asked.lower() in _OFF:
        return None, origin
    port = environ.get("CODEX_FLOW_BACKEND_PORT") or str(DEFAULT_PORT)
    if not port.isdigit():
        raise ValueError(f"$CODEX_FLOW_BACKEND_PORT must be a port number, got {port[:60]!r}.")
    host = environ.get("CODEX_FLOW_BACKEND_HOST") or DEFAULT_HOST
    if asked.lower() in _ON and listen is not None and origin != place:
        asked = listen
    if asked.lower() in _ON:
        return TcpAddress(host, int(port)), origin
    try:
        return parse_address(asked, root=root, host=host, port=int(port)), origin
    except ValueError as error:
        raise ValueError(f"{origin}: {error}") from None


def parse_address(text: str, *, root: Path, host: str = DEFAULT_HOST, port: int = DEFAULT_PORT) -> Address:
    """``HOST:PORT``, ``HOST``, ``:PORT``, ``PORT``, ``[::1]:PORT``, ``unix:/path`` or ``systemd[:NAME]``.

    Raises:
        ValueError: It is none of these.

    >>> str(parse_address("8080", root=Path("/"))), str(parse_address("[::1]:1", root=Path("/")))
    ('127.0.0.1:8080', '[::1]:1')
    """
    if text.startswith("unix:"):
        return UnixAddress(str(root / Path(text.removeprefix("unix:")).expanduser()))
    if text == "systemd" or text.startswith("systemd:"):
        return PassedAddress(text.partition(":")[2] or "http")
    bare = text.strip()
    if bare.startswith("["):
        name, _, rest = bare[1:].partition("]")
        rest = rest.removeprefix(":")
    elif bare.isdigit():
        name, rest = "", bare
    else:
        name, _, rest = bare.rpartition(":") if ":" in bare else (bare, "", "")
    if (rest and (not rest.isdigit() or int(rest) > 65535)) or (":" in name and not bare.startswith("[")):
        raise ValueError(f"{text!r} is not an address. Say HOST:PORT, [IPv6]:PORT, unix:/path or systemd:NAME.")
    return TcpAddress(name or host, int(rest) if rest else port)
