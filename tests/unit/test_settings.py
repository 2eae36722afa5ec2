"""Settings: where values come from, and what is refused."""

import os
import re
import sys
from pathlib import Path

import pytest

import flowd
import flowd_client
from flowd.settings import unknown
from flowd.settings.sources import load
from flowd.settings.values import MIB, SettingsError, step_environment


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_flags_beat_the_environment_beats_the_workspace_beats_the_user(tmp_path: Path) -> None:
    workspace, home = tmp_path / "ws", tmp_path / "home"
    workspace.mkdir()
    sources = []
    for value, source in ((1, "default"), (2, "user"), (3, "workspace"), (4, "environment"), (5, "flag")):
        environ: dict[str, str] = {"FLOWD_MAX_PARALLEL": "4"} if value >= 4 else {}
        if source == "user":
            write(home / "flowd" / "config.toml", "max_parallel = 2\n")
        if source == "workspace":
            write(workspace / ".codex" / "flowd.toml", "max_parallel = 3\n")
        settings = load(workspace, {"max_parallel": 5 if source == "flag" else None}, environ, home)
        if source != "default":
            assert settings.max_parallel == value
        sources.append(settings.origins["max_parallel"])
    assert sources == [
        "default",
        str(home / "flowd" / "config.toml"),
        str(workspace / ".codex" / "flowd.toml"),
        "$FLOWD_MAX_PARALLEL",
        "flag --max-parallel",
    ]


def test_defaults_are_as_documented(tmp_path: Path) -> None:
    settings = load(tmp_path, {}, {}, tmp_path)
    assert settings.max_parallel >= 4
    assert settings.max_payload_bytes == 4 * MIB
    assert settings.max_output_bytes == 64 * MIB
    assert settings.state_dir == tmp_path.resolve() / ".codex" / "flowd"
    assert settings.socket == settings.state_dir / "flowd.sock"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("max_parallel = 0", "max_parallel must be a whole number from 1 to 10000, got '0'"),
        ("max_parallel = true", "max_parallel must be a whole number"),
        ('max_parallel = "many"', "max_parallel must be a whole number"),
        ("rescan_interval_s = 0.1", "rescan_interval_s must be a number from 1 to 3600"),
        ('on_stop = "explode"', "on_stop must be one of finish, cancel, keep"),
        ("max_paralel = 3", "has no setting 'max_paralel'"),
        ("max_parallel = ", "flowd.toml"),
        ("[runners]\nbun = 3", "[runners]"),
        ("environment = 3", "[environment] must be a table"),
        ('[environment]\ninherits = ["PATH"]', "[environment] has no setting 'inherits'"),
        ('[runners]\nruby = "ruby"', "[runners] has no setting 'ruby'"),
        ('state_dir = "~nobody-of-this-name/x"', "no such user's home"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_range(tmp_path: Path, text: str, part: str) -> None:
    write(tmp_path / ".codex" / "flowd.toml", text)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {}, {}, tmp_path)
    assert part in caught.value.message
    assert "flowd.toml" in caught.value.message


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("http = 3", "[http] must be a table."),
        ("[http]\nlisten = []", "[http] listen must be an address."),
        (
            "[http]\nlsten = '1'",
            "[http] has no setting 'lsten'; did you mean listen?",
        ),
        ("[http]\nmax_body_bytes = 5", "[http] max_body_bytes must be a whole number, 1024 or more, got '5'."),
        ("[http]\nsignatures = 'v3'", "[http] signatures must be one of v1, v2, both, got 'v3'."),
        ("[http]\npublic_read = 1", "[http] public_read must be true or false, got '1'."),
        ("[http]\nallowed_hosts = 'a'", "[http] allowed_hosts must be a list of strings."),
        ("[http]\ntokens.t = 'hush'", "[http.tokens.t] must be a table."),
        (
            "[http.tokens.t]\nscopes = ['all']",
            "[http.tokens.t] scopes must be a list of strings, some of read",
        ),
        ("[http.tokens.t]\nscopes = ['read']", "[http.tokens.t] needs file (a path) or env (a variable's name)."),
        ("[http.tokens.t]\nscopes = ['read']\nsha256 = 'hush'", "sha256 must be 64 hex digits: printf %s TOKEN"),
        ("hooks = 3", "hooks must be tables by name, like [hooks.github]."),
        (
            "[hooks.h]\nkind = 'x'",
            "[hooks.h] kind must be one of github, standard-webhooks, hmac, stripe, token, got 'x'.",
        ),
        ("[hooks.h]\nkind = 'hmac'\nsecret_env = 'S'", "[hooks.h] needs id and type and header."),
        ("[hooks.h]\nkind = 'github'\npayload = 3", "payload must be a JSON Pointer, or a table of them by name."),
    ],
)
def test_a_bad_table_for_http_is_refused_with_its_name_and_without_a_secret(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / ".codex" / "flowd.toml"
    write(file, text)
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {"http": ""}, {"S": "secret"}, tmp_path)
    assert caught.value.message.startswith(str(file))
    assert sentence in caught.value.message
    assert "hush" not in caught.value.message


