"""The steps that the crash harness runs: what each does, and how a run of it must have ended."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

BIG_LINES = 4000
_BIG = f"i=0; while [ $i -lt {BIG_LINES} ]; do echo line-$i-{'x' * 40}; i=$((i+1)); done"


@dataclass(frozen=True, slots=True)
class Kind:
    """A step.

    Attributes:
        body: Shell lines between its first and its last line of output.
        code: What it exits with by itself; None when it is ended by a signal or by flowd.
        says: The status of its FLOW_RESULT; None when it prints none.
        status: The run's process status, where its exit was seen.
        reason: Why it failed, where its exit was seen.
        result: The run's result status, where its exit was seen.
        step: More lines of its manifest.
        trigger: The event type, when it is not ``<name>.go``.
        attempts: How many the step's own retry policy makes of it.
        weight: How often it is asked for.
        needs: Steps of its flow that it needs.
        when: What it asks of their ends: ``success`` or ``always``.
        group: So many of a group's steps run at a time for each repository of the payload as ``limit`` says.
    """

    body: str = ":"
    code: int | None = 0
    says: str | None = "changed"
    status: str = "completed"
    reason: str | None = None
    result: str | None = "changed"
    step: str = ""
    trigger: str = ""
    attempts: int = 1
    weight: int = 2
    needs: tuple[str, ...] = ()
    when: str = "success"
    group: str = ""
    limit: int = 1

    @property
    def ends_itself(self) -> bool:
        """Whether it reaches its last line."""
        return self.code is not None


KINDS = {
    "quick": Kind(weight=4),
    "twin": Kind(trigger="quick.go", weight=0),
    "slow": Kind("sleep 0.$(( $$ % 7 + 1 ))", weight=6),
    "fails": Kind("sleep 0.0$(( $$ % 9 ))", 3, "failed", "failed", "exit", "failed"),
    "boasts": Kind("sleep 0.1", 7, "completed", "failed", "exit", None),
    "silent": Kind("sleep 0.$(( $$ % 3 ))", 5, None, "failed", "exit", None),
    "big": Kind(f"{_BIG}; sleep 0.$(( $$ % 3 ))"),
    "leaves": Kind("sleep 1000 & setsid sleep 1000 >/dev/null 2>&1 & sleep 0.0$(( $$ % 9 ))"),
    "again": Kind(
        "sleep 0.05", 9, None, "failed", "exit", None, attempts=2,
        step='[steps.retry]\nmax_attempts = 2\non = ["exit"]\ndelay_ms = 50',
    ),
    "dies": Kind("sleep 0.05; kill -KILL $$", None, None, "failed", "signal", None, weight=1),
    "hangs": Kind(
        "sleep 1000", None, None, "failed", "timeout", None, step="timeout_ms = 400\ngrace_ms = 300", weight=1
    ),
    "diamond/top": Kind("sleep 0.0$(( $$ % 9 ))", weight=5),
    "diamond/left": Kind("sleep 0.0$(( $$ % 9 ))", weight=0, needs=("top",), group="side"),
    "diamond/right": Kind(weight=0, needs=("top",), group="side"),
    "diamond/bottom": Kind(weight=0, needs=("left", "right"), group="bottom", limit=2),
    "diamond/after": Kind(weight=0, needs=("bottom",), when="always"),
    "chain/a": Kind("sleep 0.0$(( $$ % 9 ))", weight=4),
    "chain/b": Kind(weight=0, needs=("a",)),
    "chain/c": Kind("sleep 0.0$(( $$ % 5 ))", weight=0, needs=("b",)),
}  # fmt: skip
"""By flow, or by flow and step where a flow has several."""

WHOLE_ROUNDS = ("chain",)
"""Flows of which one round runs at a time for each repository."""

REPOSITORIES = 3


def repository(event_id: str) -> str:
    """What the payload of an event names, by the number in its id."""
    return f"r{int(event_id.rpartition('-')[2]) % REPOSITORIES}" if event_id.rpartition("-")[2].isdigit() else "r0"


def lines(kind: str) -> tuple[str, str]:
    """The first and the last line of its standard output, where it reaches its end."""
    return f"first {kind}", f"last {kind}"


def write_packages(workspace: Path, ledger: Path) -> None:
    """Write every kind as a step of its flow package. Each notes its start and its end in the ledger, beside flowd."""
    manifests: dict[str, list[str]] = {}
    for name, kind in KINDS.items():
        flow, _, step = name.partition("/")
        step = step or "main"
        if flow not in manifests:
            (workspace / "flows" / flow).mkdir(parents=True)
            rounds = '[concurrency]\nkey = ["/payload/repo"]\n' if flow in WHOLE_ROUNDS else ""
            manifests[flow] = [f'name = "{flow}"\nversion = 1\n{rounds}']
        _write_script(workspace / "flows" / flow / f"{step}.sh", name, kind, ledger)
        manifests[flow].append(_manifest(flow, step, kind))
    for flow, parts in manifests.items():
        (workspace / "flows" / flow / "flow.toml").write_text("".join(parts))


def _write_script(path: Path, name: str, kind: Kind, ledger: Path) -> None:
    first, last = lines(name)
    note = f'"$FLOWD_RUN_ID $FLOWD_ATTEMPT $$ {name}" >>{ledger}'
    said = f"echo 'FLOW_RESULT {json.dumps({'status': kind.says, 'kind': name})}'" if kind.says else ":"
    path.write_text(
        f"#!/bin/sh\necho S {note}\necho '{first}'\necho 'to stderr' >&2\n{kind.body}\n{said}\necho '{last}'\n"
        f"echo E {note}\nexit {kind.code or 0}\n"
    )
    path.chmod(0o755)


def _manifest(flow: str, step: str, kind: Kind) -> str:
    top, below = ("", kind.step) if kind.step.startswith("[") else (kind.step, "")
    if kind.needs:
        top += f'needs = {json.dumps(kind.needs)}\nwhen = "{kind.when}"\n'
    else:
        below = f'[steps.trigger]\ntype = "{kind.trigger or flow + ".go"}"\n{below}'
    if kind.group:
        below += f'[steps.concurrency]\nkey = ["/payload/repo"]\ngroup = "{kind.group}"\nlimit = {kind.limit}\n'
    return f'[[steps]]\nname = "{step}"\nrunner = "exec"\nscript = "{step}.sh"\n{top}\n{below}\n'
