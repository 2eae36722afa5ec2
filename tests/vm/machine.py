"""A machine that runs: qemu with the image as its disk, which keeps nothing, and ssh into it."""

import os
import shlex
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from vm.image import Image

_BOOT_BOUND_S = 300.0
"""Half a minute would do with KVM; without it everything takes many times as long."""
_EMULATED = ("tcg,thread=multi,tb-size=1024", "-cpu", "max,cx16=off")
"""qemu 7.2 sometimes gets cmpxchg16b wrong, which a kernel does not survive."""
_DOWN_WITHIN_S = 20.0
_PANIC_WITHIN_S = 15.0


class Machine:
    """A booted machine. What is written to its disk lasts over its own reboots, and no longer.

    Attributes:
        has_kvm: It runs on the processor itself.
        console: What its kernel and its boot said.
    """

    def __init__(self, image: Image, folder: Path) -> None:
        self.has_kvm = _is_kvm_usable(image)
        self.console = folder / "console.log"
        self._image = image
        self._port = _free_port()
        accelerator = ("kvm", "-cpu", "max") if self.has_kvm else _EMULATED
        self._qemu = subprocess.Popen(
            [
                "qemu-system-x86_64", "-accel", *accelerator, "-smp", "2", "-m", "3072",
                "-nodefaults", "-no-user-config", "-display", "none", "-serial", f"file:{self.console}",
                "-kernel", str(image.kernel), "-initrd", str(image.initrd),
                "-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet",
                "-drive", f"file={image.disk},format=raw,if=virtio,snapshot=on",
                "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{self._port}-:22",
                "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci",
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._qemu.kill()
        self._qemu.communicate()

    def ssh_command(self) -> list[str]:
        """The words before what is to be run in it, as root."""
        settings = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=5",
                    "ServerAliveInterval=10", "ServerAliveCountMax=6")  # fmt: skip
        options = [word for setting in settings for word in ("-o", setting)]
        return ["ssh", "-F", "none", "-i", str(self._image.key), "-p", str(self._port), *options, "root@127.0.0.1"]

    def run(self, script: str, *, stdin: bytes = b"", check: bool = True) -> str:
        """Run shell lines as root, and return what they printed."""
        done = subprocess.run([*self.ssh_command(), script], input=stdin, capture_output=True, check=False)
        printed = done.stdout.decode(errors="replace")
        if check and done.returncode != 0:
            raise SystemExit(f"in the machine, `{script}` failed ({done.returncode}):\n{printed}{done.stderr.decode()}")
        return printed

    def show(self, script: str) -> int:
        """Run shell lines whose output goes where ours does; their exit code."""
        return subprocess.run([*self.ssh_command(), script], stdin=subprocess.DEVNULL, check=False).returncode

    def send(self, folder: Path, names: list[str], to: str) -> None:
        """Copy files and folders of a folder into it."""
        packed = subprocess.run(
            ["tar", "-C", str(folder), "--owner=0", "--group=0", "--exclude=__pycache__", "-cf", "-", *names],
            check=True,
            capture_output=True,
        )
        self.run(f"mkdir -p {shlex.quote(to)} && tar -C {shlex.quote(to)} -xf -", stdin=packed.stdout)

    def go_down(self, how: str) -> None:
        """Run what ends this boot, and with it the connection."""
        try:
            subprocess.run([*self.ssh_command(), how], stdin=subprocess.DEVNULL, timeout=_DOWN_WITHIN_S, check=False)
        except subprocess.TimeoutExpired:
            pass  # it went down without a word

    def await_boot(self, *, other_than: str = "") -> str:
        """Wait until it is up, in another boot than this one; the id of the boot."""
        deadline = time.monotonic() + _BOOT_BOUND_S
        while time.monotonic() < deadline:
            if self._qemu.poll() is not None:
                raise SystemExit(f"qemu ended: {self._qemu.communicate()[1]}")
            boot = self.run("systemctl is-system-running --wait >&2; cat /proc/sys/kernel/random/boot_id", check=False)
            if boot.strip() and boot.strip() != other_than:
                return boot.strip()
            time.sleep(0.5)
        raise SystemExit(f"it did not come up within {_BOOT_BOUND_S:.0f} s; {self.console} has what it said")


def _is_kvm_usable(image: Image) -> bool:
    """Whether a kernel gets anywhere with it: in some virtual machines /dev/kvm is there, and does not work."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    try:
        done = subprocess.run(
            [
                "qemu-system-x86_64", "-accel", "kvm", "-cpu", "max", "-m", "512",
                "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                "-kernel", str(image.kernel), "-append", "panic=-1 quiet",
            ],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_PANIC_WITHIN_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0  # without a root to mount, it panicked


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
