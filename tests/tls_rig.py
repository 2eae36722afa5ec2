"""A PostgreSQL server that is reached over TCP with TLS and passwords alone, under a name that no machine has."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import postgres_rig
import pytest

NAME = "db.example.org"
ROLE = "flowd_host"
PASSWORD = "tr0ub4dor&three"


def _openssl(folder: Path, *words: str) -> None:
    done = subprocess.run(["openssl", *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _certify(folder: Path, name: str) -> None:
    """An authority ``name.crt``, and a certificate of the server by it: ``name-server.crt`` with its key."""
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    _openssl(folder, "req", "-x509", *curve, "-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}")
    (folder / "names").write_text(f"subjectAltName=DNS:{NAME}\n")
    _openssl(folder, "req", *curve[:5], "-keyout", f"{name}-server.key", "-out", "request", "-subj", f"/CN={NAME}")
    _openssl(folder, "x509", "-req", "-in", "request", "-CA", f"{name}.crt", "-CAkey", f"{name}.key", "-days", "2",
             "-CAcreateserial", "-extfile", "names", "-out", f"{name}-server.crt")  # fmt: skip


class TlsServer:
    """The server, and what its clients need.

    Attributes:
        folder: Of certificates: ``good.crt`` is of the authority that has certified the server, ``other.crt`` of one
            that has not.
        server: To reach it as its superuser, by its socket.
    """

    def __init__(self) -> None:
        programs = postgres_rig.programs()
        if shutil.which("openssl") is None:
            pytest.skip("NOT TESTED: TLS to PostgreSQL, because there is no openssl (apt install openssl)")
        self.folder = Path(tempfile.mkdtemp(prefix="flowd-tls-"))
        self.folder.chmod(0o755)
        for name in ("good", "other"):
            _certify(self.folder, name)
        access = self.folder / "access"
        access.write_text(f"local all postgres trust\nhostssl all {ROLE} all scram-sha-256\n")
        key = self.folder / "good-server.key"
        if os.geteuid() == 0:
            os.chown(key, pwd.getpwnam("postgres").pw_uid, -1)
        # A process of the tests has an address of its own, so that all may have the port that is usual.
        self.address = f"127.{os.getpid() >> 14 & 127 | 128}.{os.getpid() >> 7 & 127}.{os.getpid() & 127 | 128}"
        self.server = postgres_rig.Server(
            programs,
            {
                **postgres_rig.OPTIONS, "listen_addresses": self.address, "ssl": "on", "hba_file": str(access),
                "ssl_cert_file": str(self.folder / "good-server.crt"), "ssl_key_file": str(key),
            },
        )  # fmt: skip
        self.server.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'")

    def url(self, database: str, *, password: str = "", host: str = NAME, **options: str) -> str:
        """Of a database of it, by a name that is no local one."""
        said = "".join(f"&{name}={value}" for name, value in options.items())
        who = f"{ROLE}:{password.replace('&', '%26')}" if password else ROLE
        return f"postgresql://{who}@{host}/{database}?hostaddr={self.address}{said}"

    def make_database(self, name: str) -> str:
        """With flowd's schema, and what the role of hosts needs of it; its name."""
        from flowd.store.postgres import owning  # noqa: PLC0415 - not every machine has its driver
        from flowd.store.postgres.address import Address  # noqa: PLC0415

        url = self.server.make_database(name)
        owning.bring_up_to_date(Address(url, url, "flowd"), is_new=False, host_role=ROLE)
        return name

    def password_file(self, folder: Path, password: str = PASSWORD) -> Path:
        """As libpq wants it."""
        path = folder / "passwords"
        path.write_text(f"{NAME}:*:*:{ROLE}:{password}\n")
        path.chmod(0o600)
        return path

    def remove(self) -> None:
        """End it."""
        self.server.remove()
        shutil.rmtree(self.folder)
