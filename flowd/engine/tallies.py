"""What the engine counts of its own work since it began."""

from collections import Counter
from collections.abc import Iterable

from flowd.domain.pulse import Pulse
from flowd.domain.queueing import Caused, StartedRun
from flowd.domain.run import Run
from flowd.domain.stored import Accepted, Output
from flowd.domain.tallies import FlowTally, Histogram

ACCEPT_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
STEP_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600, 21600)


class Tallies:
    """Counts that nobody can set back.

    Attributes:
        accepts: Events by what came of them: ``accepted``, ``duplicate``, ``conflict`` (a duplicate with other
            content), or the slug of the refusal.
        matches: By flow, runs that were made for accepted events.
        replays: Replays of stored events.
        leases_lost: Attempts of other hosts that were declared lost here.
        renewed_s: When the leases of this host were renewed last, by the clock of leases; None where there are none.
        claim_s: How long the store took for claims that are no part of an accept or an end.
        failures: By flow, runs that have ended as ``failed``.
        ends: By flow, effective status and reason, runs that have ended; one that is retried ends again.
        output_bytes: By stream, what attempts had printed when they ended.
        accept_s: How long callers waited until their event was on disk.
        wait_s: How long runs waited from the acceptance of their event to their first attempt.
        pulse: The ends of the last hour, minute by minute.
        attempt_s: By process status, how long attempts took, as far as it is known.
    """

    def __init__(self, began_ms: int = 0) -> None:
        """``began_ms`` is now, in Unix milliseconds."""
        self.accepts: Counter[str] = Counter(accepted=0, duplicate=0, conflict=0)
        self.matches = FlowTally()
        self.replays = 0
        self.leases_lost = 0
        self.renewed_s: float | None = None
        self.claim_s = Histogram(ACCEPT_S)
        self.pulse = Pulse(began_ms)
        self.failures = FlowTally()
        self.ends = FlowTally()
        self.output_bytes: Counter[str] = Counter(stdout=0, stderr=0)
        self.accept_s = Histogram(ACCEPT_S)
        self.wait_s = Histogram(STEP_S)
        self.attempt_s = {status: Histogram(STEP_S) for status in ("completed", "failed", "canceled")}

    def accepted(self, accepted: Accepted, took_s: float) -> None:
        """A caller's event is on disk."""
        self.accept_s.add(took_s)
        if accepted.is_duplicate:
            self.caused((accepted.as_caused,))
            return
        self.accepts["accepted"] += 1
        for run in accepted.runs:
            self.matches.add(run.flow_name)

    def caused(self, events: Iterable[Caused]) -> None:
        """Events that runs have caused are on disk."""
        for event in events:
            self.accepts[event.how] += 1
            for flow in event.flows:
                self.matches.add(flow)

    def refused(self, slug: str) -> None:
        """A caller's event was not taken."""
        self.accepts[slug] += 1

    def began(self, started: StartedRun) -> None:
        """A run was taken to be started."""
        if started.attempt.number == 1:
            self.wait_s.add(max(0, started.attempt.started_at_ms - started.run.created_at_ms) / 1000)

    def leases_renewed(self, asked_s: float) -> None:
        """The leases of this host count from this instant on."""
        self.renewed_s = asked_s

    def lease_lost(self) -> None:
        """An attempt of another host was declared lost."""
        self.leases_lost += 1

    def attempt_ended(self, status: str, duration_ms: int | None, output: Output) -> None:
        """An attempt's end is on disk."""
        if duration_ms is not None and status in self.attempt_s:
            self.attempt_s[status].add(duration_ms / 1000)
        self.output_bytes["stdout"] += output.stdout_bytes
        self.output_bytes["stderr"] += output.stderr_bytes

    def ended(self, run: Run) -> None:
        """A run has ended."""
        status = run.effective_status
        self.ends.add(run.flow_name, status, run.reason or "")
        if status == "failed":
            self.failures.add(run.flow_name)
        self.pulse.ended(run)
