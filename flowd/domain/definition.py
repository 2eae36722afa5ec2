"""What an attempt is made with: a step's definition, as it was in force when the attempt began."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property

from flowd.domain import hosts
from flowd.domain.flow import Flow
from flowd.domain.inputs import Input
from flowd.domain.limits import Limits
from flowd.domain.retry import Retry
from flowd.domain.step import Step


@dataclass(frozen=True)
class Definition:
    """All that starting a step needs beyond the event. Survives a restart of the daemon as JSON.

    Attributes are those of `flowd.domain.flow.Flow` and `flowd.domain.step.Step`; ``waits_for_quiet``: it has a
    ``debounce``, so that its runs stand for several events.
    """

    flow_name: str
    flow_version: int | float
    flow_root: str
    package_hash: str
    step_name: str
    runner: str
    script: str
    timeout_ms: int
    grace_ms: int
    cwd: str | None = None
    config: dict[str, object] | None = None
    env: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, Input] = field(default_factory=dict)
    args: tuple[str | Input, ...] = ()
    retry: Retry | None = None
    detach: bool = False
    limits: Limits | None = None
    has_round_dir: bool = False
    runs_on: tuple[str, ...] = ()
    lost_after_ms: int = hosts.DEFAULT_LOST_AFTER_MS
    waits_for_quiet: bool = False

    @property
    def label(self) -> str:
        """``flow/step``, as messages name it."""
        return f"{self.flow_name}/{self.step_name}"

    @cached_property
    def body(self) -> str:
        """The definition as canonical JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":"), sort_keys=True)

    @cached_property
    def id(self) -> str:
        """A hash of the body: runs of one definition share one stored copy."""
        return hashlib.blake2b(self.body.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def of(flow: Flow, step: Step) -> Definition:
    """The definition of a step of a flow as it is now."""
    return Definition(
        flow_name=flow.name,
        flow_version=flow.version,
        flow_root=flow.root,
        package_hash=flow.package_hash,
        step_name=step.name,
        runner=step.runner.value,
        script=step.script,
        timeout_ms=step.timeout_ms,
        grace_ms=step.grace_ms,
        cwd=step.cwd,
        config=None if flow.config is None else dict(flow.config),
        env=dict(step.env),
        inputs=dict(step.inputs),
        args=step.args,
        retry=step.retry,
        detach=step.detach,
        limits=step.limits,
        has_round_dir=flow.has_round_dir,
        runs_on=step.runs_on,
        lost_after_ms=hosts.lost_after_ms(step.lost_after_ms, step.grace_ms),
        waits_for_quiet=step.debounce is not None,
    )


def parse(body: str) -> Definition:
    """Read a stored definition. Members that this version does not know are left out."""
    members = json.loads(body)
    known = {item.name for item in fields(Definition)}
    kept = {name: value for name, value in members.items() if name in known}
    if kept.get("retry"):
        kept["retry"] = Retry(**{**kept["retry"], "on": tuple(kept["retry"]["on"])})
    kept["inputs"] = {name: Input(**value) for name, value in kept.get("inputs", {}).items()}
    kept["args"] = tuple(arg if isinstance(arg, str) else Input(**arg) for arg in kept.get("args", ()))
    kept["runs_on"] = tuple(kept.get("runs_on", ()))
    if kept.get("limits"):
        asked = {item.name for item in fields(Limits)}
        kept["limits"] = Limits(**{name: value for name, value in kept["limits"].items() if name in asked})
    return Definition(**kept)
