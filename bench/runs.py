"""Runs of an `sh` step, from dispatch to the recorded outcome."""

from collections.abc import Iterator

from bench import rivals
from bench.daemon import Daemon, add_flow, children_cpu_s, cpu_s, running, scratch
from bench.figures import Figure
from bench.load import Load, Sent, dispatch, send
from bench.subjects import Subject

CALLERS = 16
RUNS = 1000
RUNS_OF_ONE = 300


def _send(daemon: Daemon, tag: str, count: int, callers: int) -> Sent:
    requests = [dispatch(f"{tag}-{n}", "one.go", wait=True) for n in range(count)]
    return send(Load(daemon.socket, requests, callers=callers))


def runs(subject: Subject) -> Iterator[Figure]:
    """16 callers that each wait for their run: runs a second, and the CPU time of a run."""
    with scratch() as workspace:
        script = add_flow(workspace, "one", "one.go")
        with running(subject, workspace) as daemon:
            _send(daemon, "warm", 50, CALLERS)
            xargs_s = rivals.xargs_s(script, RUNS // 2, rivals.CORES)
            spent_ms = _Spent(daemon)
            sent = _send(daemon, "r", RUNS, CALLERS)
            cpu_ms = spent_ms.a_run(RUNS)
            xargs_s += rivals.xargs_s(script, RUNS // 2, rivals.CORES)
    yield Figure("runs/s, 16 callers", sent.rate, "/s", {f"xargs -P{rivals.CORES}": RUNS / xargs_s})
    for who, value in cpu_ms.items():
        yield Figure(f"{who}'s CPU a run, 16 callers", value, "ms")


def pipelined(subject: Subject) -> Iterator[Figure]:
    """1,000 dispatches at once over one connection, until every outcome is recorded."""
    with scratch() as workspace:
        script = add_flow(workspace, "one", "one.go")
        with running(subject, workspace) as daemon:
            _send(daemon, "warm", 50, CALLERS)
            # The last dispatch waits for its run, so that the daemon need not be asked while it works.
            requests = [dispatch(f"p-{n}", "one.go", wait=n == RUNS - 1) for n in range(RUNS)]
            spent = _Spent(daemon)
            sent = send(Load(daemon.socket, requests, is_pipelined=True))
            cpu_ms = spent.a_run(RUNS)
        others_s = {
            f"tsp -S {rivals.CORES}": rivals.tsp_s(script, RUNS, workspace),
            "webhook": rivals.webhook_s(script, RUNS, workspace),
            f"xargs -P{rivals.CORES}": rivals.xargs_s(script, RUNS, rivals.CORES),
        }
    rates = {name: RUNS / took_s if took_s else None for name, took_s in others_s.items()}
    yield Figure("runs/s, 1,000 pipelined", RUNS / sent.whole_s, "/s", rates)
    for who, value in cpu_ms.items():
        yield Figure(f"{who}'s CPU a run, pipelined", value, "ms")


def one(subject: Subject) -> Iterator[Figure]:
    """One caller, one run at a time."""
    with scratch() as workspace:
        script = add_flow(workspace, "one", "one.go")
        with running(subject, workspace) as daemon:
            _send(daemon, "warm", 50, 1)
            xargs_s = rivals.xargs_s(script, RUNS_OF_ONE, 1)
            sent = _send(daemon, "o", RUNS_OF_ONE, 1)
            xargs_s += rivals.xargs_s(script, RUNS_OF_ONE, 1)
    xargs_ms = xargs_s / (2 * RUNS_OF_ONE) * 1000
    yield Figure("one run, 1 caller, p50", sent.percentile_ms(0.5), "ms", {"xargs -P1": xargs_ms})


class _Spent:
    """CPU time from here on: of the daemon, of its keeper, and of the keeper's children, which are the steps."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._before_s = self._now_s()

    def _now_s(self) -> dict[str, float]:
        daemon = self._daemon
        return {
            "daemon": cpu_s(daemon.pid),
            "keeper": cpu_s(daemon.keeper_pid),
            "step": children_cpu_s(daemon.keeper_pid),
        }

    def a_run(self, count: int) -> dict[str, float]:
        """Milliseconds of each a run."""
        return {who: (now_s - self._before_s[who]) / count * 1000 for who, now_s in self._now_s().items()}
