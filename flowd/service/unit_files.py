"""Renders the unit files of one workspace from those that come with flowd. Reads the templates, writes nothing."""

import ipaddress
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import flowd
from flowd.api.http.config import HttpConfig, TcpAddress
from flowd.observe.own_unit import Scope
from flowd_client.discovery import MAX_SOCKET_PATH_BYTES, is_plain, system_socket, systemd_escape

SYSTEM_STATE = Path("/var/lib/flowd")
"""Below it, `system_state` of each workspace."""
_MADE = "# Written by `flowd service install`"
_WITH_HTTP = "# Wished for only: where the port is taken, flowd itself says so.\nWants=flowd-http@%i.socket\n"
_PACKAGED_COMMAND = "/usr/bin/flowd"
_IS_BARE = re.compile(r"[A-Za-z0-9_./+-]+").fullmatch
_CONTROL = re.compile(r"[\0-\x1f\x7f]")
NOTIFY_RELOAD_SINCE = 253
"""The version of systemd that introduced ``Type=notify-reload``; an older one would take it for ``simple``."""

RESTART_STEPS_SINCE = 254
"""The version of systemd that introduced ``RestartSteps=``."""

DELEGATE_SUBGROUP_SINCE = 254
"""The version of systemd that introduced ``DelegateSubgroup=``."""


