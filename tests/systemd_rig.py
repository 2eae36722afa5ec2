"""A real systemd in namespaces of its own: system manager, user managers, journald, D-Bus and logind.

It needs root, util-linux, and Debian's systemd, dbus and libpam-systemd. Inside, / is the machine's own file system, so
this checkout runs there as it is; /run, /tmp, /home and what is written to /etc and /var/lib are private, and vanish.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

from daemon_rig import until

from flowd_client.client import FlowClient
from flowd_client.unix import UnixTransport

CHECKOUT = Path(__file__).resolve().parents[1]
FLOWD = Path(sys.executable).with_name("flowd")
USER, UID = "flowd-test", 4711
OTHER_USER, OTHER_UID = "flowd-fresh", 4712
OTHER_USER_UNITS = f"/home/{OTHER_USER}/.config/systemd/user"
_SYSTEMD = Path("/lib/systemd/systemd")
_BOOT_BOUND_S = 120.0
_PRIVATE = tuple(map(Path, ("/tmp", "/home", "/var/tmp", "/var/log", "/run")))

# What would reach the kernel or the machine outside of the box, or only costs time.
_MASKED = (
    "systemd-sysctl.service",
    "systemd-modules-load.service",
    "systemd-binfmt.service",
    "proc-sys-fs-binfmt_misc.automount",
    "systemd-remount-fs.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup.service",
    "systemd-udevd.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp.service",
    "systemd-udev-trigger.service",
    "systemd-random-seed.service",
    "systemd-network-generator.service",
    "systemd-pstore.service",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-config.mount",
    "getty.target",
)

_IN_A_CGROUP_OF_ITS_OWN = r"""
set -eu
top=$1/cgroup own=$1/cgroup/$2
mkdir "$top"
mount -t cgroup2 none "$top"
mkdir "$own"
for controller in $(cat "$top/cgroup.controllers"); do
  echo "+$controller" > "$top/cgroup.subtree_control" || true
done 2>/dev/null
if [ "$(cat "$own/cgroup.controllers")" = "$(cat "$top/cgroup.controllers")" ]; then
  echo $$ > "$own/cgroup.procs"
fi
shift 2
exec "$@"
"""
"""Boxes that run side by side would take each other's units of the same name for their own. Where a cgroup of its own
has fewer controllers, in a container whose processes are in the topmost one, a box stays where we are."""

_WITHOUT_ITS_CGROUP = r"""
set -eu
mount -t cgroup2 none "$1/cgroup"
find "$1/cgroup/$2" -depth -type d -exec rmdir {} +
"""

_BOOT = r"""
set -eu
mount --make-rprivate /
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 none /sys/fs/cgroup
{opened}
for d in {private}; do mount -t tmpfs -o mode=0755 tmpfs "$d"; done
chmod 1777 /tmp /var/tmp
for d in /etc /var/lib; do  # what is written there stays in the box
  mkdir -p "/run/box$d" "/run/box$d.work"
  mount -t overlay -o "lowerdir=$d,upperdir=/run/box$d,workdir=/run/box$d.work" overlay "$d"
