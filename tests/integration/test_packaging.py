"""What a distribution's package takes from here: a man page and completions that are made of the command line."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packaging")
    environ = {"PYTHONPATH": str(CHECKOUT), "PATH": os.defpath}
    subprocess.run([sys.executable, "docs/packaging.py", str(folder)], cwd=CHECKOUT, env=environ, check=True)
    return folder


def test_the_man_page_has_every_command_and_no_fault_of_its_language(made: Path) -> None:
    text = (made / "flowd.1").read_text(encoding="utf-8")
    for command in ("dispatch", "serve", "service install", "doctor"):
        assert f"\n.SS flowd {command} " in text
    if shutil.which("groff") is None:
        pytest.skip("NOT CHECKED: groff is not here")
    done = subprocess.run(
        ["groff", "-Kutf8", "-man", "-Tutf8", "-ww", "-z", str(made / "flowd.1")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


def test_the_wheel_has_the_man_page_and_the_schemas(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(argv, cwd=CHECKOUT, capture_output=True, check=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith(".data/data/share/man/man1/flowd.1")] != []
    assert {"flowd/schemas/flow.schema.json", "flowd/schemas/flowd.schema.json"} <= {*names}


def test_a_linter_of_man_pages_finds_nothing(made: Path) -> None:
    if shutil.which("mandoc") is None:
        pytest.skip("NOT CHECKED: mandoc is not here")
    argv = ["mandoc", "-T", "lint", "-W", "warning", str(made / "flowd.1")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    # No date: the page says of which version it is, and is the same whenever it is made.
    assert [line for line in done.stdout.splitlines() if "missing date" not in line] == []


def test_a_shell_reads_the_completions(made: Path) -> None:
    assert {path.name for path in made.iterdir()} == {"flowd.1", "flowd.bash", "_flowd", "flowd.fish"}
    script = 'source "$1"; complete -p flowd'
    done = subprocess.run(
        ["bash", "-c", script, "bash", str(made / "flowd.bash")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("complete ")


def test_the_oldest_hatchling_that_is_allowed_knows_what_the_project_says() -> None:
    about = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    # license = "MIT" with license-files, as a list, are of PEP 639, which hatchling 1.27 is the first to have.
    assert about["build-system"]["requires"] == ["hatchling>=1.27"]
    assert about["project"]["license-files"] == ["LICENSE"]


def test_every_unit_names_its_documentation() -> None:
    units = [path for folder in ("system", "user") for path in (CHECKOUT / "systemd" / folder).iterdir()]
    assert len(units) == 10
    assert [path.name for path in units if "\nDocumentation=man:flowd(1)\n" not in path.read_text()] == []
