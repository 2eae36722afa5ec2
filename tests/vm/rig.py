"""Inside of the machine: commands as any user, units of its systemd, and workspaces with a service."""

import json
import os
import pwd
import shlex
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daemon_rig import say
from daemon_rig import until as until_within

CHECKS = Path(__file__).resolve().parents[2]
FLOWD = "/usr/local/bin/flowd"
WHEELS = ("--no-index", f"--find-links={CHECKS}/wheels/needed")
CGROUPS = Path("/sys/fs/cgroup")
_COMMAND_BOUND_S = 600.0
"""Making a venv took more than 90 s without KVM, on a host that was busy."""

QUICK = say("changed")
ALLOCATE = """\
import os, time
if os.fork():  # the leader itself needs next to nothing, and would go on for a minute
    time.sleep(60)
size = 0
hoard = []
while size < 1 << 30:
    hoard.append(b"x" * (1 << 20))
    size += 1 << 20
time.sleep(60)
"""
BOMB = """\
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print(f"FLOWD-BOMB {os.getpid()}", flush=True)
while True:
    try:
        os.fork() or os.setsid()
    except OSError:
        os.write(1, b"full ")
        time.sleep(0.05)
"""
SPIN = """\
import sys, time
until_s = time.monotonic() + 4
while time.monotonic() < until_s:
    pass
print('FLOW_RESULT {"status": "completed"}')
"""


def until(condition: Callable[[], Any], *, bound_s: float = 120.0, what: str = "the condition") -> Any:
    """The same with a bound for a machine that may have no KVM."""
    return until_within(condition, bound_s=bound_s, what=what)


