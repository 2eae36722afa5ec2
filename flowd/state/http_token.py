"""The token of an HTTP API that was given no secret: its owner's programs find it, and nobody else can read it."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from flowd.domain.errors import StateError
from flowd_client import discovery

_MAX_BYTES = 4096


def read_or_make(folder: Path) -> str:
    """The token in a state folder. It stays the same, so that clients can be configured with it.

    Raises:
        StateError: It cannot be read or written.
    """
    path = folder / discovery.HTTP_TOKEN
    try:
        return read(path) or _make(path)
    except OSError as error:
        raise StateError(
            f"Cannot keep the HTTP API's token in {path}: {error.strerror}. Move what is in the way, or set "
            f"FLOWD_HTTP_SECRET_FILE or [http.tokens]."
        ) from error


def point_to(token: Path, port: int) -> Path | None:
    """Leave word in the user's runtime folder of where the token for a port is: its owner's clients need no setting.

    Returns:
        The file, to be removed when the port is given up; None where no folder can be used.
    """
    folder = discovery.runtime_folders()[0]
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if not discovery.is_own(folder):
            return None
        pointer = folder / discovery.http_pointer(port)
        _write(pointer, f"{token}\n")
        return pointer
    return None


def read(path: Path) -> str:
    """The token there; empty where there is none, or one that others could have read or written."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        is_ours = status.st_uid == os.geteuid() and not status.st_mode & 0o077
        text = file.read(_MAX_BYTES) if is_ours and stat.S_ISREG(status.st_mode) else b""
    return text.decode("ascii", "replace").strip()


def _make(path: Path) -> str:
    token = secrets.token_urlsafe(32)
    write(path, token)
    return token


def write(path: Path, token: str) -> None:
    """Replace whatever is there with the token. Raises `OSError`."""
    _write(path, f"{token}\n")


def _write(path: Path, text: str) -> None:
    """Replace whatever is there, a link included, and never write through it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
    with suppress(FileNotFoundError):
        os.unlink(temporary)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
