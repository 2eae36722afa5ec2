"""The password of a shared store: a daemon works with it, and nobody is shown it."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from daemon_rig import Workspace, by_test_postgres, flowd_says, say, until
from tls_rig import PASSWORD, ROLE, TlsServer

from flowd_client.errors import CallError

SECRET = "tr0ub4dor"
"""What of the password is the same, however it is written."""


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    made = TlsServer()
    try:
        yield made
    finally:
        made.remove()


def work(place: Workspace, event_id: str) -> str:
    """Have a run that shows all its environment, and is there until there is a file ``go``."""
    (run_id,) = place.call("flow.dispatch", event={"id": event_id, "type": "tell.go"})["runIds"]
    until((place.path / "flows/tell/begun").exists, what="the step")
    return str(run_id)


def assert_is_shown_nowhere(place: Workspace, run_id: str) -> None:
    """While the step of the run goes on, and when it has ended."""
    assert place.process is not None
    steps = 0
    for pid, words, environ in _ours(place):
        assert SECRET not in " ".join(words)
        if pid != place.process.pid:
            assert SECRET not in str(environ), words
        steps += environ.get("FLOWD_RUN_ID") == run_id
    assert steps
    (place.path / "flows/tell/go").touch()
    run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
    assert run["effectiveStatus"] == "changed"
    shown: list[Any] = [run, place.call("flow.readOutput", runId=run_id, stream="stdout", offset=0)]
    shown += [place.call("daemon.status", metrics=True), flowd_says(place, "status"), place.log()]
    shown += [flowd_says(place, "doctor")] if place.store else []
    for one in shown:
        assert SECRET not in json.dumps(one)
    kept = place.path / ".codex/flowd"
    for path in kept.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def _ours(place: Workspace) -> list[tuple[int, list[str], dict[str, str]]]:
    """The daemon, the keeper, its standby and all steps: their words and their environments."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            one = (process.pid, process.cmdline(), process.environ())
            if str(place.path) in " ".join([*one[1], *one[2].values()]):
                found.append(one)
    return found


@pytest.mark.parametrize(
    "way",
    ["variable", pytest.param("file", marks=by_test_postgres), pytest.param("credential", marks=by_test_postgres)],
)
def test_a_daemon_works_with_a_password_that_nobody_is_shown(
    place: Workspace, server: TlsServer, tmp_path: Path, way: str
) -> None:
    database = server.make_database(f"secret_{way}")
    place.flow("tell", f"env; touch begun; while [ ! -e go ]; do sleep 0.05; done; {say('changed')}")
    root = str(server.folder / "good.crt")
    whole, bare = (server.url(database, password=secret, sslrootcert=root) for secret in (PASSWORD, ""))
    (tmp_path / "flowd-store").write_text(whole)
    place.store = whole if way == "variable" else None
    environ = {
        "variable": {"FLOWD_STORE": whole},
        "file": {"FLOWD_STORE": bare, "PGPASSFILE": str(server.password_file(tmp_path))},
        "credential": {"CREDENTIALS_DIRECTORY": str(tmp_path)},
    }[way]
    place.start(**environ)
    assert ROLE in json.dumps(place.call("daemon.status"))
    assert_is_shown_nowhere(place, work(place, "e1"))
    assert place.stop() == 0


@by_test_postgres
def test_a_password_that_is_changed_under_a_daemon_is_missed_until_the_file_has_it(
    place: Workspace, server: TlsServer, tmp_path: Path
) -> None:
    database = server.make_database("changed")
    place.flow("tell", say("changed"))
    place.store = None
    file = server.password_file(tmp_path)
    place.start(FLOWD_STORE=server.url(database, sslrootcert=str(server.folder / "good.crt")), PGPASSFILE=str(file))
    try:
        server.server.execute(
            f"ALTER ROLE {ROLE} PASSWORD '{SECRET}-2'",
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'",
        )
        with pytest.raises(CallError, match="password authentication failed") as refused:
            place.call("flow.dispatch", event={"id": "e1", "type": "tell.go"})
        assert refused.value.slug == "storage_busy"
        assert SECRET not in refused.value.message
        server.password_file(tmp_path, f"{SECRET}-2")
        (run_id,) = place.call("flow.dispatch", event={"id": "e1", "type": "tell.go"})["runIds"]
        run = place.call("flow.waitRun", runId=run_id, timeoutMs=50_000)["run"]
        assert run["effectiveStatus"] == "changed"
        assert SECRET not in place.log()
        assert place.stop() == 0
    finally:
        server.server.execute(f"ALTER ROLE {ROLE} PASSWORD '{PASSWORD}'")
