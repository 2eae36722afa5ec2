"""The sources of a new package's steps, for each runner; see `flowd.runners.scaffold`."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Sketch:
    """What the source of one step is made of.

    Attributes:
        step: Its name.
        event_type: What triggers its flow.
        says: The event's member that a step without needs names in its message; None in one with needs.
        greeting: That message, with ``{}`` in the place of the member.
        question: What the step asks a person; None where it asks nothing.
    """

    step: str
    event_type: str
    says: str | None
    greeting: str
    question: str | None = None


def _python(sketch: Sketch) -> str:
    lines = [f'"""{_purpose(sketch)}"""', "", "import flowd_step", "", "", "def run(context):"]
    lines += ["    step = flowd_step.context(context)"]
    if sketch.says is not None:
        lines += ['    print(f"working on attempt {step.attempt}")  # shown by `flowd logs`']
    else:
        lines += ["    for need in step.needs.values():"]
        lines += ['        print(f"{need.name} has {need.status}: {need.message}")  # shown by `flowd logs`']
    if sketch.question is not None:
        lines += [f"    return step.needs_intervention({_quoted(sketch.question)})"]
    elif sketch.says is not None:
        member = f"{{step.event.payload[{sketch.says!r}]}}"
        lines += [f'    return step.completed(f"{sketch.greeting.format(member)}")']
    else:
        lines += [f"    return step.completed({_quoted(f'{sketch.step} is done')})"]
    return "\n".join([*lines, ""])


_TYPES: Final = """interface Context {
  flow: {
    event: { id: string; type: string; payload: Record<string, unknown> };
    needs?: Record<string, { status: string; result?: { message?: string } }>;
  };
  runtime: { runId: string; attempt: number; replay: boolean };
}

"""


def _bun(sketch: Sketch) -> str:
    return _TYPES + _javascript(sketch, ": Context")


def _node(sketch: Sketch) -> str:
    return _javascript(sketch, "")


def _javascript(sketch: Sketch, annotation: str) -> str:
    lines = [f"// {_purpose(sketch)}", f"export default async function run(context{annotation}) {{"]
    if sketch.says is not None:
        lines += ["  console.log(`working on attempt ${context.runtime.attempt}`); // shown by `flowd logs`"]
    else:
        lines += ["  for (const [name, need] of Object.entries(context.flow.needs ?? {})) {"]
        lines += ["    console.log(`${name} has ${need.status}: ${need.result?.message}`); // shown by `flowd logs`"]
        lines += ["  }"]
    if sketch.question is not None:
        lines += [f'  return {{ status: "needs_intervention", message: {_quoted(sketch.question)} }};']
    elif sketch.says is not None:
        member = f"${{context.flow.event.payload.{sketch.says}}}"
        lines += [f'  return {{ status: "completed", message: `{sketch.greeting.format(member)}` }};']
    else:
        lines += [f'  return {{ status: "completed", message: {_quoted(f"{sketch.step} is done")} }};']
    return "\n".join([*lines, "}", ""])


def _exec(sketch: Sketch) -> str:
    lines = ["#!/bin/sh", f"# {_purpose(sketch)}"]
    lines += [
        "# The context comes as JSON on stdin; CODEX_FLOW_* and FLOWD_* variables name the event and the run.",
        "set -eu",
    ]
    if sketch.says is not None:
        lines += ["context=$(cat)"]
        lines += [
            'echo "working on attempt $FLOWD_ATTEMPT with ${#context} characters of context"  # shown by `flowd logs`'
        ]
        message = sketch.greeting.partition("{}")[0].rstrip(" ,:") or "Done"
    else:
        lines += ['echo "what came before: $FLOWD_NEEDS"  # shown by `flowd logs`']
        message = f"{sketch.step} is done"
    status = "completed" if sketch.question is None else "needs_intervention"
    said = json.dumps({"status": status, "message": sketch.question or message})
    return "\n".join([*lines, f"echo 'FLOW_RESULT {said}'", ""])


def _purpose(sketch: Sketch) -> str:
    """A sentence for a comment, whatever the event's type holds."""
    shown = sketch.event_type.replace("\\", "/").replace('"', "'")
    if sketch.question is not None:
        return f"Asks a person: `flowd approve` lets what waits for {sketch.step} run, `flowd reject` does not."
    return f"Answers {shown}." if sketch.says is not None else f"Comes later when {shown} is answered."


def _quoted(text: str) -> str:
    return json.dumps(text)


SOURCES: Final[Mapping[str, tuple[str, Callable[[Sketch], str]]]] = {
    "python": (".py", _python),
    "exec": (".sh", _exec),
    "bun": (".ts", _bun),
    "node": (".mjs", _node),
}
"""By runner: how the file's name ends, and its text."""
