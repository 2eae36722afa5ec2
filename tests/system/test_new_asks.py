"""`flowd new` on a terminal asks for what it writes."""

import contextlib
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

KEYS = ("\x03", "\x04")


def talk(workspace: Path, *answers: str, words: tuple[str, ...] = ("new",)) -> tuple[int, str]:
    """The exit code, and what the terminal shows, of a command that is answered once it has asked something."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("FLOWD_")}
    pid, master = pty.fork()
    if not pid:
        os.chdir(workspace)
        os.execve(sys.executable, [sys.executable, "-m", "flowd", *words], environ)
    said = bytearray()
    typed = "".join(text if text in KEYS else f"{text}\n" for text in answers)
    with contextlib.suppress(OSError):  # that is how a terminal's end is told
        while True:
            # Python forgets a Ctrl-C that comes just before it waits for a line; people press it again.
            while not typed and answers[-1] in KEYS and not select.select([master], [], [], 1)[0]:
                os.write(master, answers[-1].encode())
            said += os.read(master, 65536)
            if b"]: " in said and typed:
                os.write(master, typed.encode())
                typed = ""
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def manifest(workspace: Path, name: str) -> str:
    return (workspace / "flows" / name / "flow.toml").read_text()


def test_enter_alone_takes_what_is_usual(tmp_path: Path) -> None:
    code, said = talk(tmp_path, "", "", "", "", "")
    assert code == 0, said
    assert 'type = "hello.requested"' in manifest(tmp_path, "hello")
    assert "flowd serve" in said


def test_steps_in_order_by_the_clock(tmp_path: Path) -> None:
    code, said = talk(tmp_path, "nightly", "clock", "61 * * * *", "0 4 * * *", "fetch > report", "exec")
    assert code == 0, said
    assert "has no minute in" in said  # and is asked again
    text = manifest(tmp_path, "nightly")
    assert 'cron = "0 4 * * *"' in text
    assert 'needs = ["fetch"]' in text
    assert (tmp_path / "flows/nightly/exec/report.sh").exists()


def test_on_save(tmp_path: Path) -> None:
    code, said = talk(tmp_path, "docs", "files", "../x", "docs/**/*.md", "", "bun")
    assert code == 0, said
    assert "leads out of the workspace" in said
    text = manifest(tmp_path, "docs")
    assert 'paths = ["docs/**/*.md"]' in text
    assert '\nname = "docs"\nrunner = "bun"\nscript = "exec/docs.ts"\n' in text


def test_what_flags_say_is_not_asked(tmp_path: Path) -> None:
    code, said = talk(tmp_path, "a", words=("new", "--type", "a.go", "--steps", "x > y", "--runner", "node"))
    assert code == 0, said
    assert (tmp_path / "flows/a/exec/y.mjs").exists()


@pytest.mark.parametrize("key", KEYS)
def test_whoever_would_rather_not_gets_nothing(tmp_path: Path, key: str) -> None:
    code, said = talk(tmp_path, key)
    assert (code, list(tmp_path.iterdir())) == (130, []), said


def test_without_a_terminal_it_wants_a_name(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "flowd", "new"], cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    assert (ended.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "flowd new NAME" in ended.stderr


def test_a_type_of_nothing_is_refused(tmp_path: Path) -> None:
    code, said = talk(tmp_path, "", words=("new", "hello", "--type", ""))
    assert (code, "is not an event type" in said) == (2, True)
    assert not (tmp_path / "flows").exists()
