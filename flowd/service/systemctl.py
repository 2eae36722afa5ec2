"""Calls ``systemctl`` and ``journalctl`` as a person would, and reads their output."""

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.observe.own_unit import Scope

ENABLED = ("enabled", "enabled-runtime")
"""What ``UnitFileState`` is of a unit that starts by itself."""
_COMMAND_WITHIN_S = 180.0
"""More than the two times 90 s that a stop may take at the very most is no use; a start has 90."""
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2}|.)", re.DOTALL)
_LETTERS = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}
_ACCEPTS = 0x10000
"""The flag of a listening socket in /proc/net/unix (__SO_ACCEPTCON)."""


class ServiceManager:
    """``systemctl`` of the system or of the current user."""

    def __init__(self, scope: Scope) -> None:
        """Check that there is such a manager.

        Raises:
            StateError: There is none; the message has the remedy.
        """
        self.scope = scope
        self._environ = dict(os.environ)
        if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
            raise StateError(
                "systemd does not manage this machine, or this container. Let what does manage it (the container's "
                "own command, a supervisor) run `flowd serve`."
            )
        if scope == "user":
            self._find_user_manager()

    def command(self, *argv: str) -> list[str]:
        """The command line of a call of systemctl."""
        return ["systemctl", *(["--user"] if self.scope == "user" else []), *argv]

    def typed(self, *argv: str) -> str:
        """The same as text to type: names of instances have backslashes."""
        sudo = ["sudo"] if self.scope == "system" and os.geteuid() != 0 else []
        return shlex.join([*sudo, *self.command(*argv)])

    def run(self, *argv: str) -> str:
        """Call systemctl and return its output.

        Raises:
            StateError: It failed; the message has its output.
        """
        done = self._call(self.command(*argv))
        if done.returncode != 0:
            raise StateError(f"{self.typed(*argv)} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit; those of one that does not exist say so in ``LoadState``."""
        output = self._call(self.command("show", "--property", ",".join(names), unit)).stdout
        found: dict[str, str] = {}
        for line in output.splitlines():
            name, is_pair, value = line.partition("=")
            if is_pair:  # a list (Listen, EnvironmentFiles) comes as a line for each of its members
                found[name] = f"{found[name]}\n{value}" if name in found else value
        return found

    def text(self, unit: str) -> str:
        """A unit's files as they are written, drop-ins included; empty where there is no such unit."""
        return self._call(self.command("cat", unit)).stdout

    def version(self) -> int:
        """The version of systemd; 0 where that is not known."""
        output = self._call(["systemctl", "--version"]).stdout
        found = re.match(r"systemd (\d+)", output)
        return int(found[1]) if found else 0

    def last_words(self, unit: str, *, since_s: float) -> str:
        """The last lines of a unit's journal.

        Args:
            since_s: Nothing older than this instant, in seconds since the epoch.
        """
        flag = "--user-unit" if self.scope == "user" else "--unit"
        argv = [
            "journalctl",
            flag,
            unit,
            f"--since=@{since_s:.3f}",
            "--lines=8",
            "--output=cat",
            "--no-pager",
            "--quiet",
        ]
        return self._call(argv).stdout.strip()

    def holds_socket(self, socket: str, service: str) -> bool:
        """Whether systemd listens for the service, and will go on listening over a daemon-reload.

        At a daemon-reload it looks up its sockets by their addresses, and misses those whose address it had to escape
        when it wrote that down (systemd 252).
        """
        return "\\" not in self.show(socket, "Listen").get("Listen", "") and self.listens_for(socket, service)

    def listens_for(self, socket: str, service: str) -> bool:
        """Whether systemd listens for the service at the address in its unit.

        An active unit is not enough: when a socket's path changes in the unit, a daemon-reload closes the old one and
        leaves the unit active with none, and flowd's next start then makes one of its own (systemd 252).
        """
        about = self.show(socket, "ActiveState", "Listen")
        if about.get("ActiveState") != "active" or not all(map(is_listening, listens_at(about))):
            return False
        pid = self.show(service, "MainPID").get("MainPID", "0")
        try:
            return pid == "0" or b"LISTEN_FDS=" in Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            return True  # it has just ended, or we may not look

    def _call(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=self._environ,
                timeout=_COMMAND_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StateError(f"{shlex.join(argv)}: {error}") from error

    def _find_user_manager(self) -> None:
        runtime = Path(self._environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
        if not (runtime / "systemd" / "private").exists() and not (runtime / "bus").exists():
            raise StateError(
                f"Your user manager does not run. Let it run without a login, and try again: "
                f"sudo loginctl enable-linger {user_name()}"
            )
        self._environ["XDG_RUNTIME_DIR"] = str(runtime)


class AbsentManager(ServiceManager):
    """Stands in for a manager that is not there, so that what an install would do can be shown. It is of the newest
    version, has no unit of flowd, and calls nothing."""

    def __init__(self, scope: Scope) -> None:
        """Unlike a real one's, this never raises."""
        self.scope = scope

    def version(self) -> int:
        """One that has all that units of flowd may ask for."""
        return sys.maxsize

    def _call(self, argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 0, "", "")


def user_name() -> str:
    """The name of our user, or the number where it has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def listens_at(about: dict[str, str]) -> list[Path]:
    r"""The Unix sockets of a socket unit.

    >>> listens_at({"Listen": "/run/my flowd.sock (Stream)\n127.0.0.1:7345 (Stream)"})
    [PosixPath('/run/my flowd.sock')]
    >>> listens_at({"Listen": "/srv/\\303\\234ber/a\\\\x2db.sock (Stream)"})
    [PosixPath('/srv/Über/a\\x2db.sock')]
    """
    places = [line.rpartition(" (")[0] for line in about.get("Listen", "").splitlines()]
    return [Path(_unescaped(place)) for place in places if place.startswith("/")]


def _unescaped(text: str) -> str:
    """Undo systemd's C escapes, in which each byte that is not ASCII is three octal digits."""
    return os.fsdecode(_ESCAPE.sub(lambda found: _byte(found[1]), os.fsencode(text)))


def _byte(escape: bytes) -> bytes:
    return bytes([int(escape, 8)]) if escape.isdigit() else _LETTERS.get(escape, escape)


def is_listening(path: Path) -> bool:
    """Whether some process listens at a Unix socket's path. Does not connect, because that would start a service."""
    if not os.path.lexists(path):
        return False  # removed: its listener goes on, and nobody reaches it
    try:
        lines = Path("/proc/net/unix").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return False
    found = [fields for fields in (line.split(None, 7) for line in lines[1:]) if len(fields) == 8]
    return any(fields[7] == str(path) and int(fields[3], 16) & _ACCEPTS for fields in found)
