"""What README and docs/install.md have somebody type to install flowd, in a home that is as good as new."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho installed\\n' >"$3/bin/flowd"
printf '#!/bin/sh\\n' >"$3/bin/pip"
chmod +x "$3/bin/flowd" "$3/bin/pip"
"""
"""Stands for `python3 -m venv FOLDER`, which the network and half a minute would be needed for."""


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_the_lines_install_outside_of_the_clone_a_command_that_is_found(page: str, tmp_path: Path) -> None:
    clone, programs = tmp_path / "flowd", tmp_path / "programs"
    clone.mkdir()
    programs.mkdir()
    (programs / "python3").write_text(PYTHON)
    (programs / "python3").chmod(0o755)
    (block,) = re.findall(
        r"^```console\n((?:\$ .*\n)*\$ python3 -m venv (?:.*\n)*?)```", (ROOT / page).read_text(), re.MULTILINE
    )
    lines = re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    export = 'export PATH="$HOME/.local/bin:$PATH"'
    assert export in (ROOT / page).read_text()
    done = subprocess.run(
        ["/bin/sh", "-e", "-c", "\n".join([*lines, export, "flowd"])],
        cwd=clone,
        env={"HOME": str(tmp_path), "PATH": f"{programs}{os.pathsep}/usr/bin{os.pathsep}/bin"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "installed\n", "")
    assert list(clone.iterdir()) == []
