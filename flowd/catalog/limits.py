"""Reads ``[steps.limits]``. A limit that was misread would be no limit, so every mistake is an error."""

import re

from flowd.catalog.step_shapes import LimitsTable
from flowd.catalog.table import Table, kind_of
from flowd.domain.limits import Limits
from flowd.formats.typed import fields_of

_NUMBERS = tuple(name for name in fields_of(LimitsTable) if name != "umask")
_OCTAL = re.compile(r"0?[0-7]{3}")


def read_limits(step: Table) -> Limits | None:
    """The limits of a step; None when it asks for none.

    Raises:
        ManifestError: It is no table.
    """
    table = step.needed_table("limits")
    if table is None:
        return None
    table.refuse_unknown("limits has the unknown key")
    asked = {key: table.integer(key) for key in _NUMBERS if key in table.values}
    limits = Limits(**asked, umask=table.tried(None, _umask, table))
    return limits if limits.asked() else None


def _umask(table: Table) -> int | None:
    value = table.values.get("umask")
    if value is None:
        return None
    if not isinstance(value, str) or not _OCTAL.fullmatch(value):
        table.fail("umask", f"umask must be an octal string, got {kind_of(value)}", 'Write it as umask = "0027".')
    mask = int(value, 8)
    if mask & 0o700:
        # The step could not read what it has just written, and nobody means that.
        table.fail(
            "umask", f"umask {value} would lock the step out of its own files", 'Keep the first digit 0: "0077".'
        )
    return mask
