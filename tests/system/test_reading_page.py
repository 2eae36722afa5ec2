"""The example of docs/reading.md, done to the letter."""

import os
import subprocess
import sys
from pathlib import Path

import documentation
from daemon_rig import Workspace


def test_the_page_about_reading_shows_what_lists_show(place: Workspace) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    said: dict[str, str] = {}
    ran: list[str] = []
    for block in documentation.blocks(documentation.CHECKOUT / "docs" / "reading.md"):
        match block.kind:
            case "file":
                file = place.path / block.name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text, encoding="utf-8")
                file.chmod(0o755)
            case "run":
                place.start()
                done = subprocess.run(
                    ["bash", "-e", "-c", block.text], cwd=place.path, env={**os.environ, "PATH": path},
                    stdout=subprocess.PIPE, text=True, timeout=60, check=True,
                )  # fmt: skip
                said[block.name] = done.stdout
                ran.append(block.name)
            case "output":
                assert said.pop(block.name) == block.text
    assert not said
    assert ran == ["reading-why"]
