"""The recipes of docs/editors.md for Vim and Emacs, done to the letter."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from daemon_rig import Workspace

PAGE = Path(__file__).parents[2] / "docs" / "editors.md"
BLOCKS = dict(re.findall(r"<!-- run: (\w+) -->\n```\w+\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))

MANIFEST = """name = "nightly"
version = 1

[[steps]]
name = "backup"
runner = "exec"
script = "backup.sh"
timeout_msec = 60000
[steps.trigger]
type = "nightly.due"
"""


@pytest.fixture
def manifest(place: Workspace) -> Path:
    """A flow.toml with a misspelt key on its line 8."""
    file = place.path / "flows" / "nightly" / "flow.toml"
    file.parent.mkdir(parents=True)
    file.write_text(MANIFEST, encoding="utf-8")
    script = file.with_name("backup.sh")
    script.write_text("#!/bin/sh\n", encoding="utf-8")
    script.chmod(0o755)
    return file


def edit(place: Workspace, *argv: str) -> None:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"HOME": str(place.path), "TERM": "xterm"}
    done = subprocess.run(
        argv, cwd=place.path, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_make_in_vim_leads_to_what_validate_finds(place: Workspace, manifest: Path) -> None:
    if shutil.which("vim") is None:
        pytest.skip("NOT TESTED: the recipe for Vim, because vim is not here (apt install vim)")
    settings = place.path / "vimrc"
    settings.write_text(BLOCKS["vim"], encoding="utf-8")
    said = place.path / "said"
    found = 'map(getqflist(), "[bufname(v:val.bufnr), v:val.lnum, v:val.col, v:val.type, v:val.text]")'
    tell = f'call writefile([json_encode({found})], "{said}")'
    edit(place, "vim", "-Nu", str(settings), "-es", str(manifest), "-c", "silent make!", "-c", tell, "-c", "qa!")
    ((file, line, column, kind, text),) = json.loads(said.read_text(encoding="utf-8"))
    assert (place.path / file).resolve() == manifest.resolve()
    assert (line, column, kind) == (8, 1, "w")
    assert "timeout_msec" in text


def test_flymake_in_emacs_marks_what_is_not_saved_yet(place: Workspace, manifest: Path) -> None:
    if shutil.which("emacs") is None:
        pytest.skip("NOT TESTED: the recipe for Emacs, because emacs is not here (apt install emacs-nox)")
    settings = place.path / "settings.el"
    settings.write_text(BLOCKS["emacs"], encoding="utf-8")
    said = place.path / "said"
    script = place.path / "script.el"
    script.write_text(
        f"""(find-file "{manifest}")
        (goto-char (point-max))
        (insert "typ = \\"x\\"\\n")
        (flymake-start)
        (let ((left 1200))
          (while (and (> left 0) (< (length (flymake-diagnostics)) 2))
            (accept-process-output nil 0.05)
            (setq left (1- left))))
        (with-temp-file "{said}"
          (let ((found (with-current-buffer (get-file-buffer "{manifest}")
                  (mapcar (lambda (one) (format "%s %d %s" (flymake-diagnostic-type one)
                                                (line-number-at-pos (flymake-diagnostic-beg one))
                                                (flymake-diagnostic-text one)))
                          (flymake-diagnostics)))))
            (insert (string-join found "\\n"))))
        """,
        encoding="utf-8",
    )
    edit(place, "emacs", "-Q", "--batch", "-l", str(settings), "-l", str(script))
    lines = sorted(said.read_text(encoding="utf-8").splitlines())
    assert [line.split()[:2] for line in lines] == [[":warning", "11"], [":warning", "8"]], lines
    assert "timeout_msec" in lines[1]
    assert manifest.read_text(encoding="utf-8") == MANIFEST
