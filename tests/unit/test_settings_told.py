"""What a settings file has wrong is told at once, with its place; and settings are shown as a file spells them."""

import tomllib
from pathlib import Path

import pytest

from flowd.cli.settings import draw, draw_files
from flowd.settings import changes
from flowd.settings.files import FileError, check_text
from flowd.settings.findings import find
from flowd.settings.sources import load
from flowd.settings.values import Settings, SettingsError

FILE = Path("/w/.codex/flowd.toml")
WRONG = """\
max_paralel = 3
max_queued = "many"
on_stop = "finnish"
signatures = "v2"

[http]
lsten = 1
log_level = "debug"

[http.tokens.ci]
scopes = ["reed"]

[environment]
redact = ["A", 5]

[host]
labels = ["gpu", "host:x", "a b"]

[hooks.shop]
kind = "hmac"

[secrets.npm]
file = "a"
env = "B"

[[notify]]
command = ["x"]

[[notify]]
command = ["/bin/x"]

[retention]
max_age = "5s"
"""


INHERITED = "What steps inherit is under [environment], their own in flow.toml."
SCOPES = "must be a list of strings, some of read, dispatch, control"
OWN_LABEL = "'host:x', and host:NAME is a label that the host of that name has by itself. Take it out."


def sentences(text: str) -> list[str]:
    return [finding.sentence().removeprefix(f"{FILE}:") for finding in check_text(FILE, text.encode()).findings]


def test_everything_that_is_wrong_is_told_at_once_in_order_of_lines_and_with_what_was_meant() -> None:
    assert sentences(WRONG) == [
        "1:1: flowd has no setting 'max_paralel'; did you mean max_parallel?",
        "2:14: max_queued must be a whole number from 1 to 10000000, got 'many'.",
        "3:11: on_stop must be one of finish, cancel, keep, got 'finnish'; did you mean finish?",
        "4:1: flowd has no setting 'signatures'. It belongs under [http].",
        "7:1: [http] has no setting 'lsten'; did you mean listen?",
        "8:1: [http] has no setting 'log_level'. It belongs above the first table of the file.",
        f"11:11: [http.tokens.ci] scopes {SCOPES}, got 'reed'; did you mean read?",
        "14:16: [environment] redact must be a list of names of environment variables.",
        f"17:18: [host] labels has {OWN_LABEL}",
        "17:28: [host] labels: a label must be at most 64 letters, digits, '.', '_', ':' and '-', got 'a b'.",
        "19:8: [hooks.shop] needs secret_file (a path) or secret_env (a variable's name).",
        "19:8: [hooks.shop] needs id and type and header.",
        "22:10: [secrets.npm] needs one of file, credential, env and command.",
        "29:3: [[notify]] 2 is the second one called x: give each a name of its own.",
        "33:11: [retention] max_age must be at least a minute, got '5s'.",
    ]


def test_a_daemon_refuses_to_start_with_all_of_both_files(tmp_path: Path) -> None:
    for path, text in ((tmp_path / ".codex/flowd.toml", WRONG), (tmp_path / "home/flowd/config.toml", "log_levl = 1")):
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, {}, {}, tmp_path / "home")
    first, *others = caught.value.message.splitlines()
    assert first == "16 settings are wrong:"
    assert [other.strip().split(":")[0].rpartition("/")[2] for other in others] == ["flowd.toml"] * 15 + ["config.toml"]
    assert isinstance(caught.value, FileError)
    assert len(caught.value.findings) == 16


def test_a_text_that_is_no_toml_is_told_with_its_line_and_column() -> None:
    (told,) = check_text(FILE, b"max_parallel = 4\nmax_queued =\n").findings
    assert (told.code, told.line, told.column) == ("invalid-toml", 2, 13)


