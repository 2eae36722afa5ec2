"""Reads ``[steps.labels]``. Runs with a label that was misread would never be found, so every mistake is an error."""

from flowd.catalog.table import Table, kind_of
from flowd.domain import pointer
from flowd.domain.labels import MAX_LABELS, is_name

_EXAMPLE = 'Write repo = "/payload/repo": a JSON Pointer into the event.'


def read_labels(step: Table) -> dict[str, str]:
    """The labels of a step's runs: JSON Pointers into the event, by name.

    Raises:
        ManifestError: There are too many, a name is none, or a value is no JSON Pointer.
    """
    labels = step.needed_table("labels")
    if labels is None:
        return {}
    if len(labels.values) > MAX_LABELS:
        step.fail("labels", f"labels has more than {MAX_LABELS} members", "Use fewer.")
    return {name: labels.tried("", _pointer, labels, name, value) for name, value in labels.values.items()}


def _pointer(labels: Table, name: str, value: object) -> str:
    if not is_name(name):
        labels.fail(
            name,
            f"labels has the invalid name {kind_of(name)}",
            'Use a letter, then letters, digits, "_", "-" and ".", 63 at most.',
        )
    if not isinstance(value, str):
        labels.fail(name, f"label {name} must be a string, got {kind_of(value)}", _EXAMPLE)
    try:
        pointer.parse(value)
    except ValueError as error:
        labels.fail(name, f"label {name} is {kind_of(value)}, which is no JSON Pointer: it {error}", _EXAMPLE)
    return value
