"""Says what a run waits for whose output is followed, in place of silence."""

from collections.abc import Callable
from dataclasses import dataclass

from flowd.cli import run_words
from flowd_client.views.run import RunView


@dataclass(slots=True)
class WaitTeller:
    """Takes the looks at a run, and tells of each wait once, from its second look on: most are over by then."""

    tell: Callable[[str], None]
    seen: tuple[str, int] | None = None
    told: tuple[str, int] | None = None

    def take(self, run: RunView) -> None:
        """A look at the run."""
        kinds = tuple(run.waiting_for or ()) if run.process_status == "queued" else ()
        now = (str(kinds[0]), run.attempt_count) if kinds else None
        said = run_words.waiting(run)
        if said and now is not None and now == self.seen and now != self.told:
            self.told = now
            self.tell(f"{run.flow_name}/{run.step_name} ({run.id}): {said}")
        self.seen = now