def test_the_reference_systems_variables_are_honoured(tmp_path: Path) -> None:
    environ = {"CODEX_FLOW_BACKEND_DATA_DIR": "data", "CODEX_FLOW_BACKEND_FORWARD_ENV": "PATH, HOME ,"}
    settings = load(tmp_path, {}, environ, tmp_path)
    assert settings.state_dir == tmp_path.resolve() / "data"
    assert settings.inherit == ("PATH", "HOME")
    assert step_environment(settings, {"PATH": "/bin", "HOME": "/h", "X": "1"}) == {"PATH": "/bin", "HOME": "/h"}


def test_steps_never_inherit_secrets(tmp_path: Path) -> None:
    settings = load(tmp_path, {}, {}, tmp_path)
    environ = {"CODEX_FLOW_BACKEND_SECRET": "s", "FLOWD_HTTP_SECRET": "s", "NOTIFY_SOCKET": "/x", "A": "1"}
    assert step_environment(settings, environ) == {"A": "1"}


def test_names_to_redact_come_from_both_files(tmp_path: Path) -> None:
    write(tmp_path / ".codex" / "flowd.toml", '[environment]\nredact = ["A_TOKEN", "B"]\n')
    write(tmp_path / "home" / "flowd" / "config.toml", '[environment]\nredact = ["B", "C"]\n')
    settings = load(tmp_path, {}, {}, tmp_path / "home")
    assert settings.redact == ("A_TOKEN", "B", "C")
    assert settings.origins["redact"].count("toml") == 2
    write(tmp_path / ".codex" / "flowd.toml", '[environment]\nredact = "A_TOKEN"\n')
    with pytest.raises(SettingsError, match="redact must be a list of names"):
        load(tmp_path, {}, {}, tmp_path / "home")


@pytest.mark.parametrize(
    ("environ", "on_stop"),
    [
        ({}, "finish"),
        ({"NOTIFY_SOCKET": "/run/notify"}, "keep"),
        ({"INVOCATION_ID": "ab12"}, "keep"),
        ({"INVOCATION_ID": "ab12", "SYSTEMD_EXEC_PID": str(os.getpid())}, "keep"),
        ({"INVOCATION_ID": "ab12", "SYSTEMD_EXEC_PID": "1"}, "finish"),  # a terminal's, inherited
        ({"NOTIFY_SOCKET": "/run/notify", "FLOWD_ON_STOP": "cancel"}, "cancel"),
    ],
)
def test_running_steps_are_kept_where_systemd_starts_the_next_daemon(
    tmp_path: Path, environ: dict[str, str], on_stop: str
) -> None:
    assert load(tmp_path, {}, environ, tmp_path).on_stop == on_stop


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems hold Unicode only")
def test_a_workspace_whose_path_is_not_unicode_is_refused(tmp_path: Path) -> None:
    workspace = Path(os.fsdecode(os.fsencode(tmp_path) + b"/w\xff"))
    workspace.mkdir()
    with pytest.raises(SettingsError, match="is not UTF-8"):
        load(workspace, {}, {}, tmp_path)


