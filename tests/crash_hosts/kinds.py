"""The steps that three hosts run while they are shot at. Each notes in one ledger what it is, and holds locks that tell
when another one of its run, or of its key, is at it already."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

LOST_AFTER_MS = 15_000
REPOSITORIES = 2
FAR = "carl"
"""The host that alone may run `far`."""

_RETRY = '[steps.retry]\nmax_attempts = {}\non = ["interrupted"]\ndelay_ms = 0\n'


@dataclass(frozen=True, slots=True)
class Kind:
    """A step.

    Attributes:
        body: Shell lines between its first note and its last.
        attempts: How many its own policy makes of it where it was interrupted.
        weight: How often it is asked for.
        needs: Steps of its flow that it needs.
        is_keyed: One of these runs at a time for each repository of the payload.
        tells: The type of the event that it causes.
        runs_on: Labels that its host must have.
    """

    body: str = ":"
    attempts: int = 1
    weight: int = 0
    needs: tuple[str, ...] = ()
    is_keyed: bool = False
    tells: str = ""
    runs_on: tuple[str, ...] = ()


KINDS = {
    "quick": Kind(weight=4),
    "once": Kind("sleep 1.$(( $$ % 9 ))", weight=2),
    "slow": Kind("sleep 1.$(( $$ % 9 ))", attempts=6, weight=3),
    "long": Kind("sleep 5$(( $$ % 5 ))", attempts=6, weight=1),
    "keyed": Kind("sleep 0.$(( $$ % 9 ))", attempts=6, weight=4, is_keyed=True),
    "chain/a": Kind("sleep 0.$(( $$ % 9 ))", attempts=6, weight=2),
    "chain/b": Kind(attempts=6, needs=("a",)),
    "chain/c": Kind("sleep 0.$(( $$ % 9 ))", attempts=6, needs=("b",)),
    "tells": Kind(attempts=6, weight=2, tells="told.go"),
    "told": Kind(attempts=6),
    "far": Kind("sleep 0.$(( $$ % 9 ))", attempts=6, weight=1, runs_on=(f"host:{FAR}",)),
}
"""By flow, or by flow and step where a flow has several. `long` goes on for longer than a lost host is waited for, so
that it lives when another host declares it lost, unless it was ended before."""


def name_of(flow: str, step: str) -> str:
    """The name in `KINDS` of a step."""
    return flow if step == "main" else f"{flow}/{step}"


def steps_of(flow: str) -> int:
    """How many steps a flow has, all of which are runs of its event from the first moment on."""
    return sum(name.partition("/")[0] == flow for name in KINDS)


def write_packages(workspace: Path, host: str, notes: Path) -> None:
    """Write every kind for this host; ``notes`` is the folder of the ledger and the locks, which all hosts share."""
    manifests: dict[str, str] = {}
    for name, kind in KINDS.items():
        flow, _, step = name.partition("/")
        folder = workspace / "flows" / flow
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / f"{step or 'main'}.sh"
        script.write_text(_script(name, kind, host, notes), encoding="utf-8")
        script.chmod(0o755)
        manifests.setdefault(flow, f'name = "{flow}"\nversion = 1\n')
        manifests[flow] += _manifest(flow, step or "main", kind)
    for flow, text in manifests.items():
        (workspace / "flows" / flow / "flow.toml").write_text(text, encoding="utf-8")


def _script(name: str, kind: Kind, host: str, notes: Path) -> str:
    lines = [
        "#!/bin/sh",
        f'note() {{ echo "$1 $(date +%s.%N) $FLOWD_RUN_ID $FLOWD_ATTEMPT {host} {name} $2" >> {notes}/ledger; }}',
        f"exec 9>> {notes}/run-$FLOWD_RUN_ID",
        "flock -n 9 || note O run",
        "note S -",
    ]
    if kind.is_keyed:
        lines += ["repo=${CODEX_FLOW_EVENT_ID##*-}", f"exec 8>> {notes}/key-$repo", "flock -n 8 || note O $repo"]
    following = f', "next": [{{"type": "{kind.tells}", "payload": {{}}}}]' if kind.tells else ""
    result = f'{{"status": "changed", "host": "{host}", "attempt": \'$FLOWD_ATTEMPT\'{following}}}'
    lines += [kind.body, "note E -", f"echo 'FLOW_RESULT {result}'"]
    return "\n".join(lines) + "\n"


def _manifest(flow: str, step: str, kind: Kind) -> str:
    text = f'[[steps]]\nname = "{step}"\nrunner = "exec"\nscript = "{step}.sh"\n'
    text += f"grace_ms = 1000\nlost_after_ms = {LOST_AFTER_MS}\n"
    if kind.runs_on:
        text += f"runs_on = {json.dumps(kind.runs_on)}\n"
    text += f"needs = {json.dumps(kind.needs)}\n" if kind.needs else f'[steps.trigger]\ntype = "{flow}.go"\n'
    if kind.is_keyed:
        text += '[steps.concurrency]\nkey = ["/payload/repo"]\n'
    return text + (_RETRY.format(kind.attempts) if kind.attempts > 1 else "")
