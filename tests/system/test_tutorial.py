"""Tutorials and recipes, done to the letter: their files written, their commands run in order, their output compared.

So is every page whose blocks have marks and that no other test reads.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import documentation
import pytest
from daemon_rig import Workspace, about_the_file, flowd, until
from http_rig import free_port

CHECKOUT = documentation.CHECKOUT
TUTORIALS = documentation.tutorials()


def steps(page: str) -> Iterator[tuple[str, str, str]]:
    """Each marked block of a page in order: its kind, its name and its text."""
    for block in documentation.blocks(CHECKOUT / page):
        if block.kind in ("file", "run", "output"):
            yield block.kind, block.name, block.text


def test_the_tutorials_are_among_them() -> None:
    assert {"docs/tutorial.md", "docs/tutorial-order.md"} <= set(TUTORIALS)


@pytest.mark.parametrize("tutorial", ["docs/tutorial.md", "docs/tutorial-order.md"])
def test_every_block_of_a_tutorial_is_executed_or_compared(tutorial: str) -> None:
    assert len(list(steps(tutorial))) == documentation.fences(CHECKOUT / tutorial)


@pytest.mark.parametrize("tutorial", TUTORIALS)
def test_what_is_compared_was_executed(tutorial: str) -> None:
    names = {kind: {name for what, name, _ in steps(tutorial) if what == kind} for kind in ("run", "output")}
    assert names["output"] <= names["run"]


def test_the_release_is_the_example() -> None:
    example = CHECKOUT / "examples" / "flows" / "release"
    files = {path.relative_to(example).as_posix(): path.read_text(encoding="utf-8") for path in example.rglob("*.*")}
    shown = {
        name.removeprefix("flows/release/"): text
        for kind, name, text in steps("docs/tutorial-order.md")
        if kind == "file"
    }
    assert shown == files


@pytest.mark.parametrize("tutorial", TUTORIALS)
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
                    done = subprocess.run(argv, cwd=place.path, env=environment, stdout=out, stderr=out, timeout=90)
                    out.seek(0)
                    said[name] = out.read()
                assert done.returncode == 0, (name, said[name])
            case "output":
                assert said[name] == text, name


@about_the_file
def test_the_way_back_to_the_version_before_works_to_the_letter(place: Workspace) -> None:
    place.start()
    place.call("flow.dispatch", event={"id": "before", "type": "x", "payload": {}})
    assert place.stop() == 0
    database = place.path.resolve() / ".codex" / "flowd" / "flowd.db"
    with sqlite3.connect(database) as newer:  # as a flowd with a schema more would leave it
        (schema,) = newer.execute("PRAGMA user_version").fetchone()
        shutil.copyfile(database, database.with_name(f"flowd.db.before-schema-{schema + 1}"))
        newer.execute(f"PRAGMA user_version = {schema + 1}")
    newer.close()
    refused = flowd(place, "serve")
    assert refused.returncode == 78
    assert f"copy {database}.before-schema-{schema + 1} into its place" in refused.stderr
    page = documentation.blocks(CHECKOUT / "docs" / "operating.md")
    (block,) = (block for block in page if "before-schema-N" in block.text)
    typed = [line.removeprefix("$ ") for line in block.text.splitlines()]
    commands = "\n".join(typed).replace("schema-N", f"schema-{schema + 1}")
    subprocess.run(["bash", "-c", commands], cwd=place.path, capture_output=True, check=True, timeout=30)
    place.start()
    until(lambda: [event["id"] for event in place.call("flow.listEvents")["events"]] == ["before"], what="the event")
