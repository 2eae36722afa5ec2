"""Which steps of a flow a saved file concerns."""

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from flowd.domain.flow import Flow
from flowd.domain.step import Step

MANIFEST = "flow.toml"

_SOURCES = frozenset({
    ".bash", ".cjs", ".cts", ".j2", ".jinja", ".js", ".jsx", ".lua", ".mjs", ".mts", ".pl", ".py", ".rb", ".sh", ".sql",
    ".toml", ".ts", ".tsx", ".yaml", ".yml",
})  # fmt: skip
"""What steps import, or read as their own. Of other files nobody knows whether a step has written them itself, and
would be run again by what it does."""


@dataclass(frozen=True, slots=True)
class Concern:
    """What saved files mean for a flow.

    Attributes:
        steps: To be tried, in the flow's order.
        examples: Example events among the files.
        is_seen: One of the files is the flow's own, or what its steps are made of.
    """

    steps: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()
    is_seen: bool = False


def concern(flow: Flow, before: Flow | None, paths: Collection[str]) -> Concern:
    """What these files, saved together, mean for a flow that is now as ``flow``, and was ``before``.

    A script or a schema concerns the steps that name it, the manifest those that it defines otherwise now, and any
    other source in the package all steps: who imports it is not known.
    """
    own = [path for path in paths if belongs(flow, path)]
    found: set[str] = set()
    examples = sorted(path for path in own if is_example(flow.root, path))
    is_seen = bool(examples)
    for path in own:
        if path in examples:
            continue
        if os.path.join(flow.root, MANIFEST) == path:
            is_seen = True
            found |= _changed(flow, before)
        elif users := {step.name for step in flow.steps if path in _files_of(flow, step)}:
            is_seen = True
            found |= users
        elif os.path.splitext(path)[1] in _SOURCES:
            is_seen = True
            found |= {step.name for step in flow.steps}
    return Concern(tuple(step.name for step in flow.steps if step.name in found), tuple(examples), is_seen)


def sources(flow: Flow, paths: Collection[str]) -> set[str]:
    """Of these files, those that a save of is taken for one of what steps import."""
    return {path for path in paths if belongs(flow, path) and os.path.splitext(path)[1] in _SOURCES}


def written_by_people(flow: Flow, paths: Collection[str]) -> set[str]:
    """Of these files, those of the package that no step writes: what it is made of, and its example events."""
    return {path for path in paths if names(flow, path) or is_example(flow.root, path)}


def is_example(root: str, path: str) -> bool:
    """Whether a file is an example event of the package in this folder: ``event.json``, or any JSON in ``events``.

    >>> is_example("/f", "/f/event.json"), is_example("/f", "/f/events/a.json"), is_example("/f", "/f/data.json")
    (True, True, False)
    """
    folder, name = os.path.split(path)
    return (folder == root and name == "event.json") or (
        folder == os.path.join(root, "events") and name.endswith(".json")
    )


def belongs(flow: Flow, path: str) -> bool:
    """Whether a file lies in the package, or a step of it names it."""
    return path.startswith(f"{flow.root}{os.sep}") or path in _named(flow)


def shown(flow: Flow, paths: Collection[str]) -> str:
    """Some of these files, as they are called in the package."""
    names = sorted(os.path.relpath(path, flow.root) for path in paths if belongs(flow, path))
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def names(flow: Flow, path: str) -> bool:
    """Whether the flow is made of this file: its manifest, or a script or a schema of a step."""
    return path == os.path.join(flow.root, MANIFEST) or path in _named(flow)


def outside(flows: Iterable[Flow]) -> set[str]:
    """Files that steps name and that do not lie in their package."""
    return {path for flow in flows for path in _named(flow) if not path.startswith(f"{flow.root}{os.sep}")}


def needed(flow: Flow, steps: Collection[str]) -> set[str]:
    """All that these steps need, directly or not, without themselves."""
    by_name = {step.name: step for step in flow.steps}
    found: set[str] = set()
    left = [need for name in steps for need in by_name[name].needs]
    while left:
        name = left.pop()
        if name not in found and name in by_name:
            found.add(name)
            left += by_name[name].needs
    return found - set(steps)


def below(flow: Flow, steps: Collection[str]) -> set[str]:
    """These steps, and all that need them, directly or not."""
    found = set(steps)
    while more := {step.name for step in flow.steps if not found.isdisjoint(step.needs)} - found:
        found |= more
    return found


def _changed(flow: Flow, before: Flow | None) -> set[str]:
    if before is None or (flow.config, flow.name) != (before.config, before.name):
        return {step.name for step in flow.steps}
    return {step.name for step in flow.steps if step != before.step(step.name)}


def _named(flow: Flow) -> set[str]:
    return {path for step in flow.steps for path in _files_of(flow, step)}


def _files_of(flow: Flow, step: Step) -> set[str]:
    named = [step.script]
    if step.trigger is not None and step.trigger.schema is not None:
        named.append(step.trigger.schema)
    return {os.path.normpath(os.path.join(flow.root, name)) for name in named}
