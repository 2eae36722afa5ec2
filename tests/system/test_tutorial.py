"""The tutorial, done to the letter: its files written, its commands run in order, their output compared."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from daemon_rig import Workspace

TEXT = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (file|run|output): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def steps() -> Iterator[tuple[str, str, str]]:
    """Each block of the tutorial in order: its kind, its name and its text."""
    for match in BLOCK.finditer(TEXT):
        yield match[1], match[2], match[3]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def test_every_block_is_executed_or_compared() -> None:
    assert len(list(steps())) == TEXT.count("\n```") // 2
    names = {kind: {name for what, name, _ in steps() if what == kind} for kind in ("file", "run", "output")}
    assert {"validate", "local", "again", "serve", "http", "replay"} == names["run"]
    assert names["output"] < names["run"]


def test_the_tutorial_works_to_the_letter(place: Workspace) -> None:
    port = str(free_port())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("FLOWD_", "CODEX_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    said: dict[str, str] = {}
    for kind, name, raw in steps():
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
