"""The JSON Schemas as Taplo reads them, which VS Code's "Even Better TOML" is made of."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import documentation
import jsonschema_rs
import pytest
from documentation import CHECKOUT

from flowd import schemas
from flowd.catalog.manifest import RefusedManifestError, parse
from flowd.formats.typed import fields_of
from flowd.runners.scaffold import Plan, read_steps, scaffold
from flowd.settings.tables import Tables

TAPLO = CHECKOUT / ".tools" / "node_modules" / ".bin" / "taplo"

needs_taplo = pytest.mark.skipif(
    not (TAPLO.exists() and shutil.which("node")), reason="Taplo is not here: `make bun` installs it where npm is"
)


def taplo(folder: Path, *files: Path) -> tuple[int, str]:
    done = subprocess.run(
        [TAPLO, "check", "--colors", "never", *files], cwd=folder, capture_output=True, text=True, timeout=100
    )
    return done.returncode, done.stdout + done.stderr


def is_right(manifest: str) -> bool:
    try:
        return not parse(manifest.encode()).findings
    except RefusedManifestError:
        return False


def texts() -> list[tuple[str, str]]:
    """The files of the examples and the whole files in the documentation, each with the name of its schema."""
    blocks = [block for page in documentation.pages() for block in documentation.blocks(page)]
    found = [("flow", file.read_text(encoding="utf-8")) for file in sorted(CHECKOUT.glob("examples/**/flow.toml"))]
    for text in [block.text.replace("…", "a" * 64) for block in blocks if block.language == "toml"]:
        members = tomllib.loads(text).keys()
        if {"name", "version", "steps"} <= members:
            found += [("flow", text)] if is_right(text) else []  # some show what validate says of mistakes
        elif members and members <= fields_of(Tables).keys() and members != {"concurrency"}:
            found.append(("settings", text))
    return found


def write(workspace: Path, number: int, name: str, text: str) -> Path:
    """A file in a workspace with the line that names its schema, if it has none."""
    places = {"flow": f"flows/p{number}/flow.toml", "settings": f".codex/flowd-{number}.toml"}
    file = workspace / places[name]
    file.parent.mkdir(parents=True, exist_ok=True)
    line = schemas.directive(file, workspace, name)
    file.write_text(text if text.startswith("#:schema") else f"{line}\n{text}", encoding="utf-8")
    return file


@needs_taplo
def test_an_editor_passes_what_is_right_and_marks_each_line_that_is_wrong(tmp_path: Path) -> None:
    for name in schemas.NAMES:
        schemas.install(tmp_path, name)
    right = [write(tmp_path, number, *each) for number, each in enumerate(texts())]
    assert len({file.name for file in right if file.name.startswith("flowd")}) > 5
    assert len([file for file in right if file.name == "flow.toml"]) > 10
    plans = (Plan("nightly", stages=read_steps("a > b, c").stages, cron="0 3 * * *"), Plan("saved", files=("src/**",)))
    made = [scaffold(tmp_path, plan)[0] for plan in plans]
    for manifest in made:
        assert manifest.read_text(encoding="utf-8").startswith("#:schema ../../.codex/flow.schema.json\n")
    code, said = taplo(tmp_path, *right, *made)
    assert code == 0, said
    settings = write(
        tmp_path,
        100,
        "settings",
        'max_parallel = 0\nmax_paralel = 1\non_stop = "never"\n[[notify]]\ntimeout_s = 3\n',
    )
    flow = write(
        tmp_path, 101, "flow", 'name = ""\nversion = 1\n[[steps]]\nname = "a"\nrunner = "bash"\ntiemout_ms = "5m"\n'
    )
    code, said = taplo(tmp_path, settings, flow)
    assert code != 0
    assert "'max_paralel' was unexpected" in said
    assert "'tiemout_ms' was unexpected" in said
    assert '"script" is a required property' in said
    for file, lines in ((settings, {2, 3, 4, 5}), (flow, {2, 4, 6, 7})):
        assert {int(found) for found in re.findall(rf"{re.escape(str(file))}:(\d+):", said)} >= lines, said


def test_the_schemas_are_schemas() -> None:
    for name in schemas.NAMES:
        jsonschema_rs.meta.validate(json.loads(schemas.text(name)))
