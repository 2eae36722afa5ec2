"""The tutorials, done to the letter: their files written, their commands run in order, their output compared."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import Workspace

CHECKOUT = Path(__file__).parents[2]
RUNS = {
    "tutorial.md": {"validate", "local", "again", "serve", "http", "replay"},
    "tutorial-order.md": {"repository", "validate", "serve", "dispatch", "approve", "break", "mend", "cancel"},
}
BLOCK = re.compile(r"<!-- (file|run|output): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def text_of(tutorial: str) -> str:
    return (CHECKOUT / "docs" / tutorial).read_text(encoding="utf-8")


def steps(tutorial: str) -> Iterator[tuple[str, str, str]]:
    """Each block of a tutorial in order: its kind, its name and its text."""
    for match in BLOCK.finditer(text_of(tutorial)):
        yield match[1], match[2], match[3]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("tutorial", RUNS)
def test_every_block_is_executed_or_compared(tutorial: str) -> None:
    blocks = list(steps(tutorial))
    assert len(blocks) == text_of(tutorial).count("\n```") // 2
    names = {kind: {name for what, name, _ in blocks if what == kind} for kind in ("file", "run", "output")}
    assert names["run"] == RUNS[tutorial]
    assert names["output"] < names["run"]


def test_the_release_is_the_example() -> None:
    example = CHECKOUT / "examples" / "flows" / "release"
    files = {path.relative_to(example).as_posix(): path.read_text(encoding="utf-8") for path in example.rglob("*.*")}
    shown = {
        name.removeprefix("flows/release/"): text for kind, name, text in steps("tutorial-order.md") if kind == "file"
    }
    assert shown == files


@pytest.mark.parametrize("tutorial", RUNS)
def test_the_tutorial_works_to_the_letter(place: Workspace, tutorial: str) -> None:
    port = str(free_port())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("FLOWD_", "CODEX_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    said: dict[str, str] = {}
    for kind, name, raw in steps(tutorial):
        text = raw.replace("7345", port)
        match kind:
            case "file":
                file = place.path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text, encoding="utf-8")
            case "run":
                with (place.path / "said").open("w+") as out:
                    # A file and not a pipe: the daemon of one block goes on while the next ones run.
                    argv = ["bash", "-e", "-c", text]
                    done = subprocess.run(argv, cwd=place.path, env=environment, stdout=out, stderr=out, timeout=30)
                    out.seek(0)
                    said[name] = out.read()
                assert done.returncode == 0, (name, said[name])
            case "output":
                assert said[name] == text, name