@dataclass(frozen=True, slots=True)
class ServiceUnits:
    """The units of one workspace.

    Attributes:
        sockets: The control socket's unit, and HTTP's where systemd is to hold its port.
        socket: Where clients will find the daemon.
        files: What to write where.
    """

    service_name: str
    sockets: tuple[str, ...]
    socket: Path
    files: dict[Path, str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the units are rendered for.

    Attributes:
        command: Absolute path of the flowd to run.
        run_as: User of a system service.
        search_path: ``PATH`` for steps of a user's service; systemd's own lacks what people install at home.
        socket: Where the workspace's settings want the socket of a user's service.
        systemd_version: Of the running manager.
        http: Where systemd is to listen for HTTP, as `listen_stream` has it.
    """

    scope: Scope
    workspace: Path
    command: str
    run_as: str
    search_path: str
    socket: Path
    systemd_version: int
    http: str = ""


def folder(scope: Scope, home: Path) -> Path:
    """The folder of unit files that the administrator, or a user, has written."""
    if scope == "system":
        return Path("/etc/systemd/system")
    return Path(os.environ.get("XDG_CONFIG_HOME") or home / ".config") / "systemd" / "user"


def names(workspace: Path) -> tuple[str, str]:
    """The names of a workspace's service and socket units."""
    instance = systemd_escape(workspace)
    return f"flowd@{instance}.service", f"flowd@{instance}.socket"


def http_name(workspace: Path) -> str:
    """The name of the unit that holds a workspace's HTTP port."""
    return f"flowd-http@{systemd_escape(workspace)}.socket"


def listen_stream(config: HttpConfig | None) -> str:
    """Where systemd can listen for HTTP, as ``ListenStream=`` has it; empty where the daemon has to do so itself.

    systemd takes no host names, and does not choose a free port. The zone of an IPv6 address may have any character,
    so it does not get into a unit.
    """
    address = None if config is None else config.address
    if not isinstance(address, TcpAddress) or not address.port or "%" in address.host:
        return ""
    try:
        host = ipaddress.ip_address("127.0.0.1" if address.host == "localhost" else address.host)
    except ValueError:
        return ""
    return str(TcpAddress(str(host), address.port))


def is_written_by_install(path: Path) -> bool:
    """Whether `flowd service install` wrote a unit file, and not a person."""
    try:
        return path.read_text(encoding="utf-8").startswith(_MADE)
    except OSError:
        return False


def system_state(workspace: Path) -> Path:
    r"""``StateDirectory=`` of a workspace's service: not by the instance, as systemd 257 takes no backslash there.

    >>> str(system_state(Path("/srv/my-app")))
    '/var/lib/flowd/srv/my-app.state'
    """
    return Path(f"{SYSTEM_STATE}{workspace}.state")


def system_places(workspace: Path) -> tuple[Path, ...]:
    """What a system service has outside of its workspace: state, runtime folder, socket, file of variables."""
    runtime = Path(f"/run/flowd{workspace}.run")
    return system_state(workspace), runtime, system_socket(workspace), Path(f"/etc/flowd{workspace}.env")


def packaged(name: str) -> str:
    """The text of a file in flowd's ``systemd`` folder.

    Raises:
        FileNotFoundError: This flowd was installed without it.
    """
    here = Path(flowd.__file__).resolve().parent
    for root in (here / "_systemd", here.parent / "systemd"):
        if (root / name).is_file():
            return (root / name).read_text(encoding="utf-8")
    raise FileNotFoundError(f"flowd's unit files are neither in {here / '_systemd'} nor beside {here}; reinstall flowd")


def render(wanted: Wanted, *, home: Path) -> ServiceUnits:
    """The units of a workspace.

    They are whole files for the instance, not drop-ins: two workspaces may run two installations of flowd.
    """
    service_name, socket_name = names(wanted.workspace)
    service = packaged(f"{wanted.scope}/flowd@.service").replace(_PACKAGED_COMMAND, _quoted(wanted.command))
    socket_text = packaged(f"{wanted.scope}/flowd@.socket")
    if wanted.systemd_version >= NOTIFY_RELOAD_SINCE:
        service = service.replace("Type=notify\n", "Type=notify-reload\n")
        service = "\n".join(line for line in service.split("\n") if not line.startswith("ExecReload="))
    if wanted.systemd_version >= RESTART_STEPS_SINCE:
        service = service.replace("RestartSec=1\n", "RestartSec=1\nRestartSteps=5\nRestartMaxDelaySec=15\n")
    if wanted.systemd_version >= DELEGATE_SUBGROUP_SINCE:
        # Beside the daemon's cgroup, and not in its own, the keeper may have the controllers that limit whole steps.
        service = service.replace("Delegate=yes\n", "Delegate=yes\nDelegateSubgroup=daemon\n")
    if wanted.scope == "system":
        service = service.replace("User=flowd\n", f"User={wanted.run_as}\n")
        socket_text = socket_text.replace("SocketUser=flowd\n", f"SocketUser={wanted.run_as}\n")
        socket = system_socket(wanted.workspace)
        if not is_plain(wanted.workspace):
            service = service.replace("%t/flowd-sockets%f.sock", str(socket))
            socket_text = socket_text.replace("%t/flowd-sockets%f.sock", str(socket))
    else:
        path = _in_quotes(f"PATH={wanted.search_path}")
        service = service.replace("EnvironmentFile=-", f"Environment={path}\nEnvironmentFile=-", 1)
        socket = _reachable(wanted)
        if socket != wanted.workspace / ".codex" / "flowd" / "flowd.sock":
            listen = f"ListenStream={_specifier_safe(str(socket))}"
            socket_text = socket_text.replace("ListenStream=%f/.codex/flowd/flowd.sock", listen)
    made = f"{_MADE} for {_CONTROL.sub('?', str(wanted.workspace))}; `flowd service uninstall` removes it.\n"
    sockets = {socket_name: socket_text}
    if wanted.http:
        service = service.replace("After=flowd@%i.socket\n", f"After=flowd@%i.socket\n{_WITH_HTTP}", 1)
        http_text = packaged(f"{wanted.scope}/flowd-http@.socket")
        listen = f"ListenStream={wanted.http}"
        sockets[http_name(wanted.workspace)] = http_text.replace("ListenStream=127.0.0.1:7345", listen)
    where = folder(wanted.scope, home)
    files = {where / name: made + text for name, text in {service_name: service, **sockets}.items()}
    return ServiceUnits(service_name, tuple(sockets), socket, files)


def _reachable(wanted: Wanted) -> Path:
    """The socket's path; where it is too long or not plain, a short one, to which the daemon leaves a pointer."""
    if is_plain(wanted.socket) and len(os.fsencode(wanted.socket)) <= MAX_SOCKET_PATH_BYTES:
        return wanted.socket
    digest = sha256(os.fsencode(wanted.socket)).hexdigest()[:16]
    return Path(f"/run/user/{os.geteuid()}/flowd-{digest}.sock")


def _quoted(command: str) -> str:
    r"""A program's path as the first word of ``ExecStart=``.

    >>> _quoted("/opt/flowd/bin/flowd"), _quoted("/opt/my tools/flowd")
    ('/opt/flowd/bin/flowd', '"/opt/my tools/flowd"')
    """
    return command if _IS_BARE(command) else _in_quotes(command)


def _in_quotes(text: str) -> str:
    r"""One word of a setting, whatever it has in it, and on one line.

    >>> print(_in_quotes('PATH=/100%:/a"b:/c\\d\n[Service]'))
    "PATH=/100%%:/a\"b:/c\\d\x0a[Service]"
    """
    safe = _specifier_safe(text).replace("\\", "\\\\").replace('"', '\\"')
    one_line = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", safe)
    return f'"{one_line}"'


def _specifier_safe(text: str) -> str:
    return text.replace("%", "%%")
