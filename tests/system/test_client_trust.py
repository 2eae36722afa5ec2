"""Whom a client sends events to: this user's daemon, root's, or one that it was told to trust."""

import os
import pwd
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from client_rig import Kind, opened

from flowd_client import UntrustedDaemonError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can start another user's daemon")

EVENT = {"id": "e", "type": "secret.go", "payload": "hunter2"}
KINDS = [Kind(mode, is_async) for mode in ("socket", "http") for is_async in (False, True)]

LISTEN = """
import socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print("listening", flush=True)
while True:
    connection, _ = listener.accept()
    print("connected", flush=True)
    while data := connection.recv(65536):
        print(data, flush=True)
        connection.sendall(b'{"jsonrpc":"2.0","id":1,"result":{"status":"accepted","eventId":"e"}}\\n')
    print("hung up", flush=True)
"""


class Stranger(NamedTuple):
    """Another user's process that listens where a daemon's socket would be."""

    uid: int
    workspace: Path
    process: "subprocess.Popen[str]"

    @property
    def socket(self) -> Path:
        return self.workspace / ".codex/flowd/flowd.sock"

    def heard(self) -> list[str]:
        """What came over the next connection, until its other end hung up."""
        assert self.process.stdout is not None
        lines = []
        while not lines or lines[-1] != "hung up":
            lines.append(self.process.stdout.readline().strip())
        return lines


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    uid = pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory(prefix="ft-") as folder:
        workspace = Path(folder)
        workspace.chmod(0o755)
        (workspace / ".codex/flowd").mkdir(parents=True)
        for place in (workspace / ".codex/flowd", workspace / ".codex"):
            os.chown(place, uid, -1)
        path = workspace / ".codex/flowd/flowd.sock"
        argv = ["/usr/bin/python3", "-c", LISTEN, str(path)]
        with subprocess.Popen(argv, user=uid, cwd="/", stdout=subprocess.PIPE, text=True, bufsize=1) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "listening\n"
            yield Stranger(uid, workspace, process)
            process.kill()


def options_for(kind: Kind, stranger: Stranger) -> dict[str, Any]:
    return {"base_url": f"unix://{stranger.socket}"} if kind.mode == "http" else {"workspace": stranger.workspace}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_another_users_daemon_is_sent_nothing(stranger: Stranger, kind: Kind) -> None:
    with opened(kind, options_for(kind, stranger)) as client:
        for verb in (lambda: client.dispatch_event(EVENT), client.list_runs):
            with pytest.raises(UntrustedDaemonError, match="Nothing was sent") as raised:
                verb()
            assert (raised.value.slug, raised.value.data["uid"]) == ("untrusted_daemon", stranger.uid)
            assert "FLOWD_TRUST" in raised.value.message
            assert stranger.heard() == ["connected", "hung up"]


def test_a_subscription_to_another_users_daemon_sends_nothing(stranger: Stranger) -> None:
    with opened(KINDS[0], options_for(KINDS[0], stranger)) as client, pytest.raises(UntrustedDaemonError):
        client.subscribe()
    assert stranger.heard() == ["connected", "hung up"]


@pytest.mark.parametrize("told", ["server_uid", "FLOWD_TRUST", "all below", "everything", "list", "sudo"])
def test_who_says_so_may_speak_to_another_users_daemon(
    stranger: Stranger, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"socket_path": stranger.socket}
    match told:
        case "server_uid":
            options["server_uid"] = stranger.uid
        case "FLOWD_TRUST":
            monkeypatch.setenv("FLOWD_TRUST", f"/nowhere:{stranger.workspace}")
        case "all below":
            monkeypatch.setenv("FLOWD_TRUST", f"{stranger.workspace.parent}/*")
        case "list":
            (tmp_path / "flowd").mkdir()
            (tmp_path / "flowd/trusted").write_text(f"/nowhere\n{stranger.workspace}\n")
            (tmp_path / "flowd/trusted").chmod(0o600)
            monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
        case "everything":
            monkeypatch.setenv("FLOWD_TRUST", "*")
        case "sudo":
            monkeypatch.setenv("SUDO_UID", str(stranger.uid))
    with opened(Kind("socket", is_async=False), options) as client:
        assert client.dispatch_event(EVENT).status == "accepted"


@pytest.mark.parametrize("where", ["/nowhere", "", "relative"])
def test_trust_in_another_place_is_none_in_this_one(
    stranger: Stranger, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWD_TRUST", where)
    with opened(KINDS[0], {"socket_path": stranger.socket}) as client, pytest.raises(UntrustedDaemonError):
        client.status()


def test_a_list_of_trusted_places_that_others_can_write_is_not_believed(
    stranger: Stranger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "flowd").mkdir()
    (tmp_path / "flowd/trusted").write_text(f"{stranger.workspace}\n")
    (tmp_path / "flowd/trusted").chmod(0o666)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    with opened(KINDS[0], {"socket_path": stranger.socket}) as client, pytest.raises(UntrustedDaemonError):
        client.status()


def test_the_command_line_refuses_another_users_daemon(stranger: Stranger, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "flowd", "dispatch", "--socket", str(stranger.socket), "-"]
    done = subprocess.run(argv, cwd=tmp_path, input='{"id": "e", "type": "t"}', capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (5, "")
    assert "Nothing was sent" in done.stderr
    assert stranger.heard() == ["connected", "hung up"]


def test_a_daemon_of_root_is_trusted_by_others(stranger: Stranger) -> None:
    # The other way round: root listens, and another user's client is content.
    script = (
        "import os, sys\n"
        "from flowd_client._core.connect import connect_once\n"
        "from pathlib import Path\n"
        "os.setuid(int(sys.argv[2]))\n"
        "connect_once(Path(sys.argv[1])).close()"
    )
    path = stranger.workspace / "roots.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen()
        argv = [sys.executable, "-c", script, str(path), str(stranger.uid)]
        done = subprocess.run(argv, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
