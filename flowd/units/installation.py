"""Installing and removing flowd as a service: a list of actions that can be shown before any of them is done."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowd.domain.errors import StateError
from flowd.units import templates
from flowd.units.templates import ServiceUnits, Wanted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from flowd.units.bus import Scope

SYSUSERS = Path("/etc/sysusers.d/flowd.conf")
_COMMAND_WITHIN_S = 180.0
"""More than the two times 90 s that a stop may take at the very most is no use; a start has 90."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do.

    Attributes:
        says: It, as a command or a sentence.
        shows: More of it: a file's text.
    """

    says: str
    do: Callable[[], None]
    shows: str = ""


class ServiceManager:
    """``systemctl`` of the system or of the current user, as a person would call it."""

    def __init__(self, scope: "Scope") -> None:
        """Check that there is such a manager.

        Raises:
            StateError: There is none; the message has the remedy.
        """
        self.scope = scope
        self._environ = dict(os.environ)
        if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
            raise StateError("systemd does not manage this machine. Let its own service manager run `flowd serve`.")
        if scope == "user":
            self._find_user_manager()

    def command(self, *argv: str) -> list[str]:
        """A call of systemctl."""
        return ["systemctl", *(["--user"] if self.scope == "user" else []), *argv]

    def run(self, *argv: str) -> str:
        """Its output.

        Raises:
            StateError: It failed; the message has what it said.
        """
        done = self._call(self.command(*argv))
        if done.returncode != 0:
            raise StateError(f"{' '.join(self.command(*argv))} failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of a unit; those of one that does not exist say so in ``LoadState``."""
        output = self._call(self.command("show", "--property", ",".join(names), unit)).stdout
        return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)

    def version(self) -> int:
        """systemd's."""
        output = self._call(["systemctl", "--version"]).stdout
        found = re.match(r"systemd (\d+)", output)
        return int(found[1]) if found else 0

    def last_words(self, unit: str) -> str:
        """The end of a unit's journal."""
        flag = "--user-unit" if self.scope == "user" else "--unit"
        argv = ["journalctl", flag, unit, "--lines", "8", "--output", "cat", "--no-pager"]
        return self._call(argv).stdout.strip()

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
            raise StateError(f"{' '.join(argv)}: {error}") from error

    def _find_user_manager(self) -> None:
        runtime = Path(self._environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}")
        if not (runtime / "systemd" / "private").exists() and not (runtime / "bus").exists():
            raise StateError(
                f"Your user manager does not run. Let it run without a login, and try again: "
                f"sudo loginctl enable-linger {user_name()}"
            )
        self._environ["XDG_RUNTIME_DIR"] = str(runtime)


def install(manager: ServiceManager, units: ServiceUnits, wanted: Wanted, *, is_started: bool) -> Iterator[Action]:
    """What makes a service of a workspace, in order. Doing it again brings an older one up to date."""
    if wanted.scope == "system" and wanted.run_as == "flowd" and not _has_user("flowd"):
        text = templates.packaged("sysusers.conf")
        yield Action(f"write {SYSUSERS}", lambda: _write(SYSUSERS, text), text)
        yield Action(f"systemd-sysusers {SYSUSERS}", lambda: _must(["systemd-sysusers", str(SYSUSERS)]))
    for path, text in units.files.items():
        yield Action(f"write {path}", lambda path=path, text=text: _write(path, text), text)  # type: ignore[misc]
    names = (units.socket_name, units.service_name)
    yield _systemctl(manager, "daemon-reload")
    yield _systemctl(manager, "enable", *names)
    if is_started:
        yield _systemctl(manager, "start", units.socket_name)
        yield Action(
            f"{' '.join(manager.command('restart', units.service_name))}, and wait until it is ready",
            lambda: _start(manager, units),
        )


def uninstall(
    manager: ServiceManager, workspace: Path, *, home: Path, end_steps: Callable[[], None]
) -> Iterator[Action]:
    """What removes a service again, in order. State stays; steps that run are canceled.

    Args:
        end_steps: Ends what a daemon that is gone has left running: systemd stops nothing of a unit that has failed.
    """
    service_name, socket_name = templates.names(workspace)
    where = templates.folder(manager.scope, home)
    yield _systemctl(manager, "disable", "--now", socket_name, service_name)
    yield Action("end the steps that a failed service has left running, if any", end_steps)
    yield Action(
        " ".join(manager.command("reset-failed", service_name)),
        lambda: _quietly(manager, "reset-failed", service_name),
    )
    if manager.scope == "system":
        argv = ("clean", "--what=runtime", service_name)
        yield Action(" ".join(manager.command(*argv)), lambda: _quietly(manager, *argv))
    for name in (service_name, socket_name):
        if (where / name).exists():
            yield Action(f"remove {where / name}", (where / name).unlink)
    if manager.scope == "system" and _is_last(where, service_name) and _is_ours(SYSUSERS):
        yield Action(f"remove {SYSUSERS} (the user flowd stays, because state may be its own)", SYSUSERS.unlink)
    yield _systemctl(manager, "daemon-reload")


def is_installed(scope: "Scope", workspace: Path, *, home: Path) -> bool:
    """Whether `install` has been here."""
    return (templates.folder(scope, home) / templates.names(workspace)[0]).exists()


def lingers(user: str) -> bool:
    """Whether a user's services run without a login."""
    return Path("/var/lib/systemd/linger", user).exists()


def user_name() -> str:
    """Ours."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def owner_of(workspace: Path) -> str:
    """Whom a system service of this workspace runs as: its owner; never root."""
    uid = workspace.stat().st_uid
    if uid == 0:
        return "flowd"
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _systemctl(manager: ServiceManager, *argv: str) -> Action:
    def do() -> None:
        manager.run(*argv)

    return Action(" ".join(manager.command(*argv)), do)


def _quietly(manager: ServiceManager, *argv: str) -> None:
    try:
        manager.run(*argv)
    except StateError:
        pass  # there was nothing to do it to


def _is_last(where: Path, service_name: str) -> bool:
    """Whether no other workspace has a service here, nor will all have one of a package."""
    return all(path.name == service_name for path in where.glob("flowd@*.service"))


def _is_ours(path: Path) -> bool:
    """Whether a file is as `install` wrote it."""
    try:
        return path.read_text(encoding="utf-8") == templates.packaged("sysusers.conf")
    except OSError:
        return False


def _start(manager: ServiceManager, units: ServiceUnits) -> None:
    """`restart`, so that a new unit file is in force at once; it leaves running steps alone."""
    try:
        manager.run("restart", units.service_name)
    except StateError as error:
        raise StateError(f"{error.message}\n{manager.last_words(units.service_name)}") from error


def _must(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise StateError(f"{' '.join(argv)} failed: {done.stderr.strip()}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StateError(f"Cannot write {path}: {error.strerror}.") from error


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
