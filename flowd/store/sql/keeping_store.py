"""The part of `SqlStore` that finds and forgets what is old."""

from collections.abc import Callable, Sequence

from flowd.domain.retention import Cutoff, Rule
from flowd.domain.stored import KeptEvents, OldEvents, Pruned
from flowd.store.sql import pruning
from flowd.store.sql.store_part import StorePart


class KeepingStore(StorePart):
    """See `flowd.ports.Upkeep` for what every method guarantees."""

    async def old_events(self, cutoffs: Sequence[Cutoff], *, after_seq: int) -> OldEvents:
        """See `flowd.ports.Upkeep.old_events`."""
        return await self._read(lambda db: pruning.old_events(db, cutoffs, after_seq=after_seq))

    async def kept_events(self, rules: Sequence[Rule], *, below_seq: int) -> KeptEvents:
        """See `flowd.ports.Upkeep.kept_events`."""
        return await self._read(lambda db: pruning.kept_events(db, rules, below_seq=below_seq))

    async def prune(
        self,
        event_seqs: Sequence[int],
        cutoffs: Sequence[Cutoff],
        *,
        dry_run: bool,
        remove_output: Callable[[str], None],
    ) -> Pruned:
        """See `flowd.ports.Upkeep.prune`."""
        return await self._writer.do(
            lambda db: pruning.prune(
                db, event_seqs=event_seqs, cutoffs=cutoffs, dry_run=dry_run, remove_output=remove_output
            )
        )
