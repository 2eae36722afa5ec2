"""The machine's disk: the newest stable Debian, made once by debootstrap and kept until this recipe changes."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SUITE = "stable"
PACKAGES = (
    "dbus,dbus-user-session,initramfs-tools,libpam-systemd,linux-image-cloud-amd64,netcat-openbsd,openssh-server,"
    "procps,python3,python3-venv,strace,sudo,systemd-sysv"
)
_DISK_BYTES = 4 << 30
_FILES = {
    "etc/hostname": "flowd-vm\n",
    "etc/hosts": "127.0.0.1 localhost flowd-vm\n",
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/systemd/network/net.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv4\n",
    "etc/ssh/sshd_config.d/vm.conf": "PermitRootLogin prohibit-password\nUseDNS no\nMaxStartups 100\n",
    "etc/systemd/journald.conf.d/vm.conf": "[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\n",
}


@dataclass(frozen=True, slots=True)
class Image:
    """What a machine is booted from.

    Attributes:
        key: The private half of the key that root may log in with.
        python: The version of its Python, such as ``3.13``.
    """

    disk: Path
    kernel: Path
    initrd: Path
    key: Path
    python: str


def missing() -> list[str]:
    """What this machine lacks to make and boot one."""
    found = [] if os.geteuid() == 0 else ["root (debootstrap makes device nodes and changes owners)"]
    packages = {
        "debootstrap": "debootstrap",
        "qemu-system-x86_64": "qemu-system-x86",
        "mkfs.ext4": "e2fsprogs",
        "ssh": "openssh-client",
        "ssh-keygen": "openssh-client",
    }
    found += [f"{name} (Debian: {package})" for name, package in packages.items() if not shutil.which(name)]
    return found if os.uname().machine == "x86_64" else [*found, "an x86_64 processor"]


def image(folder: Path) -> Image:
    """The image of today's recipe, made where there is none."""
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    mark, disk, key = folder / "recipe", folder / "disk.img", folder / "key"
    if not mark.exists() or mark.read_text(encoding="utf-8").split()[0] != recipe:
        mark.unlink(missing_ok=True)
        _make(folder, disk, key)
        python = next((folder / "root/usr/lib").glob("python3.*")).name.removeprefix("python")
        shutil.rmtree(folder / "root")
        mark.write_text(f"{recipe} {python}\n", encoding="utf-8")
    python = mark.read_text(encoding="utf-8").split()[1]
    return Image(disk, folder / "vmlinuz", folder / "initrd", key, python)


def _make(folder: Path, disk: Path, key: Path) -> None:
    root = folder / "root"
    for path in (root, disk, key, key.with_suffix(".pub")):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    mirror = _mirror()
    print(f"making a Debian {SUITE} in {folder}: about two minutes", flush=True)
    with (folder / "debootstrap.log").open("wb") as log:
        done = subprocess.run(
            ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root), mirror],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        raise SystemExit(f"debootstrap failed; {folder / 'debootstrap.log'} says why")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    for name, text in {**_FILES, "root/.ssh/authorized_keys": key.with_suffix(".pub").read_text()}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        (root / name).write_text(text, encoding="utf-8")
    subprocess.run(
        ["systemctl", f"--root={root}", "enable", "systemd-networkd.service", "ssh.service"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        ["systemctl", f"--root={root}", "mask", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"],
        check=True,
        capture_output=True,
    )
    for deb in (root / "var/cache/apt/archives").glob("*.deb"):
        deb.unlink()
    for name in ("vmlinuz", "initrd"):
        newest = max((root / "boot").glob(f"{name}*"))
        shutil.copyfile(newest, folder / name)
    with disk.open("wb") as file:
        file.truncate(_DISK_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "root_owner=0:0", "-d", str(root), str(disk)], check=True)


def _mirror() -> str:
    """Debian's packages from where this machine has them."""
    if mirror := os.environ.get("DEBIAN_MIRROR"):
        return mirror
    if shutil.which("apt-get"):
        fields = "$(REPO_URI) $(ORIGIN) $(LABEL)"
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", fields, "Created-By: Packages"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            uri, *about = line.split()
            if about == ["Debian", "Debian"]:
                return uri
    raise SystemExit("where are Debian's packages? Set DEBIAN_MIRROR to the address of a mirror")
