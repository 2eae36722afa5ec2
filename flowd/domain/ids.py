"""Identifiers: the reference system's formulas, byte for byte, so that ids stay the same across a migration."""

import hashlib
import re
from functools import lru_cache
from urllib.parse import unquote

_FILE_UNSAFE = re.compile(r"^\.|[/%\x00-\x1f\x7f\ud800-\udfff]")
_MAX_FILE_NAME_BYTES = 200
"""File systems take 255, and an ending is to follow."""

_UNIT_UNSAFE = re.compile(r"[^a-z0-9-]+")


def _digest(parts: tuple[str, ...], length: int) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:length]


def run_id(event_id: str, flow_name: str, step_name: str) -> str:
    """The id of the first run of a step for an event. Deterministic: the same three give the same run.

    >>> run_id("e1", "demo", "raw")
    'run_16439a6acab8'
    """
    return f"run_{_digest((event_id, flow_name, step_name), 12)}"


def replay_run_id(event_id: str, flow_name: str, step_name: str, nonce: str) -> str:
    """The id of a replayed run: unique by its nonce, told apart by its suffix (consumers test for it).

    >>> replay_run_id("e1", "demo", "raw", "1700000000000:0.5")
    'run_4cd8114f42ef_replay'
    """
    return f"run_{_digest((event_id, flow_name, step_name, nonce), 12)}_replay"


def longer_run_id(taken: str, event_id: str, flow_name: str, step_name: str) -> str:
    """The id of a run whose own formula gives one that another run has: 48 bits are few among millions of runs.

    >>> longer_run_id("run_4100d879fe6f", "c:45211452", "stubborn", "s")
    'run_fdec30cc3631867338d45e29819dff19'
    """
    suffix = "_replay" if taken.endswith("_replay") else ""
    return f"run_{_digest((event_id, flow_name, step_name, taken), 32)}{suffix}"


def attempt_id(run: str, number: int) -> str:
    """What the step is told and the views show: the run's id for attempt 1, ``<runId>:<n>`` after it.

    >>> attempt_id("run_1", 1), attempt_id("run_1", 3)
    ('run_1', 'run_1:3')
    """
    return run if number == 1 else f"{run}:{number}"


def parse_attempt_id(text: str) -> tuple[str, int]:
    """The run's id and the attempt's number.

    >>> parse_attempt_id("run_1"), parse_attempt_id("run_1:3")
    (('run_1', 1), ('run_1', 3))
    """
    run, _, number = text.partition(":")
    return run, int(number or 1)


@lru_cache(maxsize=1024)  # Of those under way it is asked for again and again.
def file_name(attempt: str) -> str:
    """The name of an attempt's files, less their ending. It leads nowhere, whatever an imported run was called, and no
    two attempts share one; ids of flowd's own formulas are their names.

    >>> file_name("run_1:3"), file_name("../x"), file_name("50%")
    ('run_1:3', '%2E.%2Fx', '50%25')
    """
    name = _FILE_UNSAFE.sub(lambda found: "".join(f"%{byte:02X}" for byte in _bytes(found[0])), attempt)
    if len(_bytes(name)) <= _MAX_FILE_NAME_BYTES:
        return name
    return f"%{hashlib.sha256(_bytes(attempt)).hexdigest()}"


def attempt_of_file(name: str) -> str | None:
    """The attempt whose files have this name; None where that cannot be told from it."""
    if re.fullmatch("%[0-9a-f]{64}", name):
        return None
    return unquote(name, errors="surrogatepass")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def round_folder(event_id: str, flow_name: str, number: int) -> str:
    """The name of a round's folder: no other round's, and for people to recognise.

    >>> round_folder("e1", "release notes", 2)
    'release-notes-2-a3f7a0a0e0ae873d'
    """
    return f"{_UNIT_UNSAFE.sub('-', flow_name.lower()).strip('-')[:40]}-{number}-{_digest((event_id, flow_name), 16)}"


def unit_name(run: str) -> str:
    """The systemd unit that holds a run (without suffix).

    >>> unit_name("run_af8a4654f5aa")
    'codex-flow-run-af8a4654f5aa-b746a815ec'
    """
    safe = _UNIT_UNSAFE.sub("-", run.lower()).strip("-")[:48]
    return f"codex-flow-{safe}-{_digest((run,), 10)}"
