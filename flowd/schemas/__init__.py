"""The JSON Schemas of the files that people write, for editors. ``make docs`` makes them of the code that reads them.

An editor finds one by a comment on the first line of a file: ``#:schema PATH``, relative to that file. So a copy of
each lies in the workspace, where everybody who clones it has it, whatever flowd they have and wherever that is.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from flowd_client import small_file

NAMES: Final = {"flow": "flow.schema.json", "settings": "flowd.schema.json"}
"""By what they are of: a package's ``flow.toml``, and the settings files."""


def text(name: str) -> str:
    """The schema of this name, as JSON."""
    return path(name).read_text(encoding="utf-8")


def path(name: str) -> Path:
    """Where the schema of this name is in this installation."""
    return Path(__file__).with_name(NAMES[name])


def copy_in(workspace: Path, name: str) -> Path:
    """Where the workspace has its copy."""
    return workspace / ".codex" / NAMES[name]


def install(workspace: Path, name: str) -> bool:
    """Give the workspace a copy that is up to date. A reader sees the old one or the new one. False where it had it.

    Raises:
        OSError: It cannot be written.
    """
    place, wanted = copy_in(workspace, name), text(name)
    with suppress(OSError):  # none, or nothing that could be it: a named pipe, whose writer would be waited for
        if small_file.read(place) == wanted.encode():
            return False
    place.parent.mkdir(parents=True, exist_ok=True)
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        fresh.write_text(wanted, encoding="utf-8")
        fresh.replace(place)
    finally:
        fresh.unlink(missing_ok=True)
    return True


def directive(file: Path, workspace: Path, name: str) -> str:
    """The first line of a file that names the workspace's copy.

    >>> directive(Path("/w/flows/a/flow.toml"), Path("/w"), "flow")
    '#:schema ../../.codex/flow.schema.json'
    >>> directive(Path("/w/.codex/flowd.toml"), Path("/w"), "settings")
    '#:schema ./flowd.schema.json'
    """
    relative = os.path.relpath(copy_in(workspace, name), file.parent)
    return f"#:schema {relative if relative.startswith('..') else f'./{relative}'}"
