"""Writes new flow packages for ``flowd new``, and finds the example packages."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from flowd import schemas

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_TYPE_CHARS: Final = 256

_PYTHON: Final = '''"""Answers {type}."""

from typing import Any


def run(context: dict[str, Any]) -> dict[str, Any]:
    """Called with the flow, the event and the run; what it returns is the step's result."""
    payload = context["flow"]["event"]["payload"]
    print(f"working on attempt {{context['runtime']['attempt']}}")  # shown by `flowd logs`
    return {{"status": "completed", "message": f"Hello, {{payload['name']}}!"}}
'''

_JAVASCRIPT: Final = """// Answers {type}. Called with the flow, the event and the run; what it returns is the result.
export default async function run(context{annotation}) {{
  const {{ name }} = context.flow.event.payload;
  console.log(`working on attempt ${{context.runtime.attempt}}`); // shown by `flowd logs`
  return {{ status: "completed", message: `Hello, ${{name}}!` }};
}}
"""

_TYPES: Final = """interface Context {
  flow: { name: string; event: { id: string; type: string; payload: { name: string } } };
  runtime: { runId: string; attempt: number; replay: boolean };
}

"""

_SHELL: Final = """#!/bin/sh
# Answers {type}. The context comes as JSON on stdin; CODEX_FLOW_* and FLOWD_* variables name the event and the run.
set -eu
context=$(cat)
echo "working on attempt $FLOWD_ATTEMPT with ${{#context}} characters of context"  # shown by `flowd logs`
echo 'FLOW_RESULT {{"status":"completed","message":"Hello!"}}'
"""

_MANIFEST: Final = """{directive}
name = {name}
version = 1
description = {description}

[[steps]]
name = "hello"
runner = {runner}
script = {script}
timeout_ms = 60000

[steps.trigger]
type = {type}
schema = {schema}
"""


def _python(event_type: str) -> str:
    return _PYTHON.format(type=_in_comment(event_type))


def _bun(event_type: str) -> str:
    return _TYPES + _JAVASCRIPT.format(type=_in_comment(event_type), annotation=": Context")


def _node(event_type: str) -> str:
    return _JAVASCRIPT.format(type=_in_comment(event_type), annotation="")


def _exec(event_type: str) -> str:
    return _SHELL.format(type=_in_comment(event_type))


def _in_comment(event_type: str) -> str:
    return event_type.replace("\\", "/").replace('"', "'")


_SCRIPTS: Final[Mapping[str, tuple[str, Callable[[str], str]]]] = {
    "python": ("exec/hello.py", _python),
    "bun": ("exec/hello.ts", _bun),
    "node": ("exec/hello.mjs", _node),
    "exec": ("exec/hello.sh", _exec),
}


def scaffold(
    workspace: Path, name: str, *, runner: str = "python", event_type: str = "demo.hello", installed: bool = False
) -> list[Path]:
    """Write a package that works: manifest, schema, script, and an event that triggers it.

    The package appears whole, by a rename, so that a watching daemon never reads half of it. Nothing stays behind when
    writing fails. The workspace gets the JSON Schema that the manifest names, for editors.

    Args:
        workspace: The folder that has, or gets, ``flows``.
        name: The flow's and its folder's name.
        runner: ``python``, ``bun``, ``node`` or ``exec``.
        event_type: What triggers it; may end in ``.*``.
        installed: Into ``.codex/flows`` rather than ``flows``.

    Returns:
        The files written, ``flow.toml`` first.

    Raises:
        ValueError: A bad name, runner or type, or the folder is there already; a sentence for the user.
        OSError: It cannot be written.
    """
    _check(name, runner, event_type)
    root = workspace / ".codex" / "flows" if installed else workspace / "flows"
    package = root / name
    if os.path.lexists(package):
        raise ValueError(f"{package} exists already; choose another name or remove it first")
    root.mkdir(parents=True, exist_ok=True)
    schemas.install(workspace, "flow")
    directive = schemas.directive(package / "flow.toml", workspace, "flow")
    # Beside the root, not in it: folders with a dot at their front are packages too.
    holder = Path(tempfile.mkdtemp(prefix=".flowd-new-", dir=root.resolve().parent))
    try:
        written = [
            _write(holder / name, path, text) for path, text in _files(name, runner, event_type, directive).items()
        ]
        (holder / name).rename(package)
    except FileExistsError as error:
        raise ValueError(f"{package} exists already; choose another name or remove it first") from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    return [package / path.relative_to(holder / name) for path in written]


def examples_dir() -> Path:
    """The folder of the example packages: beside flowd in an installation, at the top of a checkout.

    Raises:
        FileNotFoundError: This installation has none.
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "_examples", here.parent / "examples"):
        if (folder / "flows").is_dir():
            return folder
    raise FileNotFoundError(f"flowd's examples are neither in {here / '_examples'} nor beside {here}; reinstall flowd")


def _check(name: str, runner: str, event_type: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:100]!r} is not a package name; use up to 100 letters, digits, dots, dashes and underscores,"
            " beginning with a letter or digit"
        )
    if runner not in _SCRIPTS:
        raise ValueError(f"{runner!r} is not a runner that a package can be made for; use {', '.join(_SCRIPTS)}")
    if not event_type.strip() or len(event_type) > _MAX_TYPE_CHARS or _CONTROL.search(event_type):
        raise ValueError(f"{event_type[:100]!r} is not an event type; use 1 to {_MAX_TYPE_CHARS} printable characters")


def _files(name: str, runner: str, event_type: str, directive: str) -> dict[str, str]:
    script, source = _SCRIPTS[runner]
    schema_path = "schemas/event.schema.json"
    manifest = _MANIFEST.format(
        directive=directive,
        name=_toml(name),
        description=_toml(f"Answers {event_type}"),
        runner=_toml(runner),
        script=_toml(script),
        type=_toml(event_type),
        schema=_toml(schema_path),
    )
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["name"],
        "properties": {"name": {"type": "string", "minLength": 1}},
    }
    concrete = f"{event_type[:-1]}example" if event_type.endswith(".*") else event_type
    event = {"id": f"{name}-1", "type": concrete, "source": "flowd new", "payload": {"name": "world"}}
    return {
        "flow.toml": manifest,
        schema_path: _json(schema),
        script: source(event_type),
        "event.json": _json(event),
    }


def _toml(text: str) -> str:
    # A JSON string without control characters is a TOML basic string as well.
    return json.dumps(text, ensure_ascii=False)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _write(folder: Path, path: str, text: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    if text.startswith("#!"):
        # Whoever may read it may run it.
        mode = file.stat().st_mode
        file.chmod(mode | ((mode & 0o444) >> 2))
    return file