def test_a_user_without_a_home_needs_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As in a container that was started with a user id that no passwd file has.
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    monkeypatch.delenv("HOME")
    with pytest.raises(RuntimeError):
        Path.home()
    assert load(tmp_path, {}, {}).max_output_bytes == 64 * MIB


def test_a_workspace_that_we_may_not_look_at_is_refused_as_that(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "ws").mkdir(parents=True)
    we = os.geteuid()
    closed.chmod(0o700 if we == 0 else 0)
    if we == 0:
        os.seteuid(65534)  # root is let in everywhere
    try:
        with pytest.raises(SettingsError, match="may not look at the workspace"):
            load(closed / "ws", {}, {}, tmp_path / "home")
    finally:
        os.seteuid(we)
        closed.chmod(0o700)


def test_a_misspelt_variable_is_told_and_those_that_mean_something_are_not(tmp_path: Path) -> None:
    write(tmp_path / ".codex/flowd.toml", '[environment]\nredact = ["FLOWD_MINE"]\n')
    settings = load(tmp_path, {}, {}, tmp_path)
    meant = ["FLOWD_MAX_PARALLEL", "FLOWD_HTTP_SECRET", "FLOWD_RUN_ID", "FLOWD_MINE", "FLOWDOWN", "PATH"]
    assert list(unknown.find([*meant, "FLOWD_MAX_PARALEL", "FLOWD_XYZZY", "flowd_max_parallel"], settings)) == [
        "FLOWD_MAX_PARALEL sets nothing: did you mean FLOWD_MAX_PARALLEL?",
        "FLOWD_XYZZY sets nothing: flowd has no such variable",
        "flowd_max_parallel sets nothing: did you mean FLOWD_MAX_PARALLEL?",
    ]


def test_no_variable_that_flowd_reads_is_called_unknown(tmp_path: Path) -> None:
    folders = (Path(flowd.__file__).parent, Path(flowd_client.__file__).parent)
    texts = [path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py")]
    named = {name for text in texts for name in re.findall(r'"(FLOWD_[A-Z_]*[A-Z])"', text)}
    assert "FLOWD_HTTP" in named
    assert list(unknown.find(named, load(tmp_path, {}, {}, tmp_path))) == []


def test_steps_inherit_everything_but_flowds_secrets_and_what_is_withheld(tmp_path: Path) -> None:
    environ = {"GITHUB_TOKEN": "g", "OPENAI_API_KEY": "o", "DB_PASSWORD": "d", "PATH": "/bin", "FLOWD_HTTP_SECRET": "s"}
    settings = load(tmp_path, {}, environ, tmp_path / "home")
    assert step_environment(settings, environ).keys() == environ.keys() - {"FLOWD_HTTP_SECRET"}
    (told,) = [row for row in settings.table if row["name"] == "environment.inherit"]
    assert (told["value"], told["default"]) == (None, "all but flowd's own secrets and what is withheld")
    write(tmp_path / "home/flowd/config.toml", '[environment]\nwithhold = ["*_TOKEN"]\n')
    write(tmp_path / ".codex/flowd.toml", '[environment]\nwithhold = ["DB_*", "OPENAI_API_KEY"]\n')
    settings = load(tmp_path, {}, environ, tmp_path / "home")
    assert step_environment(settings, environ) == {"PATH": "/bin"}
    (told,) = [row for row in settings.table if row["name"] == "environment.withhold"]
    assert told["line"] == 'environment.withhold = ["DB_*", "OPENAI_API_KEY", "*_TOKEN"]'
    assert told["origin"] == f"{tmp_path}/.codex/flowd.toml:2, {tmp_path}/home/flowd/config.toml:2"
    write(tmp_path / ".codex/flowd.toml", '[environment]\ninherit = ["PATH", "GITHUB_TOKEN"]\nwithhold = ["PA??"]\n')
    assert step_environment(load(tmp_path, {}, environ, tmp_path / "home"), environ) == {}