done
for d in /var/lib/systemd /var/lib/flowd /etc/flowd; do mkdir -p "$d" && mount -t tmpfs -o mode=0755 tmpfs "$d"; done
mount -t tmpfs -o mode=0755 tmpfs /etc/systemd/system
mkdir -p /run/box /run/systemd/system /run/lock /etc/systemd/user
mount -t tmpfs -o mode=0755 tmpfs /etc/systemd/user
{users}
for u in {masked}; do ln -sf /dev/null "/run/systemd/system/$u"; done
mkdir -p /run/systemd/system-generators  # at each reload they would look for what the box does not have
for g in /lib/systemd/system-generators/*; do ln -s /dev/null "/run/systemd/system-generators/${g##*/}"; done
mount --make-rshared /  # as PID 1 does where it is in no container; credentials come by such mounts
export container=flowd-tests
exec {systemd} --system --unit=multi-user.target --log-target=journal --log-level=notice
"""


_FORGOTTEN = r"""
loginctl disable-linger "$1"
systemctl kill --signal=KILL "user@$2.service"  # what its services do at their stop takes its time
systemctl stop "user@$2.service" "user-runtime-dir@$2.service"
systemctl stop 'flowd*@home*'
pkill -KILL -U "$2"
systemctl reset-failed
find "/home/$1" -mindepth 1 -maxdepth 1 -exec rm -rf {} +
rm -rf /etc/flowd/* /run/flowd*/home /run/flowd/home
"""


def why_not() -> str | None:
    """What this machine lacks for a box; None when it has everything."""
    if os.geteuid() != 0:
        return "needs root, to boot a systemd in namespaces"
    missing = [name for name in ("unshare", "nsenter", "setpriv", "dbus-daemon") if not shutil.which(name)]
    missing += [str(path) for path in (_SYSTEMD, *_find_pam()) if not path.exists()]
    return f"needs {', '.join(missing)} (Debian: systemd, dbus, libpam-systemd, util-linux)" if missing else None


def _find_pam() -> list[Path]:
    found = [*Path("/lib").glob("*/security/pam_systemd.so"), *Path("/lib/security").glob("pam_systemd.so")]
    return found[:1] or [Path("/lib/security/pam_systemd.so")]


def _wanted() -> list[Path]:
    return [Path(sys.base_prefix).resolve(), CHECKOUT, Path(sys.prefix)]


def _in_the_way() -> list[Path]:
    """Folders that would keep the test user from interpreter and checkout: closed ones, and those that are private."""
    above = {folder for path in _wanted() for folder in path.parents}
    hiding = {folder for folder in above if folder in _PRIVATE or not folder.stat().st_mode & 0o001}
    return sorted(folder for folder in hiding if not hiding & set(folder.parents))


def _opened() -> str:
    """Shell lines that leave interpreter and checkout, and nothing else, in the folders that are in their way."""
    lines: list[str] = []
    wanted = _wanted()
    for folder in _in_the_way():
        inside = [path for path in wanted if folder in path.parents]
        keep = Path("/run/opened") / str(len(lines))
        lines += ["mkdir -p /run/opened" if not lines else ":", f"mkdir -p {keep}", f"mount --bind {folder} {keep}"]
        lines += [f"mount -t tmpfs -o mode=0755 tmpfs {folder}"]
        for path in inside:
            lines += [f"mkdir -p {path}", f"mount --bind {keep / path.relative_to(folder)} {path}"]
    return "\n".join(lines)


def _users() -> str:
    lines = []
    for name, uid in ((USER, UID), (OTHER_USER, OTHER_UID)):
        lines += [
            f"echo '{name}:x:{uid}:{uid}::/home/{name}:/bin/sh' >> /etc/passwd",
            f"echo '{name}:x:{uid}:' >> /etc/group",
            f"echo '{name}:*:19000:0:99999:7:::' >> /etc/shadow",
            f"mkdir -p /home/{name} && chown {uid}:{uid} /home/{name}",
        ]
    return "\n".join(lines)


class Box:
    """A booted systemd, seen from outside."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(
        self, *argv: str, user: str | None = None, check: bool = True, bound_s: float = 60.0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root or as a user with its own manager's bus in reach."""
        prefix = ["nsenter", "-t", str(self.pid), "-a", "--", "env"]
        if user is not None:
            uid = {USER: UID, OTHER_USER: OTHER_UID}[user]
            prefix = [*prefix[:-1], "setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "env"]
            environment = {"HOME": f"/home/{user}", "USER": user, "XDG_RUNTIME_DIR": f"/run/user/{uid}", **environment}
        settings = [f"{name}={value}" for name, value in environment.items()]
        done = subprocess.run(
            [*prefix, *settings, *argv],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=bound_s,
            cwd="/",
        )
        assert not check or done.returncode == 0, f"{shlex.join(argv)}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def systemctl(self, *argv: str, user: str | None = None, check: bool = True, bound_s: float = 60.0) -> str:
        """``systemctl``'s output, of the system manager or of a user's."""
        scope = ["--user"] if user is not None else []
        return self.run("systemctl", *scope, *argv, user=user, check=check, bound_s=bound_s).stdout.strip()

    def show(self, unit: str, name: str, *, user: str | None = None) -> str:
        """One property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit, user=user)

    def flowd(self, workspace: str, *argv: str, user: str | None = USER, check: bool = True, **environment: str) -> Any:
        """A verb of flowd as the test user; its JSON if it printed some, else its text."""
        done = self.run(str(FLOWD), "-w", workspace, *argv, user=user, check=check, **environment)
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(done.stdout)
        return done.stdout + done.stderr

    def write(self, path: str, text: str, *, mode: str = "644", owner: str = "root") -> None:
        """A file inside the box."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1" && chown "$3:" "$1"'
        command = ["nsenter", "-t", str(self.pid), "-a", "--", "sh", "-c", script, "sh", path, mode, owner]
        subprocess.run(command, input=text, text=True, check=True, timeout=60, cwd="/")

    def at(self, path: str) -> Path:
        """A path inside as it is out here, for whoever only looks: a command inside takes a hundred times as long."""
        return Path(f"/proc/{self.pid}/root{path}")

    def read(self, path: str) -> str:
        """A file's text; empty where there is none."""
        try:
            return self.at(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def client(self, socket: str) -> FlowClient:
        """A client of the daemon behind a socket inside."""
        return FlowClient(UnixTransport(self.at(socket), server_uid=UID))

    def journal(self, *argv: str) -> list[dict[str, Any]]:
        """The journal's entries that match, oldest first."""
        self.run("journalctl", "--sync", check=False)
        lines = self.run("journalctl", "-o", "json", "--no-pager", *argv).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def flow(self, workspace: str, name: str, script: str, *, step: str = "", owner: str = USER) -> None:
        """A package with one step ``main`` that waits for ``<name>.go``."""
        folder = f"{workspace}/flows/{name}"
        manifest = (
            f'name = "{name}"\nversion = 1\n[[steps]]\nname = "main"\nrunner = "exec"\nscript = "main.sh"\n{step}\n'
            f'[steps.trigger]\ntype = "{name}.go"\n'
        )
        write = (
            'install -d -o "$1" "$2" "$2/flows" "$3" && cd "$3" && printf %s "$4" >main.sh && printf %s "$5" >flow.toml'
            ' && chmod 755 main.sh && chmod 644 flow.toml && chown "$1:" main.sh flow.toml'
        )
        self.run("sh", "-c", write, "sh", owner, workspace, folder, f"#!/bin/sh\n{script}\n", manifest)

    def alive(self, pattern: str) -> list[int]:
        """Pids, as they are inside, of processes whose command line matches."""
        found = []
        for entry in self.at("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                words = (entry / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
                if re.search(pattern, os.fsdecode(words)):
                    found.append(int(entry.name))
        return found

    def forget_units(self) -> None:
        """Remove what is left of flowd's units: for whoever installs, a template that is there is a package's."""
        if any(self.at("/etc/systemd/system").rglob("flowd*")):
            forget = "find /etc/systemd/system -depth -name 'flowd*' -exec rm -rf {} + && systemctl daemon-reload"
            self.run("sh", "-c", forget)

    def forget_user(self, user: str, uid: int) -> None:
        """End the user's manager and all that the user runs, services of the system as well, and empty the home."""
        self.run("sh", "-c", _FORGOTTEN, "sh", user, str(uid), check=False)


class Service:
    """A workspace with the shipped system units in force for it, run by the unprivileged test user."""

    def __init__(self, box: Box, path: Path, settings: dict[str, str]) -> None:
        self.box = box
        self.path = str(path)
        self.instance = self.path.strip("/").replace("/", "-")
        self.unit, self.socket_unit = f"flowd@{self.instance}.service", f"flowd@{self.instance}.socket"
        self.socket = f"/run/flowd-sockets{self.path}.sock"
        words = []
        for name in ("flowd@.service", "flowd@.socket", "flowd-http@.socket"):
            text = (CHECKOUT / "systemd" / "system" / name).read_text(encoding="utf-8")
            words += [name, text.replace("/usr/bin/flowd", str(FLOWD)).replace("User=flowd\n", f"User={USER}\n")]
        write = 'cd /etc/systemd/system; while [ $# -gt 1 ]; do printf %s "$2" >"$1"; shift 2; done'
        box.run("sh", "-c", f'install -d -o {USER} "$1"; shift; {write}', "sh", self.path, *words)
        if settings:
            lines = "".join(f"{name}={value}\n" for name, value in settings.items())
            box.write(f"/etc/systemd/system/{self.unit}.d/settings.conf", f"[Service]\n{lines}")
        box.systemctl("daemon-reload")

    def flow(self, name: str, script: str, *, step: str = "") -> None:
        """A package with one step ``main`` that waits for ``<name>.go``."""
        self.box.flow(self.path, name, script, step=step)

    def flowd(self, *argv: str, check: bool = True) -> Any:
        """A verb of flowd, as the service's user."""
        return self.box.flowd(self.path, *argv, check=check)

    def dispatch(self, kind: str, *, count: int = 1) -> list[str]:
        """Events, and the ids of their runs."""
        with self.client() as client:
            events = ({"id": uuid4().hex, "type": kind} for _ in range(count))
            return [run_id for event in events for run_id in client.dispatch_event(event).run_ids]

    def client(self) -> FlowClient:
        """A client out here: a command inside takes a hundred times as long."""
        return self.box.client(self.socket)

    def call(self, method: str) -> Any:
        """One call of the raw API."""
        with self.client() as client:
            return client.call(method)

    def runs(self) -> list[dict[str, Any]]:
        """All runs as the daemon shows them."""
        with self.client() as client:
            listed: list[dict[str, Any]] = client.call("flow.listRuns", {"limit": 200})["runs"]
        return listed

    def systemctl(self, verb: str, *units: str) -> None:
        """Start, stop, restart or reload the service (or other units); a failure comes with the journal."""
        done = self.box.run("systemctl", verb, *(units or (self.unit,)), check=False, bound_s=60)
        assert done.returncode == 0, f"systemctl {verb}: {done.stderr}{self.log()}"

    def main_pid(self) -> int:
        """The daemon's pid inside of the box; 0 when there is none."""
        return int(self.box.show(self.unit, "MainPID"))

    def steps(self) -> list[int]:
        """Pids of the processes of steps: all of the unit's but daemon and keeper."""
        found = self.box.run("sh", "-c", f"cat $(find /sys/fs/cgroup -path '*{self.unit}*' -name cgroup.procs)")
        pids = [int(pid) for pid in found.stdout.split()]
        names = {pid: self.box.run("cat", f"/proc/{pid}/cmdline", check=False).stdout for pid in pids}
        return [pid for pid, name in names.items() if name and "flowd" not in name.split("main.sh")[0]]

    def log(self) -> str:
        """The unit's journal, as text."""
        return self.box.run("journalctl", "-u", self.unit, "-o", "cat", "--no-pager").stdout

    def remove(self) -> None:
        """Stop everything, and forget the units."""
        self.box.systemctl("stop", self.socket_unit, self.unit, f"flowd-http@{self.instance}.socket", check=False)
        self.box.systemctl("reset-failed", self.unit, check=False)
        self.box.run("rm", "-rf", self.path, f"/etc/systemd/system/{self.unit}.d", f"/var/lib/flowd{self.path}.state")


@contextlib.contextmanager
def booted() -> Iterator[Box]:
    """Boot a box, and end everything in it afterwards."""
    with tempfile.TemporaryDirectory(prefix="flowd-box-") as folder:
        script = Path(folder) / "boot"
        text = _BOOT
        for name, value in (
            ("opened", _opened()),
            ("private", " ".join(str(folder) for folder in _PRIVATE if folder not in _in_the_way())),
            ("users", _users()),
            ("masked", " ".join(_MASKED)),
            ("systemd", str(_SYSTEMD)),
        ):
            text = text.replace("{" + name + "}", value)
        script.write_text(text, encoding="utf-8")
        log_path, cgroup = Path(folder) / "log", (folder, Path(folder).name)
        with log_path.open("wb") as log:
            outer = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", _IN_A_CGROUP_OF_ITS_OWN, "sh", *cgroup,
                 "unshare", "--pid", "--fork", "--mount", "--mount-proc", "--cgroup", "--uts", "--ipc",
                 "--kill-child=KILL", "sh", str(script)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            box = Box(_init_of(outer, log_path))
            until(lambda: _is_up(box), bound_s=_BOOT_BOUND_S, what="the box's boot")
            yield box
        finally:
            outer.send_signal(signal.SIGKILL)  # the kernel ends its init with it, and everything inside with that
            outer.wait()
            sweep = ["unshare", "--mount", "sh", "-c", _WITHOUT_ITS_CGROUP, "sh", *cgroup]
            until(lambda: subprocess.run(sweep, capture_output=True).returncode == 0, what="the end of the box")


def _init_of(outer: subprocess.Popen[bytes], log_path: Path) -> int:
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    deadline = time.monotonic() + _BOOT_BOUND_S
    while time.monotonic() < deadline:
        assert outer.poll() is None, f"the box ended: {log_path.read_text(errors='replace')}"
        pids = children.read_text().split()
        with contextlib.suppress(OSError):
            if pids and os.readlink(f"/proc/{pids[0]}/exe").endswith("/systemd"):
                return int(pids[0])
        time.sleep(0.02)
    raise AssertionError(f"no systemd came up: {log_path.read_text(errors='replace')}")


def _is_up(box: Box) -> bool:
    state = box.run("systemctl", "is-system-running", check=False).stdout.strip()
    return state in ("running", "degraded")


def install(
    box: Box, workspace: str, *options: str, flowd: str = str(FLOWD), **environment: str
) -> subprocess.CompletedProcess[str]:
    """`flowd service install` for the system, as root."""
    return box.run(flowd, "service", "install", "--system", "-w", workspace, *options, check=False, **environment)


def findings(box: Box, workspace: str, user: str | None = None) -> dict[str, dict[str, str]]:
    """The doctor's findings by check, of somebody who trusts the workspace."""
    done = box.run(str(FLOWD), "doctor", "--json", "-w", workspace, user=user, check=False, FLOWD_TRUST=workspace)
    return {entry["check"]: entry for entry in json.loads(done.stdout)["findings"]}


def is_trouble(finding: dict[str, str]) -> bool:
    """Whether it is one of flowd, and not of the box, whose folders lie in memory."""
    return finding["level"] != "ok" and finding["check"] != "state.disk"
