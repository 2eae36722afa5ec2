"""The recipe of docs/time.md for what starts later, done to the letter."""

import os
import re
import subprocess
import sys
from pathlib import Path

from daemon_rig import Workspace

SECTION = re.search(
    r"^## Run something later\n(.*?)(?=^## |\Z)",
    (Path(__file__).parents[2] / "docs" / "time.md").read_text(encoding="utf-8"),
    re.DOTALL | re.MULTILINE,
)
BLOCK = re.compile(r"<!-- (file|run|output): (\S+) -->\n```\w*\n(.*?)```", re.DOTALL)


def test_the_recipe_for_later_works_to_the_letter(place: Workspace) -> None:
    assert SECTION is not None
    blocks = [(match[1], match[2], match[3]) for match in BLOCK.finditer(SECTION[1])]
    assert [name for kind, name, _ in blocks if kind == "run"] == ["later-serve", "later-quiet", "later-instant"]
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("FLOWD_", "CODEX_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    said: dict[str, str] = {}
    for kind, name, text in blocks:
        if kind == "file":
            file = place.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif kind == "run":
            with (place.path / "said").open("w+") as out:
                # A file and not a pipe: the daemon of one block goes on while the next ones run.
                argv = ["bash", "-e", "-c", text]
                done = subprocess.run(argv, cwd=place.path, env=environment, stdout=out, stderr=out, timeout=90)
                out.seek(0)
                said[name] = out.read()
            assert done.returncode == 0, (name, said[name])
        else:
            assert said[name] == text, name
    assert "warning" not in said["later-serve"]
