"""Names the steps that an event has no runs of because they could not be started, and says how to start them."""

import shlex
from collections.abc import Sequence

from flowd.cli import printing
from flowd_client.views.event import LeftOutView


def tell(event_id: str, shares: Sequence[LeftOutView]) -> None:
    """A line each, and the remedy; nothing where there are none."""
    for share in shares:
        printing.note(f"flowd: left out {share.label}: {share.why}")
    if shares:
        printing.note(remedy(event_id))


def remedy(event_id: str) -> str:
    """What starts them."""
    return f"flowd: Once that is mended: flowd replay {shlex.quote(event_id)} --missing"
