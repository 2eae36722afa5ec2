"""Unit tests are pure: whoever starts a process, speaks through a socket or sleeps fails, whatever it catches."""

import sys
from collections.abc import Iterator

import pytest

_IMPURE = frozenset(
    {"subprocess.Popen", "os.fork", "os.posix_spawn", "os.exec", "socket.bind", "socket.connect", "time.sleep"}
)
_seen: list[str] = []


def _watch(event: str, _: object) -> None:
    if event in _IMPURE:
        _seen.append(event)


sys.addaudithook(_watch)  # none can be removed: what others do meanwhile is forgotten before each test


@pytest.fixture(autouse=True)
def _is_pure() -> Iterator[None]:
    _seen.clear()
    yield
    assert not _seen, f"not for a unit test: {_seen}"
