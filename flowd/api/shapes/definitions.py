"""What an attempt was made with, as callers see it: the step's definition that was in force when it began."""

from flowd.api.shapes import View
from flowd.domain.definition import Definition
from flowd.domain.inputs import Input
from flowd.domain.retry import Retry


class InputView(View):
    """A value that is looked up when an attempt starts: at a ``pointer`` into the event, or into the result of
    ``need``; or a ``secret`` of the settings, by its name."""

    pointer: str | None = None
    need: str | None = None
    default: str | None = None
    secret: str | None = None


class RetryView(View):
    """When flowd itself makes another attempt. ``on``: reasons, and ``result:STATUS``."""

    max_attempts: int
    on: tuple[str, ...]
    delay_ms: int
    factor: float
    max_delay_ms: int
    jitter: float


class LimitsView(View):
    """Limits of a step; those that are missing are as the daemon was started with."""

    memory_bytes: int | None = None
    cpu_time_s: int | None = None
    cpu_percent: int | None = None
    open_files: int | None = None
    processes: int | None = None
    file_bytes: int | None = None
    niceness: int | None = None
    umask: int | None = None


class DefinitionView(View):
    """A step's definition that an attempt was made with. ``env`` are the names of the variables that it sets: their
    values may be nobody else's business. ``inputs`` are variables, too, looked up as they say."""

    root: str
    package_hash: str
    runner: str
    script: str
    timeout_ms: int
    grace_ms: int
    cwd: str | None = None
    args: tuple[str | InputView, ...] = ()
    env: tuple[str, ...] = ()
    inputs: dict[str, InputView] | None = None
    retry: RetryView | None = None
    limits: LimitsView | None = None
    detach: bool = False
    round_dir: bool = False


def definition_view(made_with: Definition) -> DefinitionView:
    """What an attempt was made with."""
    return DefinitionView(
        root=made_with.flow_root,
        package_hash=made_with.package_hash,
        runner=made_with.runner,
        script=made_with.script,
        timeout_ms=made_with.timeout_ms,
        grace_ms=made_with.grace_ms,
        cwd=made_with.cwd,
        args=tuple(arg if isinstance(arg, str) else _input_view(arg) for arg in made_with.args),
        env=tuple(sorted(made_with.env)),
        inputs={name: _input_view(given) for name, given in made_with.inputs.items()} or None,
        retry=None if made_with.retry is None else _retry_view(made_with.retry),
        limits=None if made_with.limits is None else LimitsView(**made_with.limits.asked()),
        detach=made_with.detach,
        round_dir=made_with.has_round_dir,
    )


def _input_view(given: Input) -> InputView:
    return InputView(pointer=given.pointer, need=given.need, default=given.default, secret=given.secret)


def _retry_view(retry: Retry) -> RetryView:
    return RetryView(
        max_attempts=retry.max_attempts,
        on=retry.on,
        delay_ms=retry.delay_ms,
        factor=retry.factor,
        max_delay_ms=retry.max_delay_ms,
        jitter=retry.jitter,
    )