def run(*argv: str, user: str | None = None, check: bool = True, cwd: str = "/", **environment: str) -> str:
    """A command's output, as root or as a user with its own manager's bus in reach."""
    prefix: list[str] = []
    if user is not None:
        account = pwd.getpwnam(user)
        prefix = ["runuser", "-u", user, "--"]
        environment = {"HOME": account.pw_dir, "XDG_RUNTIME_DIR": f"/run/user/{account.pw_uid}", **environment}
    settings = [f"{name}={value}" for name, value in environment.items()]
    done = subprocess.run(
        [*prefix, "env", *settings, *argv],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_COMMAND_BOUND_S, cwd=cwd, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert not check or done.returncode == 0, f"{shlex.join(argv)} as {user or 'root'}: {done.returncode}\n{said}"
    return done.stdout if check else said


def show(unit: str, name: str, *, user: str | None = None) -> str:
    """One property of a unit."""
    scope = ["--user"] if user is not None else []
    return run("systemctl", *scope, "show", "--value", f"--property={name}", unit, user=user).strip()


def add_user(name: str, *, lingers: bool) -> None:
    """An ordinary account, if it is not there yet."""
    run("sh", "-c", f"id {name} >/dev/null 2>&1 || useradd --create-home --shell /bin/bash {name}")
    if lingers:
        run("loginctl", "enable-linger", name)
        bus = Path(f"/run/user/{pwd.getpwnam(name).pw_uid}/bus")
        until(bus.exists, what=f"the bus of {name}")


def files_of(cgroup: str) -> dict[str, str]:
    """The limits that the kernel has for a cgroup."""
    folder = CGROUPS / cgroup.lstrip("/")
    return {name: (folder / name).read_text().strip() for name in ("memory.max", "pids.max", "cpu.max")}


def cgroup_of(pid: int) -> str:
    """Where a process is."""
    return Path(f"/proc/{pid}/cgroup").read_text().strip().removeprefix("0::")


def processes_below(cgroup: str) -> dict[int, str]:
    """The command lines of what lives in a cgroup and below it."""
    found: dict[int, str] = {}
    for file in (CGROUPS / cgroup.lstrip("/")).rglob("cgroup.procs"):
        for pid in map(int, file.read_text().split()):
            try:
                found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
    return found


def steps_of(service: "Service") -> dict[int, str]:
    """The processes of a service's steps: all in its unit's cgroup but daemon and keeper."""
    found = processes_below(service.show("ControlGroup"))
    return {pid: line for pid, line in found.items() if "/flows/" in line or "sleep" in line}


class Service:
    """A workspace for `flowd service install`, of the machine or of a user."""

    def __init__(self, path: str, *, user: str = "", run_as: str = "", flowd: str = FLOWD) -> None:
        """Nothing is installed yet.

        Args:
            user: Whose service it is; empty for one of the machine.
            run_as: Of a service of the machine, where it is not flowd.
        """
        self.path = path
        self.user = user or None
        self.owner = user or "root"
        self.run_as = run_as
        self.flowd_path = flowd
        run("install", "-d", "-o", self.owner, path, f"{path}/flows")

    @property
    def runs_as(self) -> str | None:
        """Who may speak to it."""
        return self.user or self.run_as or "flowd"

    @property
    def unit(self) -> str:
        """Its service unit."""
        return f"flowd@{run('systemd-escape', '--path', self.path).strip()}.service"

    def flow(self, name: str, script: str, *, step: str = "", runner: str = "exec") -> None:
        """A package with one step ``main`` that waits for ``<name>.go``."""
        folder = Path(self.path, "flows", name)
        folder.mkdir(exist_ok=True)
        file = folder / ("main.sh" if runner == "exec" else "main.py")
        file.write_text(f"#!/bin/sh\n{script}\n" if runner == "exec" else script)
        file.chmod(0o755)
        made = folder / "flow.toml.new"
        made.write_text(
            f'name = "{name}"\nversion = 1\n[[steps]]\nname = "main"\nrunner = "{runner}"\nscript = "{file.name}"\n'
            f'{step}\n[steps.trigger]\ntype = "{name}.go"\n'
        )
        made.rename(folder / "flow.toml")
        run("chown", "-R", f"{self.owner}:", str(folder))

    def add(self, name: str, script: str, *, step: str = "", runner: str = "exec") -> None:
        """A package that is in force when this returns."""
        self.flow(name, script, step=step, runner=runner)
        self.systemctl("reload", self.unit)

    def install(self, *argv: str) -> str:
        """`flowd service install`."""
        scope = ["--user"] if self.user else ["--system"]
        run_as = ["--run-as", self.run_as] if self.run_as else []
        return run(self.flowd_path, "service", "install", *scope, *run_as, "-w", self.path, *argv, user=self.user)

    def uninstall(self) -> None:
        """Leave nothing but state; the state, too."""
        scope = ["--user"] if self.user else ["--system"]
        run(self.flowd_path, "service", "uninstall", *scope, "-w", self.path, user=self.user, check=False)
        drop_ins = "/etc/systemd/system" if not self.user else f"{pwd.getpwnam(self.user).pw_dir}/.config/systemd/user"
        state = f"/var/lib/flowd{self.path}.state"
        run("rm", "-rf", f"{drop_ins}/{self.unit}.d", state, self.path)
        self.systemctl("daemon-reload")

    def restart_with(self, text: str) -> None:
        """Restart it with these settings of its unit, and without those of an earlier check."""
        base = "/run/systemd/system" if not self.user else f"{pwd.getpwnam(self.user).pw_dir}/.config/systemd/user"
        folder = Path("/etc/systemd/system" if not self.user else base, f"{self.unit}.d")
        run("install", "-d", "-o", self.user or "root", str(folder))
        (folder / "checks.conf").write_text(f"[Service]\n{text}\n")
        self.systemctl("daemon-reload")
        self.systemctl("reset-failed", self.unit)  # forgets how often it was started within the last minute
        self.systemctl("restart", self.unit)

    def systemctl(self, *argv: str, check: bool = True) -> str:
        """``systemctl`` of its manager."""
        scope = ["--user"] if self.user else []
        return run("systemctl", *scope, *argv, user=self.user, check=check)

    def show(self, name: str) -> str:
        """A property of its unit."""
        return show(self.unit, name, user=self.user)

    def flowd(self, *argv: str, check: bool = True) -> Any:
        """A verb; its JSON if it printed some."""
        said = run(self.flowd_path, "-w", self.path, *argv, user=self.runs_as, check=check)
        try:
            return json.loads(said)
        except json.JSONDecodeError:
            return said

    def dispatch(self, kind: str, *, count: int = 1) -> list[str]:
        """Events, and the ids of their runs."""
        script = (
            "from flowd_client import create_flow_client\n"
            f"with create_flow_client(mode='socket', workspace={self.path!r}, timeout_s=60) as client:\n"
            f"    for number in range({count}):\n"
            f"        event = {{'id': f'{uuid.uuid4().hex}-{{number}}', 'type': {kind!r}}}\n"
            "        print(*client.dispatch_event(event).run_ids)\n"
        )
        python = os.path.join(os.path.dirname(os.path.realpath(self.flowd_path)), "python")
        return run(python, "-c", script, user=self.runs_as).split()

    def run(self, run_id: str) -> dict[str, Any]:
        """One run as the daemon shows it."""
        found: dict[str, Any] = self.flowd("run", run_id, "--json")["run"]
        return found

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """All runs of a flow."""
        listed: list[dict[str, Any]] = self.flowd("runs", "--limit", "200", "--flow", flow, "--json")["runs"]
        return listed

    def ended(self, run_id: str, *, bound_s: float = 120.0) -> dict[str, Any]:
        """A run when it has ended."""
        found: dict[str, Any] = until(
            lambda: (run := self.run(run_id))["processStatus"] not in ("queued", "running") and run,
            bound_s=bound_s,
            what=f"the end of {run_id}",
        )
        return found

    def main_pid(self) -> int:
        """The daemon; 0 when there is none."""
        return int(self.show("MainPID"))

    def log(self) -> str:
        """What its unit and systemd said about it."""
        flag = "--user-unit" if self.user else "--unit"
        return run("journalctl", f"{flag}={self.unit}", "-o", "cat", "--no-pager")
