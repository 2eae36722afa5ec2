"""Reads ``[concurrency]``, ``[steps.concurrency]`` and ``priority``. A key that was misread would let runs collide, so
every mistake is an error."""

from collections.abc import Iterator, Sequence
from typing import get_args

from flowd.catalog.step_shapes import MAX_GROUP_CHARS, MAX_POINTERS
from flowd.catalog.table import Table, kind_of
from flowd.domain import pointer
from flowd.domain.concurrency import Concurrency, Kind, OnBusy
from flowd.domain.flow import Flow
from flowd.domain.step import Step

_WAYS: tuple[OnBusy, ...] = get_args(OnBusy)


def read_concurrency(above: Table, header: str) -> Concurrency | None:
    """What a step or a flow asks for; None when it asks for nothing.

    Args:
        above: The step's table, or the manifest's.
        header: How the table is written.

    Raises:
        ManifestError: It is no table, or its members do not go together.
    """
    value = above.values.get("concurrency")
    if value is not None and not isinstance(value, dict):
        above.fail("concurrency", f"concurrency must be a table, got {kind_of(value)}", f"Write it as {header}.")
    table = above.needed_table("concurrency")
    if table is None:
        return None
    table.refuse_unknown("concurrency has the unknown key")
    asked = Concurrency(
        group=table.tried(None, _group, table),
        key=table.tried((), read_pointers, table, "concurrency"),
        limit=table.integer("limit"),
        on_busy=table.choice("on_busy", _WAYS, "concurrency.on_busy"),
    )
    if asked.on_busy == "replace" and asked.limit > 1:
        table.fail(
            "on_busy",
            f'concurrency.on_busy "replace" goes with limit = 1 only, got {asked.limit}',
            'Remove limit, or use "latest".',
        )
    return asked


def read_priority(step: Table) -> int:
    """The priority of a step's runs; 0 unless it says otherwise.

    What is no whole number in the range is an error.
    """
    return step.integer("priority")


def _group(table: Table) -> str | None:
    if "group" not in table.values:
        return None
    group = table.needed_string("group")
    if len(group) > MAX_GROUP_CHARS:
        table.fail("group", f"group is longer than {MAX_GROUP_CHARS} characters", "Give it a short name.")
    return group


def read_pointers(table: Table, name: str) -> tuple[str, ...]:
    """The JSON Pointers under ``key`` of a table of this name.

    Raises:
        ManifestError: It is no list of them.
    """
    value = table.values.get("key", [])
    remedy = 'Write a list of JSON Pointers into the event: key = ["/payload/repo"].'
    if not isinstance(value, list):
        table.fail("key", f"{name}.key must be a list, got {kind_of(value)}", remedy)
    if len(value) > MAX_POINTERS:
        table.fail("key", f"{name}.key has more than {MAX_POINTERS} pointers", "Use fewer.")
    for index, text in enumerate(value):
        if not isinstance(text, str):
            table.fail("key", f"{name}.key must hold strings, got {kind_of(text)}", remedy, member=(index,))
        try:
            pointer.parse(text)
        except ValueError as error:
            message = f"{name}.key {kind_of(text)} is no JSON Pointer: it {error}"
            table.fail("key", message, remedy, member=(index,), suggestion=_as_pointer(text))
    return tuple(value)


def _as_pointer(text: str) -> str | None:
    """
    >>> _as_pointer("payload.repo"), _as_pointer("payload/repo"), _as_pointer("~")
    ('/payload/repo', '/payload/repo', None)
    """
    found = "/" + text.strip("/").replace(".", "/")
    return found if all(part.isidentifier() for part in found[1:].split("/")) else None


def with_limit_warnings(flows: Sequence[Flow]) -> tuple[Flow, ...]:
    """The flows of a snapshot, with a warning in each that declares another limit for a group than somebody else."""
    declared: dict[tuple[Kind, str], dict[int, str]] = {}
    for flow in flows:
        for kind, group, asked in flow.groups():
            declared.setdefault((kind, group), {}).setdefault(asked.limit, flow.name)
    disputed = {key: limits for key, limits in declared.items() if len(limits) > 1}
    return tuple(_warned(flow, disputed) for flow in flows) if disputed else tuple(flows)


def _warned(flow: Flow, disputed: dict[tuple[Kind, str], dict[int, str]]) -> Flow:
    found = [
        flow.doubt(
            (*(() if step is None else flow.place(step.name)), "concurrency", "limit"),
            "disputed-limit",
            f'group "{group}" of {kind}s has limit {asked.limit} here and {smallest} in flow {limits[smallest]}; '
            f"the smallest, {smallest}, counts for all",
        )
        for (kind, group, asked), step in zip(flow.groups(), _asking(flow), strict=True)
        if (limits := disputed.get((kind, group))) and asked.limit > (smallest := min(limits))
    ]
    return flow.with_findings(found)


def _asking(flow: Flow) -> Iterator[Step | None]:
    """Who asks for each of the flow's groups; None is the flow itself."""
    if flow.concurrency is not None:
        yield None
    yield from (step for step in flow.steps if step.concurrency is not None)
