"""``flowd top`` before it draws anything: what it needs, and what it says where that is not there."""

import contextlib
import os
import pty
import subprocess
import sys
from pathlib import Path

_TOP = [sys.executable, "-m", "flowd", "top"]


def on_terminal(*words: str | Path) -> tuple[int, str]:
    """The exit code, and what is written to a terminal that is stdin, too."""
    master, slave = pty.openpty()
    process = subprocess.Popen([*_TOP, *map(str, words)], stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError):  # that is how a terminal's end is told
        while data := os.read(master, 65536):
            said += data
    os.close(master)
    return process.wait(60), " ".join(said.decode().split())


def test_without_textual_it_says_how_to_get_it() -> None:
    program = (
        "import sys; sys.modules['textual'] = None; sys.argv = ['flowd', 'top']; import flowd.__main__ as m; m.main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30)
    assert done.returncode == 2, done.stderr
    assert "codex-flowd[top]" in done.stderr
    assert f"{sys.executable} -m pip install 'textual>=" in done.stderr


def test_without_a_terminal_it_names_the_verbs_that_print() -> None:
    done = subprocess.run(_TOP, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (2, "")
    assert "`flowd status`" in done.stderr


def test_without_a_daemon_it_says_so_and_draws_nothing(tmp_path: Path) -> None:
    (tmp_path / "flows").mkdir()
    code, said = on_terminal("-w", tmp_path)
    assert code == 3
    assert "\x1b" not in said
    assert "Start one with `flowd serve" in said


def test_a_url_that_is_none_and_a_token_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    code, said = on_terminal("--url", "ftp://example.org")
    assert (code, "base_url" in said) == (3, True)
    code, said = on_terminal("--url", "http://127.0.0.1:9", "--token-file", tmp_path / "none")
    assert (code, "The token cannot be read" in said) == (2, True)
    (tmp_path / "empty").touch()
    code, said = on_terminal("--url", "http://127.0.0.1:9", "--token-file", tmp_path / "empty")
    assert (code, "has no token" in said) == (2, True)
    code, said = on_terminal("--token-file", tmp_path / "empty")
    assert (code, "goes with --url" in said) == (2, True)
