"""Reads ``runs_on`` and ``lost_after_ms``. A label that was misread would let a step run where it must not, so every
mistake is an error."""

from collections.abc import Iterable

from flowd.catalog.table import Table, kind_of
from flowd.domain.hosts import (
    LABEL_RULE,
    MAX_LABELS,
    OWN_LABEL,
    is_label,
    longest_grace_ms,
)

_EXAMPLE = 'Write a list of labels of hosts: runs_on = ["gpu"].'


def read_runs_on(table: Table, above: Iterable[str] = ()) -> tuple[str, ...]:
    """The labels that a step, or every step of a flow, requires of its host, sorted, each once.

    Args:
        above: Those of its flow, which it requires as well.

    Raises:
        ManifestError: It is no list of labels, or one that no host can have.
    """
    value = table.values.get("runs_on", [])
    if not isinstance(value, list):
        table.fail("runs_on", f"runs_on must be a list, got {kind_of(value)}", _EXAMPLE)
    for index, label in enumerate(value):
        if not isinstance(label, str):
            table.fail("runs_on", f"runs_on must hold strings, got {kind_of(label)}", _EXAMPLE, member=(index,))
        if not is_label(label):
            message = f"runs_on has {kind_of(label)}, which is no label"
            table.fail("runs_on", message, f"Use {LABEL_RULE}.", member=(index,))
    labels = sorted({*above, *value})
    if len(labels) > MAX_LABELS:
        table.fail("runs_on", f"runs_on has more than {MAX_LABELS} labels", "No host has so many.")
    hosts = [label for label in labels if label.startswith(OWN_LABEL)]
    if len(hosts) > 1:
        names = " and ".join(hosts[:2])
        table.fail("runs_on", f"runs_on requires {names}, and no host has two names", "Leave one of them out.")
    return tuple(labels)


def read_lost_after(step: Table, grace_ms: int) -> int | None:
    """How long nothing is heard of a step's host until that is taken for lost; None where the step does not say.

    Raises:
        ManifestError: It is no number in the range, or leaves no time for the step's grace.
    """
    if "lost_after_ms" not in step.values:
        return None
    lost_after_ms = step.integer("lost_after_ms")
    if grace_ms > longest_grace_ms(lost_after_ms):
        step.fail(
            "lost_after_ms",
            f"lost_after_ms {lost_after_ms} is less than three times grace_ms, which is {grace_ms}",
            "A step must have ended before its host is taken for lost: raise lost_after_ms, or lower grace_ms.",
        )
    return lost_after_ms
