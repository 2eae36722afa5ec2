"""`python -m bench [NAME …] [--against REV]`: what flowd costs, beside programs that do the same work.

With `--against`, another revision is measured in turn with this tree. Machines are noisy: a ratio of one round says
more than two absolute figures, and CPU time more than wall time.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence

from bench import noise, subjects
from bench.accepts import accept, packages
from bench.catalogs import catalog
from bench.developing import developing
from bench.figures import Bench, Results, markdown, plain
from bench.following import follow
from bench.forgetting import forgetting
from bench.history import history
from bench.hostile import hostile
from bench.http_requests import http
from bench.many_steps import output, steps
from bench.metrics import metrics
from bench.order import order
from bench.pages import page
from bench.postgres import shared_accepts, shared_history, shared_queue, shared_rest, shared_starts
from bench.processes import commands, idle
from bench.runs import one, pipelined, runs
from bench.subjects import Subject
from bench.two_hosts import shared_hosts
from bench.watching import watching

DEFAULT: dict[str, Bench] = {
    bench.__name__: bench for bench in (runs, pipelined, one, accept, packages, commands, idle)
}
FURTHER: dict[str, Bench] = {
    bench.__name__: bench
    for bench in (http, page, metrics, follow, catalog, watching, developing, steps, output, order, history)
} | {bench.__name__: bench for bench in (forgetting, hostile)}
SHARED: dict[str, Bench] = {
    bench.__name__: bench
    for bench in (shared_accepts, shared_starts, shared_hosts, shared_queue, shared_history, shared_rest)
}
"""Of `make bench-postgres`."""

BENCHES = {**DEFAULT, **FURTHER, **SHARED}


def main() -> None:
    """Measure what was asked for and print the table; exits with 1 if a bench could not be measured."""
    asked = _arguments()
    tree = subjects.this_tree()
    measured = [tree, subjects.revision(asked.against, tree)] if asked.against else [tree]
    _say(noise.sentence())
    results, failures = measure(asked.benches or list(SHARED if asked.postgres else DEFAULT), measured, asked.rounds)
    _say(noise.sentence())
    table = markdown if asked.markdown else plain
    print(table(results.header(), results.rows()))
    sys.exit("\n".join(failures) or None)


def measure(names: Sequence[str], measured: Sequence[Subject], rounds: int) -> tuple[Results, list[str]]:
    """Each bench of each checkout in turn, round by round; who is first changes with the round.

    Returns what was measured, and a sentence for each bench that failed: it costs the table its own figures only.
    """
    results = Results([subject.label for subject in measured])
    failures: list[str] = []
    for number in range(1, rounds + 1):
        for name in names:
            for subject in measured if number % 2 else reversed(measured):
                _say(f"round {number} of {rounds}: {name}, {subject.label}")
                try:
                    for figure in BENCHES[name](subject):
                        results.add(subject.label, number, figure)
                except (RuntimeError, OSError, subprocess.SubprocessError) as problem:
                    failures.append(f"round {number}: {name} failed on {subject.label}: {problem}")
                    _say(failures[-1])
    return results, failures


def _arguments() -> argparse.Namespace:
    lines = [f"  {name:<15}{bench.__doc__}" for name, bench in BENCHES.items()]
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure what flowd costs, beside programs that do the same work. Asserts nothing.",
        epilog=f"benches ({', '.join(DEFAULT)} if none is named):\n" + "\n".join(lines),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("benches", nargs="*", metavar="NAME", help="what to measure, see below")
    parser.add_argument("--against", metavar="REV", help="measure another revision in turn with this tree")
    parser.add_argument("--postgres", action="store_true", help="with the store in PostgreSQL, if none is named")
    parser.add_argument("--rounds", type=int, default=3, help="how often; medians and extremes are shown (3)")
    parser.add_argument("--markdown", action="store_true", help="print a table to paste")
    asked = parser.parse_args()
    if unknown := set(asked.benches) - set(BENCHES):
        parser.error(f"there is no bench {', '.join(sorted(unknown))}")
    return asked


def _say(sentence: str) -> None:
    # Apart from the table, so that it can be sent into a file.
    print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
