"""A store over a network: who the server is, who we are, and what is said where one of them is wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tls_rig import NAME, PASSWORD, ROLE, TlsServer

from flowd.domain.errors import NotYetError, StateError
from flowd.settings.store import parse
from flowd.store.postgres import inspection
from flowd.store.postgres.address import Address
from flowd.store.postgres.store import PostgresDatabase

SHOWN = "tr0ub4dor"
"""What of the password is the same, however it is written."""


@pytest.fixture(scope="module")
def server() -> Iterator[TlsServer]:
    made = TlsServer()
    made.make_database("work")
    try:
        yield made
    finally:
        made.remove()


@pytest.fixture(autouse=True)
def _nobody_knows_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")


def address_of(url: str) -> Address:
    """As the settings make it of what somebody has said."""
    said = parse(url, {})
    return Address(said.url, said.shown, said.schema)


def seen(url: str) -> dict[str, str]:
    """What ``flowd store check`` finds."""
    found = {one.what: f"{one.level}: {one.found}" for one in inspection.look(address_of(url))}
    assert SHOWN not in str(found)
    return found


def refusal(url: str) -> str:
    """Why no daemon starts on it. It is not tried again by a service manager: only a change of settings helps."""
    with pytest.raises(StateError) as refused:
        PostgresDatabase(address_of(url)).open_writer()
    message = refused.value.message
    assert not isinstance(refused.value, NotYetError), message
    assert SHOWN not in message
    assert seen(url)["reached"] == f"fail: {message}"
    return message


def test_a_server_on_the_network_proves_who_it_is_without_being_told_to(server: TlsServer) -> None:
    url = server.url("work", password=PASSWORD, sslrootcert=str(server.folder / "good.crt"))
    found = seen(url)
    assert found["link"] == "ok: TLS, verify-full"
    assert found["rights"] == f"ok: {ROLE} may read and write rows, and no more"
    assert found["listening"].startswith("ok")


def test_a_server_that_somebody_else_has_certified_is_refused(server: TlsServer) -> None:
    said = refusal(server.url("work", password=PASSWORD, sslrootcert=str(server.folder / "other.crt")))
    assert f"The link to postgresql://{ROLE}@{NAME}/work" in said
    assert "cannot be made safe" in said
    assert "certificate verify failed" in said
    assert "sslrootcert" in said


def test_a_server_of_another_name_is_refused(server: TlsServer) -> None:
    url = server.url("work", password=PASSWORD, host="other.example.org", sslrootcert=str(server.folder / "good.crt"))
    said = refusal(url)
    assert "cannot be made safe" in said
    assert f'server certificate for "{NAME}"' in said


def test_without_the_certificate_of_an_authority_it_is_said_where_one_is_looked_for(
    server: TlsServer,
) -> None:
    said = refusal(server.url("work", password=PASSWORD, sslrootcert="/nowhere/root.crt"))
    assert "cannot be made safe" in said
    assert '"/nowhere/root.crt" does not exist' in said
    assert "database or user" not in said


def test_a_server_that_does_not_take_us_like_this_says_so(server: TlsServer) -> None:
    said = refusal(server.url("work", password=PASSWORD, sslmode="disable"))
    assert "no encryption" in said
    assert "pg_hba.conf has to let us in" in said
    assert "password" not in said
    url = server.url("work", sslrootcert=str(server.folder / "good.crt")).replace(ROLE, "stranger")
    said = refusal(url)
    assert "SSL encryption" in said
    assert "pg_hba.conf has to let us in" in said


def test_tls_that_nobody_verifies_is_warned_of(server: TlsServer) -> None:
    url = server.url("work", password=PASSWORD, sslmode="require")
    assert seen(url)["link"] == "warn: TLS, but sslmode is require: anybody can be the server"


def test_a_wrong_password_is_refused_and_not_shown(server: TlsServer) -> None:
    root = str(server.folder / "good.crt")
    for url in (server.url("work", password="tr0ub4dor-wrong", sslrootcert=root), server.url("work", sslrootcert=root)):
        said = refusal(url)
        assert "refuses us" in said
        assert "Give the password with FLOWD_STORE, the credential flowd-store, or PGPASSFILE" in said


def test_a_password_comes_by_a_file_of_libpq_that_nobody_else_can_read(
    server: TlsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = server.password_file(tmp_path)
    monkeypatch.setenv("PGPASSFILE", str(file))
    url = server.url("work", sslrootcert=str(server.folder / "good.crt"))
    assert seen(url)["link"] == "ok: TLS, verify-full"
    file.chmod(0o644)
    assert "refuses us" in refusal(url)
