"""The tutorial of several hosts, done to the letter on a server of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import postgres_rig
import psutil
import pytest

CHECKOUT = Path(__file__).parents[2]
TEXT = (CHECKOUT / "docs" / "hosts.md").read_text(encoding="utf-8")
RUNS = {"database", "copy", "schema", "serve", "dispatch", "away", "back", "stop"}
BLOCK = re.compile(r"<!-- (file|run|output): (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Of whoever works through it: flowd on the PATH, and a server that is found without being named."""
    server = postgres_rig.Server(postgres_rig.programs())
    try:
        path = [Path(sys.executable).parent, postgres_rig.programs(), os.environ["PATH"]]
        yield {
            **{name: value for name, value in os.environ.items() if not name.startswith(("FLOWD_", "CODEX_", "PG"))},
            "PATH": os.pathsep.join(map(str, path)),
            "PGHOST": str(server.folder),
            "PGUSER": "postgres",
        }
    finally:
        server.remove()


def test_every_block_of_the_tutorial_is_executed_or_compared() -> None:
    _, _, rest = TEXT.partition("\n## Tutorial")
    tutorial, _, _ = rest.partition("\n## ")
    blocks = BLOCK.findall(tutorial)
    assert len(blocks) == tutorial.count("\n```") // 2
    assert {name for kind, name, _ in blocks if kind == "run"} == RUNS
    assert {name for kind, name, _ in blocks if kind == "output"} < RUNS


def without_comments(text: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#")).strip()


@pytest.mark.parametrize("name", ["examples/compose.yaml", "systemd/examples/shared-store.conf"])
def test_the_files_that_are_shown_are_those_that_are_there(name: str) -> None:
    _, _, shown = TEXT.partition(f"(`{name}`)")
    _, _, shown = shown.partition("```")
    _, _, shown = shown.partition("\n")
    shown, _, _ = shown.partition("```")
    assert without_comments(shown) == without_comments((CHECKOUT / name).read_text(encoding="utf-8"))


def run(text: str, folder: Path, environment: dict[str, str]) -> str:
    """What a block of commands says."""
    with (folder / "said").open("w+") as out:
        # A file and not a pipe: the daemon of one block goes on while the next ones run.
        argv = ["bash", "-e", "-c", text]
        done = subprocess.run(argv, cwd=folder, env=environment, stdout=out, stderr=out, timeout=120)
        out.seek(0)
        said = out.read()
    assert done.returncode == 0, (text, said)
    return said


def end_processes(folder: Path) -> None:
    """End the daemons of the tutorial, where it has not come to its own end, and their keepers."""
    mine = [one for one in psutil.process_iter() if is_of(one, folder)]
    for one in mine:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(mine, timeout=20)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def is_of(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.cwd().startswith(str(folder)) or str(folder) in " ".join(process.cmdline())
    except psutil.Error:
        return False


@pytest.mark.timeout(240)
def test_the_tutorial_of_several_hosts_works_to_the_letter(tmp_path: Path, environment: dict[str, str]) -> None:
    said: dict[str, str] = {}
    try:
        for kind, name, text in BLOCK.findall(TEXT):
            match kind:
                case "file":
                    file = tmp_path / name
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(text, encoding="utf-8")
                case "run":
                    said[name] = run(text, tmp_path, environment)
                case "output":
                    assert said[name] == text, name
    finally:
        end_processes(tmp_path)
