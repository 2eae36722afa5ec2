"""What is allowed in a watch, and may not be what its author means. Told where somebody asks for a check."""

import os
from collections.abc import Iterator
from pathlib import Path

from flowd.domain.finding import Finding
from flowd.domain.flow import Flow, Snapshot
from flowd.domain.step import Runner
from flowd.domain.watches import Watch
from flowd.watching.ignoring import ignores
from flowd.watching.patterns import Selection
from flowd.watching.tree import MAX_FILES, Tree

_OWN = (".codex/flowd", ".codex/flows", ".git")
_WHOLE = ("*", "**", "**/*", "*.*")


def watch_doubts(snapshot: Snapshot, flow: Flow, workspace: Path) -> Iterator[Finding]:
    """Findings about the watches of a flow: one that no step hears, sees nothing or too much, or hears of its own
    steps."""
    for index, watch in enumerate(flow.watches):
        if not snapshot.candidates(watch.type):
            message = f'watch "{watch.name}": no step is started by its type, "{watch.type}"'
            yield flow.doubt(("watches", index, "type"), "starts-nothing", message)
        for sentence in _doubts(flow, watch, workspace):
            yield flow.doubt(("watches", index, "paths"), "doubtful-watch", f'watch "{watch.name}": {sentence}')


def _doubts(flow: Flow, watch: Watch, workspace: Path) -> Iterator[str]:
    own = [line for line in watch.paths if any(f"{line}/".startswith(f"{own}/") for own in _OWN)]
    if own:
        yield f"{own[0]} is flowd's own or git's, which is never watched"
    if not watch.gitignore and any(line in _WHOLE for line in watch.paths):
        yield (
            "it watches the whole workspace, ignored files too: whatever a step writes there starts it again; narrow "
            "its paths, or remove gitignore = false"
        )
    package = os.path.relpath(flow.root, workspace)
    if any(step.runner is Runner.PYTHON for step in flow.steps) and not package.startswith(".."):
        yield from _own_package(watch, package, str(workspace))
    yield from _sight(watch, workspace)


def _own_package(watch: Watch, package: str, workspace: str) -> Iterator[str]:
    """Where a step of Python's leaves compiled files beside its script."""
    path = f"{package}/__pycache__/step.cpython-311.pyc"
    if Selection(watch.paths).takes(path) and not (watch.gitignore and ignores(workspace, path)):
        yield (
            f"it sees {package}/__pycache__, where its python steps leave files, and so starts them again; add "
            f'"!**/__pycache__/**" to its paths, or __pycache__/ to a .gitignore'
        )


def _sight(watch: Watch, workspace: Path) -> Iterator[str]:
    tree = Tree(watch, str(workspace))
    tree.look()
    if tree.is_too_large:
        yield f"there are more than {MAX_FILES} files and folders, so it is off; narrow its paths"
    elif tree.links_out:
        yield f"{min(tree.links_out)} is a link out of the workspace, and none such is followed"
    elif not tree.files:
        yield f"there is no file that its paths fit: {', '.join(watch.paths)}"
    if tree.unreadable:
        yield f"{len(tree.unreadable)} of its folders cannot be looked into, {min(tree.unreadable) or '.'} for one"
