"""The client as a distribution of its own: built, installed where there is no flowd, and used against a daemon."""

import importlib.util
import re
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_rig import Workspace, workspace

import flowd

CHECKOUT = Path(__file__).parents[2]
SOURCE = CHECKOUT / "clients" / "python"
README = (CHECKOUT / "clients/python/README.md").read_text(encoding="utf-8")
PAGE = (CHECKOUT / "docs" / "clients.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (?:run|file): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
ABOUT_README, ABOUT_PAGE = dict(BLOCK.findall(README)), dict(BLOCK.findall(PAGE))

MANIFEST = """name = "hello"
version = 1

[[steps]]
name = "hello"
runner = "python"
script = "hello.py"

[steps.trigger]
type = "hello.requested"
"""


def build(kind: str, source: Path, folder: Path) -> Path:
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("NOT TESTED: the client's distribution, because hatchling, which builds it, is not here")
    argv = [sys.executable, "-m", "hatchling", "build", "--target", kind, "--directory", str(folder)]
    subprocess.run(argv, cwd=source, capture_output=True, check=True)
    (made,) = folder.iterdir()
    return made


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", SOURCE, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment that has the client and nothing else."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    uv = [sys.executable, "-m", "uv", "--quiet", "pip", "install", "--offline", "--no-index"]
    subprocess.run([*uv, "--python", str(folder / "bin/python"), str(wheel)], check=True)
    return str(folder / "bin/python")


def run(python: str, text: str, folder: Path) -> str:
    done = subprocess.run([python, "-I", "-"], input=text, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(scope="module")
def served() -> Iterator[Workspace]:
    """A daemon with a package whose step is the one that the distribution's README shows."""
    with workspace() as place:
        package = place.path / "flows" / "hello"
        package.mkdir(parents=True)
        (package / "flow.toml").write_text(MANIFEST, encoding="utf-8")
        (package / "hello.py").write_text(ABOUT_README["hello.py"], encoding="utf-8")
        place.start()
        yield place


def test_it_needs_nothing_and_has_flowd_s_version(python: str, tmp_path: Path) -> None:
    script = """
import importlib.metadata, importlib.util, sys
import flowd_client, flowd_step
about = importlib.metadata.metadata("codex-flowd-client")
print(about["Version"], about.get_all("Requires-Dist"), importlib.util.find_spec("flowd"))
print(all(module.__file__.startswith(sys.prefix) for module in (flowd_client, flowd_step)))
"""
    assert run(python, script, tmp_path) == f"{flowd.__version__} None None\nTrue\n"


def test_it_has_the_types_and_nothing_that_only_the_repository_needs(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {"flowd_client/py.typed", "flowd_step/py.typed"} <= set(names)
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"flowd_client", "flowd_step", f"codex_flowd_client-{flowd.__version__}.dist-info"}


def test_the_same_comes_of_its_source_distribution(wheel: Path, tmp_path: Path) -> None:
    archive = build("sdist", SOURCE, tmp_path / "sdist")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    again = build("wheel", tmp_path / archive.name.removesuffix(".tar.gz"), tmp_path / "again")
    assert again.name == wheel.name
    assert again.read_bytes() == wheel.read_bytes()


def test_it_is_licensed_as_flowd_is() -> None:
    assert (SOURCE / "LICENSE").read_bytes() == (CHECKOUT / "LICENSE").read_bytes()


def test_its_readme_s_examples_work(python: str, served: Workspace, tmp_path: Path) -> None:
    assert run(python, ABOUT_README["client"], served.path) == "hello completed\n"
    (tmp_path / "hello.py").write_text(ABOUT_README["hello.py"], encoding="utf-8")
    shell = ["sh", "-ec", ABOUT_README["step"]]
    environment = {"PATH": f"{Path(python).parent}:/usr/bin:/bin"}
    done = subprocess.run(shell, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == 'FLOW_RESULT {"status":"completed","message":"Hello, Ada!"}\n', done


def test_the_examples_of_the_page_about_clients_work(python: str, served: Workspace) -> None:
    said = run(python, ABOUT_PAGE["python"].replace("order:17", "page:17"), served.path)
    assert said.startswith('completed Hello, Ada!\nFLOW_RESULT {"status":"completed"')
    assert "page:17" in said.splitlines()[-1]
    assert run(python, ABOUT_PAGE["asyncio"].replace("order:17", "page:17"), served.path) == "['completed']\n"


def test_without_the_engine_local_mode_says_what_is_missing(python: str, tmp_path: Path) -> None:
    script = """
from flowd_client import UnavailableModeError, create_flow_client
try:
    create_flow_client("local")
except UnavailableModeError as error:
    print(error)
"""
    assert "Install flowd, in a clone of its repository" in run(python, script, tmp_path)
