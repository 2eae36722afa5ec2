"""Checks systemd: the workspace's units and socket, lingering, the watchdog, and failed units of steps."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from flowd.doctor import service_owner
from flowd.doctor.finding import Finding, fail, ok, warn
from flowd.doctor.scene import Scene
from flowd.doctor.whereabouts import is_closed
from flowd.domain.errors import StateError
from flowd.observe import own_unit
from flowd.observe.own_unit import OwnUnit
from flowd.service import http_ports, installation, unfit, unit_files
from flowd.service.systemctl import ENABLED, ServiceManager, user_name

_SHOWN = (
    "LoadState", "ActiveState", "UnitFileState", "Result", "ExecMainStatus", "NRestarts", "WatchdogUSec",
    "NeedDaemonReload", "ExecStart",
)  # fmt: skip


def check(scene: Scene) -> Iterator[Finding]:
    """Check the service where one is installed; a flowd that is started by hand needs none."""
    if not Path("/run/systemd/system").is_dir():
        yield ok("service", "systemd does not manage this machine")
        return
    if not is_closed(scene.folder):
        yield _managed(scene)
    for scope in ("user", "system"):
        try:
            manager = ServiceManager("user" if scope == "user" else "system")
        except StateError as error:
            if scope == "user":
                yield from _without_user_manager(scene, error.message)
            continue
        yield from _units(scene, manager)
        yield from _failed_steps(manager)
    if scene.settings.executor == "systemd":
        yield _controllers()


def _without_user_manager(scene: Scene, why: str) -> Iterator[Finding]:
    if scene.settings.executor == "systemd" and own_unit.default_scope() == "user":
        yield fail("service.bus", why, "Without it the executor systemd cannot start steps.")
    if installation.is_installed("user", scene.settings.workspace, home=Path.home()):
        service, _ = unit_files.names(scene.settings.workspace)
        yield fail("service.user", f"{service} is installed, and does not run", why)


def _managed(scene: Scene) -> Finding:
    if scene.daemon is None:
        return ok("service.manager", "no daemon runs")
    try:
        unit = own_unit.find(Path(f"/proc/{scene.daemon.pid}/cgroup").read_text(encoding="utf-8"))
    except OSError:
        unit = None
    if unit is None or not (unit.name.startswith("flowd") or _is_main(unit, scene.daemon.pid)):
        return ok("service.manager", "the daemon was started by hand; `flowd service install` makes a service of it")
    return ok("service.manager", f"{unit.name} of the {unit.scope} manager")


def _is_main(unit: OwnUnit, pid: int) -> bool:
    """Whether a unit of any name is there to run this process."""
    try:
        return ServiceManager(unit.scope).show(unit.name, "MainPID").get("MainPID") == str(pid)
    except StateError:
        return False


def _units(scene: Scene, manager: ServiceManager) -> Iterator[Finding]:
    workspace = scene.settings.workspace
    service, socket = unit_files.names(workspace)
    if not installation.is_meant(manager, workspace, home=Path.home()):
        return
    about = manager.show(service, *_SHOWN)
    name = f"service.{manager.scope}"
    if masked := [unit for unit in (service, socket) if _is_masked(manager, unit)]:
        yield fail(
            name,
            f"{' and '.join(masked)} {'is' if len(masked) == 1 else 'are'} masked: systemd does not start it",
            f"{manager.typed('unmask', *masked)}; then `flowd service install`",
        )
        return
    is_held = manager.listens_for(socket, service)
    yield _life(name, service, socket, about, manager, is_held=is_held)
    if (missing := _missing_program(about.get("ExecStart", ""))) is not None:
        yield fail(name, f"{service} runs {missing}, which is not there", "flowd service install")
    lost = [
        unit for unit in (service, socket) if manager.show(unit, "UnitFileState").get("UnitFileState") not in ENABLED
    ]
    if lost:
        yield warn(f"{name}.boot", f"{' and '.join(lost)} will not start by itself", manager.typed("enable", *lost))
    if not is_held and about.get("ActiveState") == "active":
        yield warn(
            f"{name}.socket",
            f"systemd does not hold {socket}: callers are refused while flowd does not run",
            f"{manager.typed('restart', socket, service)} (running steps go on)",
        )
    yield from _http(scene, manager, f"{name}.http")
    if manager.scope == "system":
        yield from service_owner.check(manager, workspace, service, socket)
    if (restarts := about.get("NRestarts", "0")) != "0":
        yield warn(
            f"{name}.restarts",
            f"flowd crashed or hung, and systemd restarted it: {restarts} {'time' if restarts == '1' else 'times'}",
            f"`flowd service logs` says why; {manager.typed('reset-failed', service)} forgets them.",
        )
    if about.get("ActiveState") == "active" and about.get("WatchdogUSec") in ("0", "infinity"):  # it has none before
        yield warn(f"{name}.watchdog", "systemd would not notice a flowd that hangs", "Set WatchdogSec=30 in the unit.")
    user = user_name()
    if manager.scope == "user" and not installation.lingers(user):
        yield warn(f"{name}.lingering", "it ends when you log out", f"loginctl enable-linger {user}")


def _is_masked(manager: ServiceManager, unit: str) -> bool:
    """Also where systemd has not looked since."""
    is_known = manager.show(unit, "LoadState").get("LoadState") == "masked"
    return is_known or unfit.is_masked(unit_files.folder(manager.scope, Path.home()) / unit)


def _life(
    name: str, service: str, socket: str, about: Mapping[str, str], manager: ServiceManager, *, is_held: bool
) -> Finding:
    state, result = about.get("ActiveState"), about.get("Result")
    if about.get("LoadState") not in ("loaded", "not-found"):
        return fail(name, f"{service} cannot be loaded: {about.get('LoadState')}", "flowd service install")
    if about.get("NeedDaemonReload") == "yes":
        return warn(name, f"{service} was changed, and systemd still has the old one", "flowd service install")
    if state == "failed":
        status = about.get("ExecMainStatus", "0")
        return fail(
            name,
            f"{service} has failed ({result}{f', exit status {status}' if status != '0' else ''})",
            "`flowd service logs` says why. Then `flowd service install` starts it again.",
        )
    if state == "activating":
        return warn(name, f"{service} is starting, after {result}", "`flowd service logs` says what it waits for.")
    if state == "inactive" and not is_held:
        return warn(name, f"{service} is stopped, and so is its socket", manager.typed("start", socket, service))
    return ok(name, f"{service} is {state}, {about.get('UnitFileState')}")


def _http(scene: Scene, manager: ServiceManager, name: str) -> Iterator[Finding]:
    unit = unit_files.http_name(scene.settings.workspace)
    if not unit_files.is_written_by_install(unit_files.folder(manager.scope, Path.home()) / unit):
        return
    about = manager.show(unit, "ActiveState", "Listen")
    held, wanted = about.get("Listen", "").rpartition(" (")[0], unit_files.listen_stream(scene.settings.http)
    if held != wanted:
        says = f"have HTTP at {wanted}" if wanted else "have no HTTP for systemd to listen for"
        yield warn(name, f"{unit} is at {held}, and the settings {says}: callers wait there", "flowd service install")
    elif about.get("ActiveState") != "active":
        yield warn(
            name,
            f"systemd does not hold {unit}: {http_ports.why_taken(manager, unit)}",
            "Correct that; then `flowd service install`.",
        )
    else:
        yield ok(name, f"systemd listens for HTTP at {held}")


def _failed_steps(manager: ServiceManager) -> Iterator[Finding]:
    listed = manager.run("list-units", "--failed", "--no-legend", "--plain", "codex-flow-*")
    names = [line.split()[0] for line in listed.splitlines() if line.strip()]
    if names:
        yield warn(
            f"service.{manager.scope}.steps",
            f"units of steps have failed and are still there: {len(names)}, like {names[0]}",
            f"Where no daemon runs, start it: it records their ends. Else: "
            f"{manager.typed('reset-failed', 'codex-flow-*')}",
        )


def _controllers() -> Finding:
    try:
        there = Path("/sys/fs/cgroup/cgroup.controllers").read_text(encoding="ascii").split()
    except OSError:
        there = []
    missing = [name for name in ("memory", "pids", "cpu") if name not in there]
    if not missing:
        return ok("service.limits", "limits of memory, processes and processor time hold for whole steps")
    return warn(
        "service.limits",
        f"systemd has no {' and no '.join(missing)} controller: memory is limited for each process by itself, and "
        "steps with a limit of processes or cpu_percent are refused",
        "Boot with cgroup v2 alone: systemd.unified_cgroup_hierarchy=1.",
    )


def _missing_program(exec_start: str) -> str | None:
    """The program of an ``ExecStart`` as `systemctl show` has it, if it is not there.

    >>> _missing_program("{ path=/no/such/flowd ; argv[]=/no/such/flowd serve ; }")
    '/no/such/flowd'
    """
    path = exec_start.partition("path=")[2].partition(" ;")[0]
    return path if path and not Path(path).exists() else None
