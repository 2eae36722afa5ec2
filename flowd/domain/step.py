"""Steps and their triggers as data, as a manifest defines them. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from flowd.domain.concurrency import Concurrency
from flowd.domain.inputs import Input
from flowd.domain.limits import Limits
from flowd.domain.needs import When
from flowd.domain.payload_check import PayloadCheck
from flowd.domain.retry import Retry
from flowd.domain.timing import Debounce

DEFAULT_TIMEOUT_MS = 300_000
"""The reference system's default for ``timeout_ms``."""

MAX_TIMEOUT_MS = 7 * 86_400_000
DEFAULT_GRACE_MS = 5_000


class Runner(StrEnum):
    """How a step's script becomes a command."""

    BUN = "bun"
    NODE = "node"
    PYTHON = "python"
    EXEC = "exec"
    CODE_MODE = "code-mode"


CODE_MODE_PROBLEM = (
    'runner "code-mode" does not work with flowd: it needs a method of the agent that only a private fork has; use bun,'
    " node, python or exec and start the agent from the script"
)
"""Why a step of this runner is never started."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """What a step waits for.

    Attributes:
        type: An event type, or a prefix when it ends in ``.*``.
        schema: The schema's path as the manifest has it; None checks nothing.
        check: The compiled schema; None exactly when ``schema`` is None.
    """

    type: str
    schema: str | None = None
    check: PayloadCheck | None = field(default=None, compare=False, repr=False)

    @property
    def prefix(self) -> str | None:
        """``"a."`` for ``"a.*"``, None for an exact type."""
        return self.type[:-1] if self.type.endswith(".*") else None

    def fits(self, event_type: str) -> bool:
        """Whether events of this type are meant."""
        return event_type == self.type if self.prefix is None else event_type.startswith(self.prefix)


@dataclass(frozen=True, slots=True)
class Step:
    """One step as its manifest defines it.

    Attributes:
        script: As written; relative to the flow's folder unless absolute.
        cwd: As written; None is the flow's folder, ``@`` and ``@/x`` are relative to the workspace.
        timeout_ms: From 1 to `MAX_TIMEOUT_MS`.
        grace_ms: Between SIGTERM and SIGKILL.
        env: Added to the step's environment.
        inputs: Variables whose values are looked up when it starts.
        args: What its script is called with.
        detach: Whether processes that the step leaves behind may live on.
        limits: None when the step asks for none.
        needs: Names of steps of its flow that have to end before it starts.
        when: What it asks of their ends.
        concurrency: The key that each of its runs takes; None without one.
        priority: Of what could start, the higher comes first.
        labels: What its runs are found by: JSON Pointers into the event, by name.
        runs_on: Labels of hosts, sorted: only a host that has all of them runs it. Those of its flow are among them.
        lost_after_ms: How long nothing is heard of its host until that is taken for lost; None is the default.
        delay_ms: How long it waits after the last step that it needs, else after its event.
        queue_timeout_ms: How long its runs may wait for their key and their place; None for as long as it takes.
        debounce: One run for the last of several events; None for one run each.
    """

    name: str
    runner: Runner
    script: str
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    grace_ms: int = DEFAULT_GRACE_MS
    cwd: str | None = None
    trigger: Trigger | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Input] = field(default_factory=dict)
    args: tuple[str | Input, ...] = ()
    retry: Retry | None = None
    detach: bool = False
    limits: Limits | None = None
    needs: tuple[str, ...] = ()
    when: When = "success"
    concurrency: Concurrency | None = None
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    runs_on: tuple[str, ...] = ()
    lost_after_ms: int | None = None
    delay_ms: int = 0
    queue_timeout_ms: int | None = None
    debounce: Debounce | None = None
