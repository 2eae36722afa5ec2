"""``[[notify]]``: what it may say, and what is refused."""

from pathlib import Path

import pytest

from flowd.domain.notices import WHATS
from flowd.settings import changes
from flowd.settings.sources import load
from flowd.settings.values import Settings, SettingsError


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def settings_of(tmp_path: Path, text: str, of_user: str = "") -> Settings:
    write(tmp_path / ".codex" / "flowd.toml", text)
    if of_user:
        write(tmp_path / "home" / "flowd" / "config.toml", of_user)
    return load(tmp_path, {}, {}, tmp_path / "home")


def test_nobody_is_told_by_default(tmp_path: Path) -> None:
    settings = load(tmp_path, {}, {}, tmp_path)
    assert settings.notifiers == ()
    assert settings.origins["notifiers"] == "default"


def test_a_command_is_told_of_all_unless_it_says_otherwise_and_is_called_like_its_program(tmp_path: Path) -> None:
    (told,) = settings_of(tmp_path, '[[notify]]\ncommand = ["/usr/bin/tell me", "-x"]\n').notifiers
    assert (told.name, told.command, told.rule.on, told.rule.flows) == (
        "tell-me",
        ("/usr/bin/tell me", "-x"),
        frozenset(WHATS),
        (),
    )


def test_a_webhook_has_paths_from_the_workspace_and_is_called_like_its_host(tmp_path: Path) -> None:
    text = '[[notify]]\non = ["failed"]\nflows = ["site-*"]\nwebhook = "https://chat.example/x"\nsecret_file = "s"\n'
    (told,) = settings_of(tmp_path, text).notifiers
    assert (told.name, told.webhook, told.secret_file) == (
        "chat.example",
        "https://chat.example/x",
        str(tmp_path / "s"),
    )
    assert (told.rule.on, told.rule.flows) == ({"failed"}, ("site-*",))
    assert told.files == (str(tmp_path / "s"),)


def test_the_notifiers_of_both_files_are_there_and_the_workspace_goes_before_one_of_the_same_name(
    tmp_path: Path,
) -> None:
    settings = settings_of(
        tmp_path,
        '[[notify]]\nname = "mail"\ncommand = ["ours"]\n',
        '[[notify]]\nname = "mail"\ncommand = ["mine"]\n[[notify]]\nname = "desk"\ncommand = ["desk"]\n',
    )
    assert {one.name: one.command for one in settings.notifiers} == {"mail": ("ours",), "desk": ("desk",)}
    assert [row["value"] for row in settings.table if row["name"].endswith(".command")] == [
        ["ours"],
        ["mine"],
        ["desk"],
    ]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("notify = 3", "notify must be tables in a list, each begun with [[notify]]."),
        ("[[notify]]\n", "[[notify]] needs one of command, webhook and webhook_file."),
        (
            "[[notify]]\ncommand = ['x']\nwebhook = 'https://h'",
            "[[notify]] needs one of command, webhook and webhook_file, not more.",
        ),
        ("[[notify]]\ncommand = 'x'", "[[notify]] command must be a list: the program and its arguments."),
        ("[[notify]]\ncommand = []", "[[notify]] command must be a list: the program and its arguments."),
        (
            "[[notify]]\non = ['fails']\ncommand = ['x']",
            "[[notify]] on must be a list of strings, some of failed, blocked, needs_intervention, recovered",
        ),
        ("[[notify]]\non = []\ncommand = ['x']", "[[notify]] on must be a list of strings, some of failed"),
        ("[[notify]]\non = ['recovered']\ncommand = ['x']", "recovered follows a failure that was told"),
        ("[[notify]]\nflow = 'x'\ncommand = ['x']", "[[notify]] has no setting 'flow'; did you mean flows?"),
        ("[[notify]]\nname = 'a b'\ncommand = ['x']", "[[notify]] name must be a name of letters, digits, dots"),
        ("[[notify]]\nwebhook = 'ftp://h'", "[[notify]] webhook must be a URL such as https://chat.example/hooks/1."),
        ("[[notify]]\nwebhook = 'http://chat.example/'", "[[notify]] webhook must begin with https://"),
        ("[[notify]]\nwebhook = 'https://u:hush@h/'", "[[notify]] webhook must have no user and password in it."),
        ("[[notify]]\nwebhook = 'https://h'\nsecret = 'hush'", "a secret does not belong into a settings file."),
        ("[[notify]]\ncommand = ['x']\nsecret_file = 's'", "secret_file and allow_http are for a webhook"),
        (
            "[[notify]]\ncommand = ['x']\ntimeout_s = 0",
            "[[notify]] timeout_s must be a whole number from 1 to 60, got '0'.",
        ),
        ("[[notify]]\ncommand = ['x']\n[[notify]]\ncommand = ['/bin/x']", "[[notify]] 2 is the second one called x"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place_and_without_a_secret(
    tmp_path: Path, text: str, sentence: str
) -> None:
    file = tmp_path / ".codex" / "flowd.toml"
    with pytest.raises(SettingsError) as caught:
        settings_of(tmp_path, text)
    assert caught.value.message.startswith(str(file))
    assert sentence in caught.value.message
    assert "hush" not in caught.value.message


@pytest.mark.parametrize("url", ["http://localhost:9/x", "http://127.0.0.2/", "http://[::1]:80/"])
def test_plain_http_is_for_this_machine_unless_somebody_says_otherwise(tmp_path: Path, url: str) -> None:
    assert settings_of(tmp_path, f"[[notify]]\nwebhook = '{url}'").notifiers[0].webhook == url
    text = "[[notify]]\nwebhook = 'http://chat.example/'\nallow_http = true"
    assert settings_of(tmp_path, text).notifiers[0].allow_http


def test_a_reload_takes_changed_notifiers_over(tmp_path: Path) -> None:
    now = settings_of(tmp_path, "")
    change = changes.between(now, settings_of(tmp_path, "[[notify]]\ncommand = ['x']"))
    assert (change.taken, change.waiting) == (("notifiers",), ())
    assert [one.name for one in change.settings.notifiers] == ["x"]
