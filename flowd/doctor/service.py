"""systemd: the workspace's units and socket, lingering, the watchdog, and units of steps that failed and stayed."""

from collections.abc import Iterator
from pathlib import Path

from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.doctor.whereabouts import is_closed
from flowd.domain.errors import StateError
from flowd.units import installation, own, templates
from flowd.units.installation import ServiceManager

_ENABLED = ("enabled", "enabled-runtime")
_SHOWN = ("LoadState", "ActiveState", "UnitFileState", "Result", "WatchdogUSec", "NeedDaemonReload", "ExecStart")


def check(scene: Scene) -> Iterator[Finding]:
    """Only what is installed is looked at; a flowd that is started by hand needs none of it."""
    if not Path("/run/systemd/system").is_dir():
        yield ok("service", "systemd does not manage this machine")
        return
    if not is_closed(scene.folder):
        yield _managed(scene)
    for scope in ("user", "system"):
        try:
            manager = ServiceManager("user" if scope == "user" else "system")
        except StateError as error:
            if scope == "user" and scene.settings.executor == "systemd" and not own.is_root():
                yield fail("service.bus", error.message, "Without it the executor systemd cannot start steps.")
            continue
        yield from _units(scene, manager)
        yield from _failed_steps(manager)
    if scene.settings.executor == "systemd":
        yield _controllers()


def _managed(scene: Scene) -> Finding:
    if scene.daemon is None:
        return ok("service.manager", "no daemon runs")
    try:
        unit = own.find(Path(f"/proc/{scene.daemon.pid}/cgroup").read_text(encoding="utf-8"))
    except OSError:
        unit = None
    if unit is None or not unit.name.startswith("flowd"):
        return ok("service.manager", "the daemon was started by hand; `flowd service install` makes a service of it")
    return ok("service.manager", f"{unit.name} of the {unit.scope} manager")


def _units(scene: Scene, manager: ServiceManager) -> Iterator[Finding]:
    service, socket = templates.names(scene.settings.workspace)
    about = manager.show(service, *_SHOWN)
    is_meant = about.get("UnitFileState") in _ENABLED or about.get("ActiveState") != "inactive"
    if not is_meant and not installation.is_installed(manager.scope, scene.settings.workspace, home=Path.home()):
        return  # a packaged template fits every workspace, and says nothing about this one
    scope, call = manager.scope, " ".join(manager.command())
    name = f"service.{scope}"
    if about.get("ActiveState") == "failed":
        yield fail(name, f"{service} has failed ({about.get('Result')})", "`flowd service logs` says why.")
    elif about.get("NeedDaemonReload") == "yes":
        yield warn(name, f"{service} was changed, and systemd still has the old one", f"{call} daemon-reload")
    else:
        yield ok(name, f"{service} is {about.get('ActiveState')}, {about.get('UnitFileState')}")
    if (missing := _missing_program(about.get("ExecStart", ""))) is not None:
        yield fail(name, f"{service} runs {missing}, which is not there", "flowd service install")
    if about.get("UnitFileState") not in _ENABLED:
        yield warn(f"{name}.boot", f"{service} does not start by itself", f"{call} enable {socket} {service}")
    if manager.show(socket, "ActiveState").get("ActiveState") != "active":
        yield warn(
            f"{name}.socket",
            f"systemd does not hold {socket}: callers are refused while flowd restarts",
            f"{call} restart {socket} {service}",
        )
    if about.get("WatchdogUSec") in ("0", "infinity"):
        yield warn(f"{name}.watchdog", "a flowd that hangs is not noticed", "Set WatchdogSec=30 in the unit.")
    user = installation.user_name()
    if scope == "user" and not installation.lingers(user):
        yield warn(f"{name}.lingering", "it ends when you log out", f"loginctl enable-linger {user}")


def _failed_steps(manager: ServiceManager) -> Iterator[Finding]:
    listed = manager.run("list-units", "--failed", "--no-legend", "--plain", "codex-flow-*")
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    if names:
        yield warn(
            f"service.{manager.scope}.steps",
            f"{len(names)} units of steps have failed and are still there, like {names[0]}",
            f"Where no daemon runs, start it: it records their ends. Else: "
            f"{' '.join(manager.command('reset-failed', 'codex-flow-*'))}",
        )


def _controllers() -> Finding:
    try:
        there = Path("/sys/fs/cgroup/cgroup.controllers").read_text(encoding="ascii").split()
    except OSError:
        there = []
    missing = [name for name in ("memory", "pids") if name not in there]
    if not missing:
        return ok("service.limits", "limits of memory and processes hold for whole steps")
    return warn(
        "service.limits",
        f"systemd has no {' and no '.join(missing)} controller: memory is limited for each process by itself, and "
        "steps with a limit of processes are refused",
        "Boot with cgroup v2 alone: systemd.unified_cgroup_hierarchy=1.",
    )


def _missing_program(exec_start: str) -> str | None:
    """The program of an ``ExecStart`` as `systemctl show` has it, if it is not there.

    >>> _missing_program("{ path=/no/such/flowd ; argv[]=/no/such/flowd serve ; }")
    '/no/such/flowd'
    """
    path = exec_start.partition("path=")[2].partition(" ;")[0]
    return path if path and not Path(path).exists() else None
