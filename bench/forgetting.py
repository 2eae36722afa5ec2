"""How long an accept waits while a million old runs are forgotten."""

import threading
import time
from collections.abc import Iterator

from bench.daemon import Daemon, add_flow, running, scratch
from bench.figures import Figure
from bench.history import multiply
from bench.load import Load, dispatch, send
from bench.subjects import Subject

RUNS = 1_000_000
QUIET_ACCEPTS = 1_000
PAUSE_S = 0.002


def forgetting(subject: Subject) -> Iterator[Figure]:
    """The wait of an accept while a million old runs are forgotten, and how long that takes."""
    with scratch() as workspace:
        add_flow(workspace, "good", "good.go")
        with running(subject, workspace) as daemon:
            send(Load(daemon.socket, [dispatch(f"old-{n}", "good.go", wait=True) for n in range(100)], callers=1))
        (workspace / ".codex" / "flowd.toml").write_text(f"[retention]\nmax_events = {QUIET_ACCEPTS}\n")
        multiply(workspace / ".codex" / "flowd" / "flowd.db", RUNS)
        with running(subject, workspace) as daemon:
            quiet_ms = sorted(_accept(daemon, f"quiet-{n}") for n in range(QUIET_ACCEPTS))
            waited_ms, took_s, runs = _while_forgetting(daemon)
            rival = {"with nothing to forget": quiet_ms[int(0.99 * len(quiet_ms))]}
            yield Figure(
                f"p99 of an accept while {runs:,} runs are forgotten",
                waited_ms[int(0.99 * len(waited_ms))],
                "ms",
                rival,
            )
            yield Figure("the longest of them", waited_ms[-1], "ms", {"with nothing to forget": quiet_ms[-1]})
            yield Figure("runs forgotten a second", runs / took_s, "/s", {})


def _while_forgetting(daemon: Daemon) -> tuple[list[float], float, int]:
    forgot: dict[str, int] = {}

    def prune() -> None:
        forgot.update(daemon.call("daemon.prune"))

    pruning = threading.Thread(target=prune)
    began_s = time.perf_counter()
    pruning.start()
    waited_ms = []
    while pruning.is_alive():
        waited_ms.append(_accept(daemon, f"busy-{len(waited_ms)}"))
        time.sleep(PAUSE_S)
    pruning.join()
    return sorted(waited_ms), time.perf_counter() - began_s, forgot["runs"]


def _accept(daemon: Daemon, event_id: str) -> float:
    began_s = time.perf_counter()
    daemon.call("flow.dispatch", event={"id": event_id, "type": "nobody.waits", "payload": {}})
    return (time.perf_counter() - began_s) * 1000