def test_a_number_in_quotes_is_taken_and_doubted(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex/flowd.toml").write_text('max_parallel = "3"\n')
    settings = load(tmp_path, {}, {}, tmp_path)
    assert settings.max_parallel == 3
    assert [doubt.sentence() for doubt in settings.doubts] == [
        f"{tmp_path}/.codex/flowd.toml:1:16: max_parallel is a number in quotes. Write max_parallel = 3.",
    ]


@pytest.mark.parametrize(("said", "is_on"), [("1", True), ("true", True), ("off", False)])
def test_a_switch_can_be_set_by_the_environment(tmp_path: Path, said: str, *, is_on: bool) -> None:
    assert load(tmp_path, {}, {"FLOWD_WORKSPACE_TASKS": said}, tmp_path).workspace_tasks is is_on


def settings_of(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    (folder / ".codex").mkdir(exist_ok=True)
    (folder / ".codex/flowd.toml").write_text(text, encoding="utf-8")
    return load(folder, {"max_parallel": 7}, environ or {}, folder / "home")


def test_settings_are_shown_as_lines_that_a_file_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        '[http]\nlisten = 8080\n[hooks."my hook"]\nkind = "github"\nsecret_env = "S"\n[environment]\nredact = ["A"]\n'
    )
    settings = settings_of(tmp_path, text, {"FLOWD_HOST": "anna", "S": "hush"})
    draw(settings.table, str(tmp_path))
    copied = capsys.readouterr().out
    assert "hush" not in copied
    assert "max_parallel = 7                      # flag --max-parallel (FLOWD_MAX_PARALLEL, --max-parallel)" in copied
    assert 'http.listen = "127.0.0.1:8080"        # .codex/flowd.toml:2 (FLOWD_HTTP, --http)' in copied
    assert "# host.labels                         # default: none (FLOWD_LABELS)" in copied
    again = settings_of(tmp_path, copied, {"S": "hush"})
    for shown, before in zip(again.table, settings.table, strict=True):
        assert (shown["name"], shown["value"]) == (before["name"], before["value"])
    told = {row["name"]: row for row in settings.table}
    assert told["max_parallel"] == {
        "name": "max_parallel",
        "value": 7,
        "origin": "flag --max-parallel",
        "line": "max_parallel = 7",
        "default": "twice the cores, at least 4",
        "variables": ["FLOWD_MAX_PARALLEL"],
        "flag": "--max-parallel",
    }
    assert told["host.name"]["origin"] == "$FLOWD_HOST"
    assert told["http.listen"]["origin"] == f"{tmp_path}/.codex/flowd.toml:2"
    assert told['hooks."my hook".secret_env']["line"] == 'hooks."my hook".secret_env = "S"'
    assert told["environment.redact"]["line"] == 'environment.redact = ["A"]'
    assert all(tomllib.loads(row["line"]) for row in settings.table if "line" in row)


def test_what_may_be_a_secret_is_not_shown(tmp_path: Path) -> None:
    digest = "a" * 64
    text = f'[http.tokens.ci]\nscopes = ["read"]\nsha256 = "{digest}"\n[[notify]]\nwebhook = "https://h.example/hush"\n'
    settings = settings_of(tmp_path, text)
    shown = {row["name"]: (row["value"], row.get("line")) for row in settings.table}
    assert shown["http.tokens.ci.sha256"] == shown["notify[0].webhook"] == ("…", None)
    assert "hush" not in str(settings.table)


def test_a_reload_shows_what_counts_from_then_on(tmp_path: Path) -> None:
    now = settings_of(tmp_path, 'log_level = "info"\nmax_queued = 5\n')
    read = settings_of(tmp_path, '# a line more\nlog_level = "debug"\nmax_queued = 6\n[[notify]]\ncommand = ["x"]\n')
    told = {row["name"]: (row["value"], row["origin"]) for row in changes.between(now, read).settings.table}
    file = f"{tmp_path}/.codex/flowd.toml"
    assert told["log_level"] == ("debug", f"{file}:2")
    assert told["notify[0].command"] == (["x"], f"{file}:5")
    assert told["max_queued"] == (5, f"{file}:2")


def test_what_only_this_environment_makes_of_good_files_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    file = tmp_path / ".codex/flowd.toml"
    file.write_text('max_queued = "5"\n[http]\nlisten = 8080\nsecret_env = "S"\n')
    quoted, refused = find(tmp_path, {}, tmp_path)
    assert (quoted.code, quoted.line, quoted.is_error) == ("quoted-number", 1, False)
    assert (refused.code, refused.is_error) == ("settings-refused", False)
    assert refused.message.endswith("[http] secret_env: the environment has no S")
    assert [finding.code for finding in find(tmp_path, {"S": "x"}, tmp_path)] == ["quoted-number"]
    file.write_text("max_paralel = 5")
    assert [finding.is_error for finding in find(tmp_path, {}, tmp_path)] == [True]


def test_names_that_people_know_from_elsewhere_lead_to_those_of_flowd() -> None:
    text = "workers = 3\nport = 80\n[[schedules]]\n[env]\n"
    assert sentences(text) == [
        "1:1: flowd has no setting 'workers'; did you mean max_parallel?",
        "2:1: flowd has no setting 'port'. It belongs under [http]: listen = \"127.0.0.1:7345\".",
        "3:3: flowd has no setting 'schedules'. It belongs to a package: write it into its flow.toml.",
        f"4:2: flowd has no setting 'env'. {INHERITED}",
    ]


def test_a_number_with_a_unit_is_told_as_the_number_that_it_is() -> None:
    assert sentences('orphan_grace_s = "10m"\nmax_payload_bytes = "16MiB"\nmax_check_ms = "2h"\n') == [
        "1:18: orphan_grace_s must be a number from 0 to 604800, got '10m'; did you mean 600?",
        "2:21: max_payload_bytes must be a whole number from 1024 to 67108864, got '16MiB'; did you mean 16777216?",
        "3:16: max_check_ms must be a whole number from 1 to 60000, got '2h'.",
    ]


@pytest.mark.parametrize("table", ["http", "environment"])
def test_a_line_with_its_tables_name_is_told_where_to_stand(table: str) -> None:
    said = sentences(f'[{table}]\nhttp.base_path = ""\n')
    assert any("Its settings belong under [http], each without http. before it." in text for text in said)


def test_what_is_set_is_shown_first_and_a_screen_has_only_names_of_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = settings_of(tmp_path, "[http]\nlisten = 8080\n").table
    draw(table, str(tmp_path))
    first, second, third, *_ = capsys.readouterr().out.splitlines()
    assert (first.split(" ")[0], second.split(" ")[0]) == ("max_parallel", "http.listen")
    assert " # default" in third
    draw(table, str(tmp_path), columns=80)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [first, second]
    assert len(lines) < 20
    assert all(len(line) <= 80 and line.startswith("# ") for line in lines[2:])
    names = " ".join(line.removeprefix("# ") for line in lines[2:])
    assert all(row["name"] in names for row in table if row["origin"] == "default")


def test_settings_are_shown_without_a_daemon_and_what_is_wrong_in_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    file = tmp_path / ".codex/flowd.toml"
    file.parent.mkdir()
    file.write_text("max_parallel = 3\n")
    draw_files(tmp_path)
    assert capsys.readouterr().out.startswith("max_parallel = 3                      # .codex/flowd.toml:1 (")
    file.write_text("max_paralel = 3\n")
    draw_files(tmp_path)
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        f"flowd: {file}:1:1: flowd has no setting 'max_paralel'; did you mean max_parallel?\n",
    )
