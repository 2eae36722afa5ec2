"""Reads one ``[[steps]]`` table into a step, and checks the rules that its keys obey."""

from dataclasses import dataclass

from flowd.catalog.concurrency import read_concurrency, read_priority
from flowd.catalog.hosts import read_lost_after, read_runs_on
from flowd.catalog.inputs import read_args, read_env
from flowd.catalog.labels import read_labels
from flowd.catalog.leads import meant_value
from flowd.catalog.limits import read_limits
from flowd.catalog.needs import read_needs, read_when
from flowd.catalog.step_shapes import RETRIED_BY_DEFAULT, RETRYABLE, SCHEMA_MODES
from flowd.catalog.table import Table, kind_of
from flowd.catalog.timing import read_debounce, read_delay, read_queue_timeout
from flowd.domain.retry import Retry
from flowd.domain.step import Runner, Step, Trigger

_NO_WILDCARD = 'is not a wildcard: only ".*" after a prefix is, such as "release.*"; nothing matches every type'


@dataclass(frozen=True, slots=True)
class SchemaUse:
    """A schema file that a trigger names.

    Attributes:
        path: As the manifest has it.
        is_subset: Check it as the reference system does, by four keywords only.
    """

    path: str
    is_subset: bool


def read_step(table: Table, *, runs_on: tuple[str, ...] = ()) -> tuple[Step, SchemaUse | None]:
    """The step that a table defines; its trigger has no compiled check yet.

    Args:
        runs_on: The labels that its flow requires of hosts.

    What is wrong is noted as an error, and the step is none to be run then; its name is empty where it has none.
    """
    runner = table.tried(Runner.EXEC, _runner, table)
    name = table.tried("", table.needed_string, "name")
    table.label = f'step "{name}"' if name else table.label
    script = table.tried("", table.needed_string, "script")
    trigger, use = table.tried((None, None), _trigger, table)
    env, inputs = table.tried(({}, {}), read_env, table)
    grace_ms = table.integer("grace_ms")
    step = Step(
        name=name,
        runner=runner,
        script=script,
        timeout_ms=table.milliseconds("timeout_ms"),
        grace_ms=grace_ms,
        cwd=table.tried(None, table.string, "cwd"),
        trigger=trigger,
        env=env,
        inputs=inputs,
        args=table.tried((), read_args, table),
        retry=table.tried(None, _retry, table),
        detach=table.boolean("detach"),
        limits=table.tried(None, read_limits, table),
        needs=table.tried((), read_needs, table),
        when=table.tried("success", read_when, table),
        concurrency=table.tried(None, read_concurrency, table, "[steps.concurrency]"),
        priority=read_priority(table),
        labels=table.tried({}, read_labels, table),
        runs_on=table.tried(runs_on, read_runs_on, table, runs_on),
        lost_after_ms=read_lost_after(table, grace_ms),
        delay_ms=read_delay(table),
        queue_timeout_ms=read_queue_timeout(table),
        debounce=table.tried(None, read_debounce, table),
    )
    table.warn_unknown()
    return step, use


def _runner(table: Table) -> Runner:
    table.needed_string("runner")
    return table.choice("runner", tuple(Runner), "runner")


def _trigger(table: Table) -> tuple[Trigger | None, SchemaUse | None]:
    trigger = table.table("trigger")
    if trigger is None:
        return None, None
    event_type = trigger.tried("", trigger.needed_string, "type")
    # A bare ".*" would be the prefix ".", which nobody means.
    if event_type == ".*":
        trigger.fail("type", 'trigger type ".*" has nothing before it', 'Write a prefix, such as "release.*".')
    if "*" in event_type.removesuffix(".*"):
        trigger.warn("type", f'"*" in trigger type {kind_of(event_type)} {_NO_WILDCARD}')
    schema = trigger.string("schema") or None
    is_subset = trigger.choice("schema_mode", SCHEMA_MODES, "schema_mode") == "subset"
    trigger.warn_unknown()
    if not event_type:
        return None, None
    use = None if schema is None else SchemaUse(schema, is_subset)
    return Trigger(event_type, schema), use


def _retry(table: Table) -> Retry | None:
    retry = table.needed_table("retry")
    if retry is None:
        return None
    if "max_attempts" not in retry.values:
        retry.warn_unknown()
        retry.fail(
            "max_attempts",
            "retry needs max_attempts",
            "Add max_attempts = 3, or remove the retry table.",
            code="missing-key",
        )
    policy = Retry(
        max_attempts=retry.integer("max_attempts"),
        on=retry.tried((), _reasons, retry),
        delay_ms=retry.integer("delay_ms"),
        factor=retry.number("factor"),
        max_delay_ms=retry.integer("max_delay_ms"),
        jitter=retry.number("jitter"),
    )
    retry.warn_unknown()
    return policy


def _reasons(retry: Table) -> tuple[str, ...]:
    reasons = retry.values.get("on", list(RETRIED_BY_DEFAULT))
    remedy = f"Use a list of {', '.join(RETRYABLE)}."
    if not isinstance(reasons, list):
        retry.fail("on", f"retry.on must be a list, got {kind_of(reasons)}", remedy)
    for index, reason in enumerate(reasons):
        if reason not in RETRYABLE:
            message = f"retry.on has the unknown reason {kind_of(reason)}"
            meant = meant_value("on", reason, RETRYABLE) if isinstance(reason, str) else None
            retry.error("on", message, remedy, code="unknown-value", member=(index,), suggestion=meant)
    return tuple(reasons)
