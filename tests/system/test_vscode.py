"""The extension for VS Code: its types, its own tests against real daemons, and the package that people install."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "clients" / "vscode"
ROOT = FOLDER.parents[1]

BOUND_S = 300
"""Only what hangs takes that long: its tests start four daemons on a machine that has others to do."""

pytestmark = pytest.mark.timeout(2 * BOUND_S)


def npm(*words: str, **environment: str) -> str:
    """What an npm script of the extension prints, which must go well."""
    program = shutil.which("npm")
    if program is None or shutil.which("node") is None:
        pytest.skip("NOT TESTED: the extension for VS Code, because node or npm is not here (Debian: npm)")
    if not (FOLDER / "node_modules").is_dir():
        pytest.skip("NOT TESTED: the extension for VS Code, because its packages are not here; `make vscode` has them")
    if (version := node_version()) < 20:
        pytest.skip(
            f"NOT TESTED: the extension for VS Code, because it is built with node 20 or newer; this is {version}"
        )
    done = subprocess.run(
        [program, "run", "--silent", *words],
        cwd=FOLDER,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=BOUND_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def node_version() -> int:
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    return int(re.match(r"v(\d+)", said)[1])  # type: ignore[index]


def manifest() -> dict[str, Any]:
    said: dict[str, Any] = json.loads((FOLDER / "package.json").read_text(encoding="utf-8"))
    return said


def test_its_types_and_its_layout_are_right() -> None:
    npm("check")


def test_its_own_tests_pass_against_real_daemons(tmp_path: Path) -> None:
    flowd = tmp_path / "flowd"
    flowd.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m flowd "$@"\n', encoding="utf-8")
    flowd.chmod(0o755)
    said = npm("test", FLOWD=str(flowd), PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'clients' / 'python'}")
    assert re.search(r"^# pass [1-9]", said, re.MULTILINE), said
    assert re.search(r"^# fail 0$", said, re.MULTILINE), said


def test_the_package_has_what_people_need_and_nothing_else() -> None:
    npm("package")
    with zipfile.ZipFile(FOLDER / "build" / "flowd.vsix") as package:
        names = sorted(name.removeprefix("extension/") for name in package.namelist() if name.startswith("extension/"))
        licence = package.read("extension/LICENSE.txt")
        program = package.read("extension/dist/extension.js").decode()
    assert names == [
        "LICENSE.txt",
        "changelog.md",
        "dist/extension.js",
        "dist/extension.js.LEGAL.txt",
        "media/flowd.svg",
        "media/icon.png",
        "package.json",
        "readme.md",
    ]
    assert licence == (ROOT / "LICENSE").read_bytes(), "copy LICENSE to clients/vscode"
    assert set(re.findall(r'require\("([^"]+)"\)', program)) - NODES_OWN == {"vscode"}, "something is not bundled"


NODES_OWN = {
    "child_process",
    "crypto",
    "events",
    "fs",
    "fs/promises",
    "net",
    "os",
    "path",
    "string_decoder",
    "url",
    "util",
}
NODES_OWN |= {f"node:{name}" for name in NODES_OWN}


def test_every_command_of_a_menu_is_there_and_does_something() -> None:
    said = manifest()["contributes"]
    commands = {one["command"] for one in said["commands"]}
    named = {one["command"] for menu in said["menus"].values() for one in menu}
    named |= {
        f"flowd.{name}"
        for view in said["viewsWelcome"]
        for name in re.findall(r"command:flowd\.(\w+)", view["contents"])
    }
    assert named <= commands
    source = (FOLDER / "src" / "editor" / "commands.ts").read_text(encoding="utf-8")
    table = source[source.index("const commands: Record") : source.index("return vscode.Disposable.from")]
    assert {f"flowd.{name}" for name in re.findall(r"^    (\w+):", table, re.MULTILINE)} == commands


def test_every_setting_is_read_and_every_one_that_is_read_is_there() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (FOLDER / "src").rglob("*.ts"))
    read = set(re.findall(r'\.get\(\s*"(\w+)"', source))
    assert {f"flowd.{name}" for name in read} == set(manifest()["contributes"]["configuration"]["properties"])


def test_the_lock_says_of_no_package_where_it_was_taken_from() -> None:
    assert '"resolved"' not in (FOLDER / "package-lock.json").read_text(encoding="utf-8")
