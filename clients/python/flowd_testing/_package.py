"""A flow package in a scratch workspace, for a test to run steps of."""

import itertools
import json
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from flowd_testing._errors import FlowPackageError
from flowd_testing._reports import RoundReport, StepReport

_EXAMPLES = ("event.json", "example.json", "events/*.json", "examples/*.json")
"""Where packages have their example event."""

_LEFT_BEHIND = (".git", ".venv", "__pycache__", ".pytest_cache", "node_modules")
"""Not copied; ``node_modules`` is linked."""


class FlowPackage:
    """A copy of a flow package, in a workspace that has nothing else.

    Its steps see the environment of the tests, so ``monkeypatch.setenv`` works on them. Paths out of the package, and
    ``cwd = "@"``, lead into the workspace: what a step needs there, a test writes there first.

    Attributes:
        path: The copy's folder, which a test may change.
        workspace: The scratch workspace. Settings for the steps go into its ``.codex/flowd.toml``.
    """

    def __init__(self, source: str | Path, workspace: str | Path) -> None:
        """Copy the package.

        Args:
            source: Its folder, with a flow.toml in it.
            workspace: A folder to make the workspace in, empty or new.

        Raises:
            FlowPackageError: The folder is no package.
        """
        source = Path(source).absolute()
        if not (source / "flow.toml").is_file():
            raise FlowPackageError(f"{source} is no flow package: it has no flow.toml")
        self.workspace = Path(workspace).absolute()
        self.path = self.workspace / "flows" / source.name
        shutil.copytree(source, self.path, symlinks=True, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))
        if (source / "node_modules").is_dir():
            (self.path / "node_modules").symlink_to(source / "node_modules")
        self._numbers = itertools.count(1)

    def event(self, type: str | None = None, /, **payload: Any) -> dict[str, Any]:  # noqa: A002 - the word of events
        """The package's example event with an id of its own, and with these members in its payload.

        Args:
            type: Its type; with it, the event has nothing of the example.
            payload: Members to set.

        Raises:
            FlowPackageError: No type is given, and the package has no example.
        """
        event = self._example() if type is None else {"type": type, "payload": {}}
        if payload:
            known = event.get("payload")
            event["payload"] = {**(known if isinstance(known, dict) else {}), **payload}
        return {**event, "id": self._id()}

    def _named(self, event: Mapping[str, Any] | None) -> dict[str, Any]:
        return self.event() if event is None else {"id": self._id(), **event}

    def _id(self) -> str:
        return f"test-{next(self._numbers)}"

    def _example(self) -> dict[str, Any]:
        found = next((file for pattern in _EXAMPLES for file in sorted(self.path.glob(pattern))), None)
        if found is None:
            raise FlowPackageError(
                f"{self.path.name} has no example event ({', '.join(_EXAMPLES)}); add one, or give the type:"
                ' event("release.tagged", tag="v1")'
            )
        example = json.loads(found.read_text(encoding="utf-8"))
        if not isinstance(example, dict):
            raise FlowPackageError(f"{found} is no event: it is no JSON object")
        return example

    def step(
        self,
        name: str,
        event: Mapping[str, Any] | None = None,
        *,
        needs: Mapping[str, Mapping[str, Any]] | None = None,
        answer: Any = None,
    ) -> StepReport:
        """Run one step, whatever its trigger and schema say of the event.

        Args:
            name: The step's.
            event: By default the package's example, see `event`.
            needs: What the steps said that it needs, by their names: ``{"build": {"status": "changed", "path": "x"}}``;
                without a status, ``completed``. By default it is told of none.
            answer: What a person gave to its question, as ``flowd answer --input`` does; None where nobody has.

        Raises:
            FlowPackageError: The package is broken or has no such step, the step no such needs, or the event is none.
        """
        from flowd_testing import _engine  # noqa: PLC0415 - the engine takes a while to import

        told = _engine.Told(needs or {}, answer)
        (report,) = _engine.run(self.workspace, self._named(event), only=name, told=told)
        return _shown(report)

    def round(self, event: Mapping[str, Any] | None = None, *, approve: Collection[str] = ()) -> RoundReport:
        """Run every step that the event matches, and those that need them, in order. Delays are not waited for.

        Args:
            event: By default the package's example, see `event`.
            approve: Names of steps that count as completed where they ask for a person. What waits for others that ask
                is ``queued`` at the end.

        Raises:
            FlowPackageError: The package is broken, one that is approved is no step of it, or the event is none.
        """
        from flowd_testing import _engine  # noqa: PLC0415 - likewise

        reports = _engine.run(self.workspace, self._named(event), approved=approve)
        return RoundReport({report.step: _shown(report) for report in reports})


def _shown(report: StepReport) -> StepReport:
    """The same; printed, for pytest to show beside a test that fails."""
    said = report.message or (report.error or "").partition("\n")[0]
    print(f"{report.flow}/{report.step}: {report.status}{f', {said}' if said else ''}")  # noqa: T201
    if report.output:
        print(report.output, end="" if report.output.endswith("\n") else "\n")  # noqa: T201
    return report
