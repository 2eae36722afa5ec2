"""Where the workspace and its socket are."""

import os
import re
import shlex
import tempfile
from pathlib import Path

import pytest

from flowd_client import create_flow_client
from flowd_client.discovery import (
    find_service,
    find_socket,
    find_workspace,
    is_workspace,
    systemd_escape,
    workspace_of,
)
from flowd_client.errors import DaemonNotRunningError

VARIABLES = (
    "FLOWD_WORKSPACE",
    "CODEX_FLOW_BACKEND_CWD",
    "FLOWD_SOCKET",
    "FLOWD_STATE_DIR",
    "CODEX_FLOW_BACKEND_DATA_DIR",
)


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "ws"
    (folder / "a" / "b").mkdir(parents=True)
    return folder


@pytest.mark.parametrize("marker", [".codex/flowd/", ".codex/flows/", ".codex/flowd.toml", "flows/x/flow.toml"])
def test_the_nearest_folder_with_a_marker_is_the_workspace(root: Path, marker: str) -> None:
    target = root / marker
    target.parent.mkdir(parents=True, exist_ok=True)
    target.mkdir() if marker.endswith("/") else target.touch()
    assert find_workspace(root / "a" / "b") == root
    assert find_workspace(str(root)) == root


@pytest.mark.parametrize("lookalike", [".codex", "flows/x"])
def test_a_folder_with_less_is_none(root: Path, lookalike: str) -> None:
    (root / lookalike).mkdir(parents=True)
    assert find_workspace(root / "a") == root / "a"


def test_the_environment_counts_only_where_nothing_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEX_FLOW_BACKEND_CWD", "/reference")
    monkeypatch.chdir(root / "a")
    assert find_workspace() == Path("/reference")
    monkeypatch.setenv("FLOWD_WORKSPACE", "/ours")
    assert find_workspace() == Path("/ours")
    assert find_workspace(root / "a") == root / "a"


def test_the_socket_lies_in_the_state_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_socket(root) == root / ".codex/flowd/flowd.sock"
    monkeypatch.setenv("CODEX_FLOW_BACKEND_DATA_DIR", "data")
    assert find_socket(root) == root / "data/flowd.sock"
    monkeypatch.setenv("FLOWD_STATE_DIR", "/state")
    assert find_socket(root) == Path("/state/flowd.sock")
    monkeypatch.setenv("FLOWD_SOCKET", "/run/x.sock")
    assert find_socket(root) == Path("/run/x.sock")


def test_a_pointer_leads_to_the_socket_that_was_taken_instead(root: Path) -> None:
    state = root / ".codex/flowd"
    state.mkdir(parents=True)
    (state / "flowd.sock.path").write_text("/run/short.sock\n")
    assert find_socket(root) == Path("/run/short.sock")
    (state / "flowd.sock").touch()
    assert find_socket(root) == state / "flowd.sock"


def test_the_workspaces_file_wins_over_the_users(root: Path, tmp_path: Path) -> None:
    (tmp_path / "config/flowd").mkdir(parents=True)
    (tmp_path / "config/flowd/config.toml").write_text('socket = "/run/users.sock"\n')
    assert find_socket(root) == Path("/run/users.sock")
    (root / ".codex").mkdir()
    (root / ".codex/flowd.toml").write_text('socket = "mine.sock"\n')
    assert find_socket(root) == root / "mine.sock"


def test_a_settings_file_that_is_no_toml_is_left_to_the_daemon(root: Path) -> None:
    (root / ".codex").mkdir()
    (root / ".codex/flowd.toml").write_text("socket = [")
    assert find_socket(root) == root / ".codex/flowd/flowd.sock"


def test_the_client_and_the_daemon_look_in_the_same_place(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from flowd.settings import sources as settings_sources  # noqa: PLC0415

    (root / ".codex").mkdir()
    (root / ".codex/flowd.toml").write_text('state_dir = "kept"\n')
    assert find_socket(root) == settings_sources.load(workspace=root).socket
    monkeypatch.setenv("FLOWD_SOCKET", "here.sock")
    assert find_socket(root) == settings_sources.load(workspace=root).socket


def test_a_client_made_before_the_daemon_finds_the_place_that_it_takes_later(root: Path) -> None:
    client = create_flow_client(workspace=root)
    state = root / ".codex/flowd"
    state.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as short, client:
        elsewhere = Path(short) / "s.sock"
        (state / "flowd.sock.path").write_text(f"{elsewhere}\n")
        with pytest.raises(DaemonNotRunningError, match=re.escape(str(elsewhere))):
            client.status()


def test_a_folder_that_is_closed_to_us_is_no_fault(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    we = os.geteuid()
    if we == 0:
        os.seteuid(65534)  # root is let in everywhere
    else:
        closed.chmod(0)
    try:
        assert not is_workspace(closed / "ws")
        assert find_socket(closed / "ws") == closed / "ws/.codex/flowd/flowd.sock"
    finally:
        os.seteuid(we)
        closed.chmod(0o700)


def test_a_user_without_a_home_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert find_socket(tmp_path) == tmp_path / ".codex/flowd/flowd.sock"


def test_a_socket_of_an_installed_service_leads_to_the_service(root: Path, tmp_path: Path) -> None:
    socket = root / ".codex/flowd/flowd.sock"
    with create_flow_client(mode="socket", workspace=root) as client, pytest.raises(DaemonNotRunningError) as refused:
        client.list_events()
    assert str(refused.value).endswith(f"Start one with `flowd serve -w {root}`.")
    assert workspace_of(socket) == root
    assert find_service(root) is None
    unit = f"flowd@{systemd_escape(root)}.service"
    folder = tmp_path / "config/systemd/user"
    folder.mkdir(parents=True)
    (folder / unit).touch()
    assert find_service(root) == ("user", unit)
    with create_flow_client(mode="socket", workspace=root) as client, pytest.raises(DaemonNotRunningError) as refused:
        client.list_events()
    assert f"`flowd service status -w {root}` says how it is" in str(refused.value)
    units = f"{shlex.quote(unit.replace('.service', '.socket'))} {shlex.quote(unit)}"
    assert f"`systemctl --user restart {units}` starts it anew" in str(refused.value)
