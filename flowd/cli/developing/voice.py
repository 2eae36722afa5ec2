"""How ``flowd dev`` speaks: to people, or with ``--json`` to programs, one line for each thing on stdout."""

import sys
from collections.abc import Sequence

from flowd.cli import findings, output, printing
from flowd.cli.audience import Watcher
from flowd.cli.developing.plans import Plan
from flowd.cli.local import shape
from flowd.domain.finding import Finding
from flowd.domain.run import Run
from flowd.embedded.firing import report
from flowd_client.wire import Stream


class Voice:
    """Says what people read on stdout, and beside JSON on stderr."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def say(self, text: str) -> None:
        """A line of our own."""
        if self._as_json:
            printing.note(text)
        else:
            printing.sentence(text)

    def tell_findings(self, found: Sequence[Finding]) -> None:
        """What is wrong in a package now, or doubtful; maybe nothing any more."""
        if self._as_json:
            printing.print_json({"findings": findings.as_json(found)})
        elif found:
            findings.draw(found)
        else:
            printing.line("Nothing is wrong any more.")

    def tell_end(self, plan: Plan, runs: Sequence[Run]) -> None:
        """What a trial has come to. People have seen it already."""
        if self._as_json:
            results = [shape(report(run)) for run in runs]
            printing.print_json({"eventId": plan.choice.event.get("id"), "results": results})

    def watcher(self, steps: Sequence[str] = ()) -> Watcher:
        """For what these steps write."""
        is_terminal = sys.stderr.isatty() if self._as_json else printing.is_terminal()
        return Watcher(self._write, self.say, is_terminal=is_terminal, steps=steps)

    def _write(self, stream: Stream, data: bytes) -> None:
        output.write("stderr" if self._as_json else stream, data)
