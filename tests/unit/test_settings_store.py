"""The settings of a shared store: where it is, what its password must not get into, and what this host is called."""

import json
from pathlib import Path

import pytest

from flowd.domain.redaction import Redactor
from flowd.settings import unknown
from flowd.settings.sources import load
from flowd.settings.store import parse
from flowd.settings.values import Settings, SettingsError, step_environment

PASSWORD = "s3cr:et/word"
ADDRESS = "postgresql://me:s3cr%3Aet%2Fword@db.example.org/work"


def settings_of(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> Settings:
    (folder / ".codex").mkdir(exist_ok=True)
    (folder / ".codex/flowd.toml").write_text(text, encoding="utf-8")
    return load(folder, {}, environ or {}, folder / "home")


def refusal(folder: Path, text: str = "", environ: dict[str, str] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        settings_of(folder, text, environ)
    return caught.value.message


def test_the_store_is_the_state_folders_where_nobody_says_otherwise(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert settings.store is None
    (told,) = [row for row in settings.table if row["name"] == "store"]
    assert (told["line"], told["origin"]) == ('store = "sqlite"', "default")


def test_the_environment_beats_the_credential_beats_the_file(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    file = 'store = "postgresql://file/a"'
    assert str(settings_of(tmp_path, file).store) == "postgresql://file/a"
    (credentials / "flowd-store").write_text("postgresql://credential/b\n")
    environ = {"CREDENTIALS_DIRECTORY": str(credentials)}
    settings = settings_of(tmp_path, file, environ)
    assert (str(settings.store), settings.origins["store"]) == ("postgresql://credential/b", "credential flowd-store")
    environ["FLOWD_STORE"] = "postgresql://variable/c"
    settings = settings_of(tmp_path, file, environ)
    assert (str(settings.store), settings.origins["store"]) == ("postgresql://variable/c", "$FLOWD_STORE")
    environ["FLOWD_STORE"] = "sqlite"
    assert settings_of(tmp_path, file, environ).store is None


def test_a_password_is_known_to_the_driver_and_shown_nowhere(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, environ={"FLOWD_STORE": ADDRESS})
    assert settings.store is not None
    assert "s3cr%3Aet%2Fword" in settings.store.url
    assert set(settings.store.passwords) == {PASSWORD, "s3cr%3Aet%2Fword"}
    shown = json.dumps([*settings.table, repr(settings), repr(settings.store), str(settings.store)])
    assert "s3cr" not in shown
    assert "postgresql://me@db.example.org/work" in shown
    redactor = Redactor()
    redactor.learn_values(settings.store.passwords)
    assert redactor.text(f"cannot log in with {PASSWORD} at {ADDRESS}") == (
        "cannot log in with *** at postgresql://me:***@db.example.org/work"
    )
    assert not redactor.is_wanted


@pytest.mark.parametrize("option", ["password", "sslpassword"])
def test_passwords_among_the_options_are_as_secret(tmp_path: Path, option: str) -> None:
    settings = settings_of(
        tmp_path, environ={"FLOWD_STORE": f"postgresql://db/work?{option}=hidden1&application_name=x"}
    )
    assert settings.store is not None
    assert settings.store.passwords == ("hidden1",)
    assert str(settings.store) == "postgresql://db/work?application_name=x"
    assert f"{option}=hidden1" in settings.store.url


@pytest.mark.parametrize("address", [ADDRESS, "postgresql://db/work?password=hidden1"])
def test_a_password_in_a_file_is_refused_even_where_another_source_counts(tmp_path: Path, address: str) -> None:
    for environ in ({}, {"FLOWD_STORE": "postgresql://elsewhere/work"}, {"FLOWD_STORE": "sqlite"}):
        message = refusal(tmp_path, f'store = "{address}"', environ)
        assert "flowd.toml:1:9: store has a password in it" in message
        assert "FLOWD_STORE, the credential flowd-store, or a password file" in message
        assert "s3cr" not in message
        assert "hidden1" not in message


def test_a_password_in_the_environment_beside_a_file_is_learned(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, 'store = "postgresql://db/work"', {"PGPASSWORD": "hidden1"})
    assert settings.store is not None
    assert settings.store.passwords == ("hidden1",)


@pytest.mark.parametrize(
    "said",
    [
        "mysql://me:hidden1@db/x", "me:hidden1@db", "host=db password=hidden1", "postgresql://me:hidden1@db/x#y",
        "postgresql://me:hidden1@db/x?hidden1", "postgresql://me:hidden1@db/x?schema=Public%20x",
        "postgresql://me:hidden1@db/x?schema=pg_x", "postgresql://me:hidden1@d b/x", "postgresql://me:hidden1@db/\x07",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_being_shown(tmp_path: Path, said: str) -> None:
    message = refusal(tmp_path, environ={"FLOWD_STORE": said})
    assert message.startswith("$FLOWD_STORE: store must ")
    assert "hidden1" not in message


def test_a_store_in_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    assert "flowd.toml:1:9: store must be the URL of a PostgreSQL database" in refusal(tmp_path, "store = 3")


@pytest.mark.parametrize(
    ("address", "environ", "is_verified"),
    [
        ("postgresql://db/x", {}, True),
        ("postgresql://db:5432/x", {}, True),
        ("postgresql://localhost,db/x", {}, True),
        ("postgresql:///x?host=db", {}, True),
        ("postgresql:///x?hostaddr=10.1.2.3", {}, True),
        ("postgresql://localhost/x?hostaddr=10.1.2.3", {}, True),
        ("postgresql:///x", {"PGHOST": "db"}, True),
        ("postgresql://:5433/x", {"PGHOST": "db"}, True),
        ("postgresql:///x", {}, False),
        ("postgresql://localhost/x", {"PGHOST": "db"}, False),
        ("postgresql://me@127.0.0.1:5433/x", {}, False),
        ("postgresql://[::1]:5433/x", {}, False),
        ("postgresql://%2Frun%2Fpostgresql/x", {}, False),
        ("postgresql:///x?host=/run/postgresql", {}, False),
        ("postgresql://db/x?sslmode=require", {}, False),
        ("postgresql://db/x", {"PGSSLMODE": "require"}, False),
        ("postgresql://db/x?service=team", {}, False),
    ],
)
def test_a_server_that_is_not_local_has_to_prove_who_it_is(
    address: str, environ: dict[str, str], *, is_verified: bool
) -> None:
    assert ("sslmode=verify-full" in parse(address, environ).url) is is_verified


def test_neither_the_address_nor_what_the_driver_reads_reaches_steps(tmp_path: Path) -> None:
    environ = {"FLOWD_STORE": ADDRESS, "PGPASSWORD": "hidden1", "PGSERVICE": "x", "PATH": "/bin", "PAGER": "less"}
    settings = settings_of(tmp_path, environ=environ)
    assert step_environment(settings, environ) == {"PATH": "/bin", "PAGER": "less"}
    settings = settings_of(tmp_path, '[environment]\ninherit = ["PGPASSWORD", "FLOWD_STORE", "PATH"]\n', environ)
    assert step_environment(settings, environ) == {"PATH": "/bin"}


def test_without_a_shared_store_steps_keep_what_is_their_own_databases(tmp_path: Path) -> None:
    environ = {"PGPASSWORD": "theirs", "PGHOST": "db"}
    assert step_environment(settings_of(tmp_path, environ=environ), environ) == environ
    environ["FLOWD_STORE"] = "sqlite"
    assert step_environment(settings_of(tmp_path, environ=environ), environ) == {"PGPASSWORD": "theirs", "PGHOST": "db"}


def test_systemd_starts_no_steps_of_a_shared_store(tmp_path: Path) -> None:
    message = refusal(tmp_path, 'executor = "systemd"\nstore = "postgresql://db/work"')
    assert "flowd.toml: executor" in message
    assert 'Set executor = "direct"' in message


def test_a_host_has_its_hostname_and_its_own_label(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    assert settings.host
    assert settings.all_labels == {f"host:{settings.host}"}
    assert settings.origins["host"] == settings.origins["labels"] == "default"


def test_a_hosts_name_and_labels_come_from_the_environment_before_the_file(tmp_path: Path) -> None:
    text = '[host]\nname = "box-1.example.org"\nlabels = ["gpu", "big", "gpu"]\n'
    settings = settings_of(tmp_path, text)
    assert settings.all_labels == {"gpu", "big", "host:box-1.example.org"}
    settings = settings_of(tmp_path, text, {"FLOWD_HOST": "b", "FLOWD_LABELS": " cuda:12 , x.y,"})
    assert (settings.host, settings.labels) == ("b", ("cuda:12", "x.y"))
    assert (settings.origins["host"], settings.origins["labels"]) == ("$FLOWD_HOST", "$FLOWD_LABELS")
    assert settings_of(tmp_path, text, {"FLOWD_LABELS": ""}).labels == ()
    shown = {row["name"]: row["value"] for row in settings.table}
    assert (shown["host.name"], shown["host.labels"]) == ("b", ["cuda:12", "x.y"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[host]\nname = "a b"', "[host] name must be a name like a hostname's"),
        (f'[host]\nname = "{"a" * 64}"', "[host] name must be"),
        ('[host]\nname = "-a"', "[host] name must be"),
        ('[host]\nlabels = ["a b"]', "[host] labels: a label must be at most 64 letters, digits"),
        ('[host]\nlabels = [""]', "[host] labels: a label must be"),
        (f'[host]\nlabels = ["{"a" * 65}"]', "[host] labels: a label must be"),
        (
            '[host]\nlabels = ["host:other"]',
            "has 'host:other', and host:NAME is a label that the host of that name has",
        ),
        (f"[host]\nlabels = {[f'l{number}' for number in range(65)]}", "has 65 labels; a host has at most 64"),
        ('[host]\nlabels = "gpu"', "[host]"),
        ('[host]\ncolour = "red"', "[host] has no setting 'colour'"),
    ],
)
def test_a_bad_name_or_label_is_refused_with_its_file(tmp_path: Path, text: str, words: str) -> None:
    message = refusal(tmp_path, text)
    assert words in message
    assert "flowd.toml" in message


def test_the_variables_are_known_and_their_misspellings_told(tmp_path: Path) -> None:
    environ = {"FLOWD_STORE": "sqlite", "FLOWD_HOST": "a", "FLOWD_LABELS": "b"}
    settings = settings_of(tmp_path, environ=environ)
    assert list(unknown.find(environ, settings)) == []
    assert list(unknown.find({"FLOWD_LABLES": "x"}, settings)) == [
        "FLOWD_LABLES sets nothing: did you mean FLOWD_LABELS?"
    ]
