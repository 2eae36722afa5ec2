"""Flows and steps as the packages on disk have them, for shells to complete: verbs that need no daemon ask none."""

import tomllib
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import click
from click.shell_completion import CompletionItem

from flowd.cli.session import Session
from flowd.cli.verb import Text

_MANIFESTS = (".codex/flows/*/flow.toml", "flows/*/flow.toml")


class WrittenFlow(Text):
    """The name of a flow."""

    name = "flow"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those on disk."""
        return _items({flow for flow, _ in _steps(ctx)}, incomplete)


class WrittenStep(Text):
    """The name of a step of the flow that is named."""

    name = "step"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Those on disk."""
        named = ctx.params.get("flow")
        return _items({step for flow, step in _steps(ctx) if flow == named}, incomplete)


class WrittenTarget(Text):
    """A flow, or ``FLOW/STEP``."""

    name = "target"

    def shell_complete(self, ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Flows on disk; behind a slash, their steps."""
        whole = {f"{flow}/{step}" if "/" in incomplete else flow for flow, step in _steps(ctx)}
        return _items(whole, incomplete)


def _items(names: set[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def _steps(ctx: click.Context) -> Iterator[tuple[str, str]]:
    session = ctx.find_object(Session)
    if session is None:
        return
    for pattern in _MANIFESTS:
        for path in sorted(session.place.glob(pattern)):
            if not path.is_file():  # opening a named pipe waits for a writer
                continue
            with suppress(OSError, ValueError):  # broken ones are not offered
                yield from _steps_of(tomllib.loads(path.read_text(encoding="utf-8")))


def _steps_of(manifest: dict[str, Any]) -> Iterator[tuple[str, str]]:
    flow, steps = manifest.get("name"), manifest.get("steps")
    for step in steps if isinstance(steps, list) else []:
        if isinstance(flow, str) and isinstance(step, dict) and isinstance(step.get("name"), str):
            yield flow, step["name"]
