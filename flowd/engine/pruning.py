"""Deletes old events when somebody asks for it. Never by itself: a clock that jumps would delete everything."""

from flowd.domain.stored import Pruned
from flowd.engine.outputs import OutputFiles
from flowd.ports import Store

_BEFORE_ALL = -(1 << 62)
"""Imported events have numbers below 1: they are older than all that flowd accepted itself."""


async def prune(store: Store, outputs: OutputFiles, *, before_ms: int, dry_run: bool) -> Pruned:
    """Forget events from before an instant whose runs have all ended before it, with their runs and output.

    Some at a time, so that events are accepted meanwhile. What was forgotten when this is interrupted stays so.

    Returns:
        All of it together.
    """
    events = runs = output_bytes = 0
    next_seq: int | None = _BEFORE_ALL
    while next_seq is not None:
        pruned = await store.prune(
            before_ms=before_ms, after_seq=next_seq, dry_run=dry_run, remove_output=outputs.remove_all
        )
        events, runs = events + pruned.events, runs + pruned.runs
        output_bytes += pruned.output_bytes
        next_seq = pruned.next_seq
    return Pruned(next_seq, events, runs, output_bytes)
