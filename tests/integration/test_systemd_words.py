"""What flowd says to a service manager, gets from it, and writes for it. Needs no systemd."""

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowd.domain.errors import StateError
from flowd.domain.exit import Exit
from flowd.domain.launching import Command, Launch, SpawnError
from flowd.domain.limits import Limits
from flowd.executors.systemd import bus, properties
from flowd.executors.systemd.unit_records import UnitRecord, UnitRecords
from flowd.observe import journal, listenfds
from flowd.observe.sdnotify import Notifier
from flowd.service import installation, unit_files


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """The service manager's end, with a bound on every wait."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{folder}/notify")
        listener.settimeout(5)
        yield listener


def heard(manager: socket.socket) -> dict[str, str]:
    return dict(line.split("=", 1) for line in manager.recv(4096).decode().split("\n"))


def notifier(manager: socket.socket, **environ: str) -> Notifier:
    return Notifier.of({"NOTIFY_SOCKET": manager.getsockname(), **environ})


def test_ready_reloading_and_stopping_say_what_the_manager_waits_for(manager: socket.socket) -> None:
    said = notifier(manager)
    said.ready("ready: 1 running")
    assert heard(manager) == {"READY": "1", "MAINPID": str(os.getpid()), "STATUS": "ready: 1 running"}
    said.reloading()
    assert heard(manager).keys() == {"RELOADING", "MONOTONIC_USEC"}
    said.stopping("draining")
    assert heard(manager) == {"STOPPING": "1", "STATUS": "draining", "EXTEND_TIMEOUT_USEC": "30000000"}


def test_a_status_with_a_newline_is_one_line(manager: socket.socket) -> None:
    notifier(manager).status("one\nREADY=1")
    assert heard(manager) == {"STATUS": "one READY=1"}


def test_the_watchdog_is_fed_at_least_twice_in_its_time(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = notifier(manager, WATCHDOG_USEC="400000")
    slept_s: list[float] = []

    async def sleep(delay_s: float) -> None:
        slept_s.append(delay_s)
        if len(slept_s) == 3:
            raise asyncio.CancelledError

    with monkeypatch.context() as patched, contextlib.suppress(asyncio.CancelledError):
        patched.setattr(asyncio, "sleep", sleep)
        asyncio.run(said.beat(lambda: "fine"))
    manager.settimeout(0.1)
    fed = 0
    with contextlib.suppress(TimeoutError):
        while True:
            fed += "WATCHDOG" in heard(manager)
    assert (fed, slept_s) == (3, [0.2] * 3)


def test_a_watchdog_of_another_process_is_left_alone() -> None:
    assert Notifier.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}).watchdog_s is None
    assert Notifier.of({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 1.0


def test_without_a_manager_or_with_a_deaf_one_nothing_happens(tmp_path: Path) -> None:
    Notifier(None).ready("fine")
    Notifier(str(tmp_path / "gone")).ready("fine")


def test_a_passed_control_socket_is_found_by_its_name_among_others() -> None:
    script = (
        "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "from flowd.observe import listenfds\n"
        "found = listenfds.control_socket(); print(found.getsockname(), os.get_inheritable(found.fileno()))\n"
        "found.close()"
    )
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as control, socket.socket() as http:
        control.bind(f"{folder}/s")
        for listener in (control, http):
            listener.listen()
        shell = f'exec 3<&{http.fileno()} 4<&{control.fileno()}; exec "$0" -c "$1"'
        done = subprocess.run(
            ["bash", "-c", shell, sys.executable, script],
            pass_fds=(http.fileno(), control.fileno()),
            env={**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "http:flowd.sock"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [f"{folder}/s", "False"]


def test_sockets_for_another_process_are_not_ours() -> None:
    assert listenfds.passed({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) == {}
    assert listenfds.control_socket({"LISTEN_PID": "1", "LISTEN_FDS": "1"}) is None


def wanted(**changes: object) -> unit_files.Wanted:
    facts = {
        "scope": "user",
        "workspace": Path("/home/me/my app"),
        "command": "/opt/my tools/100%/flowd",
        "run_as": "me",
    }
    facts |= {"search_path": "/usr/bin:/home/me/50%/bin", "systemd_version": 252}
    facts |= {"socket": Path("/home/me/my app/.codex/flowd/flowd.sock"), **changes}
    return unit_files.Wanted(**facts)  # type: ignore[arg-type]


def files(made: unit_files.ServiceUnits) -> dict[str, str]:
    return {path.suffix: text for path, text in made.files.items()}


def test_units_name_this_flowd_and_keep_percent_signs() -> None:
    made = unit_files.render(wanted(), home=Path("/home/me"))
    service = files(made)[".service"]
    assert 'ExecStart=:"/opt/my tools/100%%/flowd" serve --workspace %f\n' in service
    assert 'Environment="PATH=/usr/bin:/home/me/50%%/bin"\n' in service
    assert "/usr/bin/flowd" not in service
    assert made.service_name == "flowd@home-me-my\\x20app.service"


def test_notify_reload_is_for_systemds_that_know_it() -> None:
    old, new = (files(unit_files.render(wanted(systemd_version=v), home=Path("/x")))[".service"] for v in (252, 253))
    assert "Type=notify\n" in old
    assert "\nExecReload=" in old
    assert "Type=notify-reload\n" in new
    assert "\nExecReload=" not in new


@pytest.mark.parametrize("scope", ["system", "user"])
def test_the_daemon_gets_a_cgroup_of_its_own_where_systemd_can_give_it_one(scope: str) -> None:
    old, new = (
        files(unit_files.render(wanted(scope=scope, systemd_version=v), home=Path("/x")))[".service"]
        for v in (253, 254)
    )
    assert "DelegateSubgroup=" not in old
    assert "\nDelegate=yes\nDelegateSubgroup=daemon\n" in new


def test_a_socket_path_that_is_too_long_gets_a_short_one() -> None:
    made = unit_files.render(wanted(socket=Path("/home/me") / ("x" * 120) / "flowd.sock"), home=Path("/home/me"))
    assert len(os.fsencode(made.socket)) < 60
    assert f"ListenStream={made.socket}\n" in files(made)[".socket"]


def launch(limits: Limits | None = None) -> Launch:
    command = Command(("/bin/echo", "$HOME %h"), "/tmp", {"A": "b"}, b"{}")
    return Launch("run_1", command, "/o", "/e", 2.0, 0.0, 1024, limits=limits)


def test_limits_go_to_the_cgroup_or_to_each_process_or_are_refused() -> None:
    def made(limits: Limits, *controllers: str) -> dict[str, object]:
        pairs = properties.of_launch(
            launch(limits), stdin=Path("/i"), environment=Path("/v"), controllers=frozenset(controllers)
        )
        return {name: value.value for name, value in pairs}

    limits = Limits(memory_bytes=1 << 30, cpu_time_s=5, umask=0o077)
    assert made(limits, "memory")["MemoryMax"] == 1 << 30
    assert made(limits, "memory")["OOMPolicy"] == "kill"
    without = made(limits)
    assert (without["LimitAS"], without["LimitCPUSoft"], without["LimitCPU"]) == (1 << 30, 5, 6)
    assert "MemoryMax" not in without
    assert made(Limits(processes=9), "pids")["TasksMax"] == 9
    with pytest.raises(SpawnError, match="no pids controller"):
        made(Limits(processes=9))
    assert made(Limits(cpu_percent=150), "cpu")["CPUQuotaPerSecUSec"] == 1_500_000
    with pytest.raises(SpawnError, match=r"cpu_percent cannot be kept: .* no cpu controller"):
        made(Limits(cpu_percent=150), "memory", "pids")


def test_a_start_that_failed_is_told_from_a_step_that_ends_at_once() -> None:
    about = {
        "ActiveState": "failed",
        "ActiveEnterTimestampMonotonic": 0,
        "ExecMainStatus": 203,
        "ExecMainPID": 7,
        "ExecMainCode": 1,
        "Result": "exit-code",
    }
    assert "cannot be run" in str(properties.refusal(about, launch()))
    assert properties.refusal({**about, "ExecMainStatus": 3}, launch()) is None
    assert properties.refusal({**about, "ExecMainHandoffTimestampMonotonic": 5}, launch()) is None  # systemd 256


def test_an_exit_is_read_from_a_units_properties() -> None:
    about = {"ExecMainExitTimestampMonotonic": 5, "ExecMainCode": 2, "ExecMainStatus": 9, "CPUUsageNSec": 2_500_000}
    assert properties.exit_of({**about, "Result": "timeout"}, None) == Exit(signal=9, cause="timeout", cpu_ms=2)
    assert properties.exit_of({**about, "Result": "timeout"}, "canceled").cause == "canceled"
    assert properties.exit_of({**about, "Result": "oom-kill"}, None).out_of_memory
    assert not properties.exit_of({"ExecMainExitTimestampMonotonic": 0, "Result": "success"}, None).is_known


def test_a_note_is_there_after_a_crash_and_a_torn_one_is_none(tmp_path: Path) -> None:
    notes = UnitRecords(tmp_path / "units")
    notes.open()
    note = UnitRecord("run_1", "u.service", "boot", "/o", "/e", 5.0, 1024)
    notes.write(note)
    (tmp_path / "units" / "run_2.note").write_text('{"id": "run')
    assert notes.open() == {"run_1": note}
    notes.write_environment("run_1", {"A": 'a "b" $c `d` \\e\nf'})
    assert (tmp_path / "units" / "run_1.env").stat().st_mode & 0o777 == 0o600
    notes.remove("run_1")
    assert notes.open() == {}


def test_every_lifecycle_message_has_an_id_of_its_own() -> None:
    assert len(set(journal.MESSAGE_IDS.values())) == len(journal.MESSAGE_IDS)
    assert {len(message_id) for message_id in journal.MESSAGE_IDS.values()} == {32}


@pytest.mark.parametrize("runtime", [{}, {"XDG_RUNTIME_DIR": "/run/x"}])
def test_a_session_bus_of_the_environment_is_taken_where_logind_has_none(
    monkeypatch: pytest.MonkeyPatch, runtime: dict[str, str]
) -> None:
    monkeypatch.setattr("flowd.executors.systemd.bus.os.geteuid", lambda: 4_000_000)  # who has none
    said = {"DBUS_SESSION_BUS_ADDRESS": "unix:abstract=/tmp/dbus"}
    assert bus.address_of("user", {**said, **runtime}) == "unix:abstract=/tmp/dbus"
    assert bus.address_of("user", {"XDG_RUNTIME_DIR": "/run/x"}) == "unix:path=/run/x/bus"
    assert bus.address_of("user", {}) == "unix:path=/run/user/4000000/bus"


def test_where_units_cannot_be_written_it_is_said_what_else_one_can_do(tmp_path: Path) -> None:
    read_only = OSError(errno.EROFS, os.strerror(errno.EROFS))
    for folder, instead in (
        ("/etc/systemd/system", "/run/systemd/system"),
        ("/home/a", "$XDG_RUNTIME_DIR/systemd/user"),
    ):
        said = installation._elsewhere(read_only, Path(folder) / "flowd@a.service")
        assert instead in said
        assert "--dry-run" in said
    with pytest.raises(StateError, match=r"Cannot write .*: File exists\.$"):
        installation._write(Path("/dev/null/x"), "")


@pytest.mark.parametrize("scope", ["system", "user"])
def test_failures_make_longer_pauses_where_systemd_can(scope: str) -> None:
    old, new = (
        files(unit_files.render(wanted(scope=scope, systemd_version=v), home=Path("/x")))[".service"]
        for v in (253, 254)
    )
    assert "\nRestartSteps=" not in old
    assert "\nRestartSec=1\nRestartSteps=5\nRestartMaxDelaySec=15\n" in new


def test_the_environment_of_a_step_that_was_never_recorded_does_not_stay(tmp_path: Path) -> None:
    records = UnitRecords(tmp_path)
    records.open()
    known = UnitRecord("run_1", "u.service", "boot", "/o", "/e", 5.0, 1024)
    records.write(known)
    kept = records.write_environment("run_1", {"TOKEN": "hunter2!"})
    lost = [records.write_environment("run_2", {"TOKEN": "hunter2!"}), records.write_stdin("run_2", b"{}")]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in (kept, *lost))
    assert UnitRecords(tmp_path).open() == {"run_1": known}
    assert kept.exists()  # systemd may be about to read it
    assert not any(path.exists() for path in lost)
