"""A workspace that is worth looking at: a shop whose release failed last night."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from daemon_rig import Workspace, until, workspace
from http_rig import HttpPlace

from flowd_client.request import ResolvedAs
from flowd_client.views.run import RunView

_EXAMPLES: Final = Path(__file__).parents[1] / "examples"
_PACKS: Final = "git archive"
_MISSPELT: Final = "gti archive"

TESTS: Final = """printf '\\033[1mRunning 3 tests\\033[0m\\n'
printf '  checkout  \\033[32mok\\033[0m\\n  basket    \\033[32mok\\033[0m\\n  invoice   \\033[32mok\\033[0m\\n'
"""


class Shop:
    """A workspace that releases the repository of a shop by `examples/flows/release`.

    Versions 1.0.0 and 1.1.0 are out; 1.2.0 failed last night, for its step ``build`` misspells git.
    """

    def __init__(self, place: Workspace) -> None:
        self.place = place
        self.web = HttpPlace(place)
        self.repository = place.path / "shop"
        self.public = place.path / "public.git"
        self.build = place.path / "flows" / "release" / "exec" / "build.sh"

    def set_up(self, **environment: str) -> "Shop":
        """Make the repository and its packages, start the daemon, and release what there is to release."""
        shutil.copytree(_EXAMPLES / "flows" / "release", self.place.path / "flows" / "release")
        self._make_repository()
        self.web.start(**environment)
        self.answer(self.release("v1.0.0"), "completed")
        self.answer(self.release("v1.1.0"), "completed")
        self.build.write_text(self.build.read_text().replace(_PACKS, _MISSPELT))
        self.read_again()
        self.release("v1.2.0")
        return self

    def release(self, tag: str) -> dict[str, RunView]:
        """Ask for a release, and its runs by step once none of them goes on without a person."""
        payload = {"repo": str(self.repository), "tag": tag}
        event = {"id": f"release:{tag}", "type": "release.requested", "source": "nightly", "payload": payload}
        with self.place.client() as client:
            done = client.dispatch_event(event, wait=True)
        return {str(run.step_name): run for run in done.runs}

    def answer(self, runs: dict[str, RunView], status: ResolvedAs) -> None:
        """Say how the question of a release counts, and wait for what follows."""
        with self.place.client() as client:
            client.resolve_run(runs["ask"].id, status)
            client.wait_run(runs["publish"].id)

    def mend(self) -> None:
        """What a person does in an editor about the step that failed. The daemon finds out by itself."""
        before = self._package_hash()
        self.build.write_text(self.build.read_text().replace(_MISSPELT, _PACKS))
        until(lambda: self._package_hash() != before, what="the daemon's look at the package")

    def read_again(self) -> None:
        """Have the daemon read the packages as they are now."""
        self.place.call("daemon.reload")

    def published(self) -> list[str]:
        """The tags that are out."""
        return self._git("tag", cwd=self.public).split()

    def _package_hash(self) -> str:
        return next(str(flow["packageHash"]) for flow in self.place.call("flow.listFlows")["flows"])

    def _make_repository(self) -> None:
        self._git("init", "--quiet", "--bare", str(self.public), cwd=self.place.path)
        self._git("init", "--quiet", str(self.repository), cwd=self.place.path)
        self._git("remote", "add", "origin", str(self.public))
        (self.repository / "test.sh").write_text(TESTS)
        self._git("add", "test.sh")
        for tag, subject in (("v1.0.0", "Open the shop"), ("v1.1.0", "Add a basket"), ("v1.2.0", "Send invoices")):
            self._git("commit", "--quiet", "--all", "--allow-empty", "--message", subject)
            self._git("tag", tag)

    def _git(self, *words: str, cwd: Path | None = None) -> str:
        you = {"GIT_AUTHOR_NAME": "You", "GIT_AUTHOR_EMAIL": "you@localhost"}
        you |= {name.replace("AUTHOR", "COMMITTER"): value for name, value in you.items()}
        done = subprocess.run(
            ["git", *words], cwd=cwd or self.repository, env={**os.environ, **you}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@contextmanager
def shop(**environment: str) -> Iterator[Shop]:
    """A shop in a scratch workspace, with its daemon. The workspace's name is the same each time, for pictures."""
    with workspace() as scratch:
        place = Workspace(scratch.path / "shop-releases")
        place.path.mkdir()
        try:
            yield Shop(place).set_up(**environment)
        finally:
            place.clean_up()
