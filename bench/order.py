"""Runs in order: many that wait for keys, and steps that need steps."""

import time
from collections.abc import Iterator
from pathlib import Path

from bench.daemon import STEP, Daemon, add_flow, cpu_s, rss_mb, running, scratch
from bench.figures import Figure
from bench.load import Load, dispatch, rpc, send
from bench.subjects import Subject

WAITING = 100_000
KEYS = 1_000
WATCHED = 1_000
"""Runs that end while the others wait."""

CALLERS = 16
ROUNDS = 250

_SLEEP = "#!/bin/sh\nexec sleep 3600\n"
_KEY = 'concurrency = { key = ["/payload/repo"] }'


def order(subject: Subject) -> Iterator[Figure]:
    """100,000 runs that wait for 1,000 keys, and diamonds of four steps beside four steps that need nothing."""
    yield from _keys(subject)
    yield from _diamonds(subject)


def _keys(subject: Subject) -> Iterator[Figure]:
    with scratch() as plain, scratch() as keyed:
        none = _Queue(subject, plain, WATCHED * 2, "")
        many = _Queue(subject, keyed, WAITING, _KEY)
    free = {"without keys": none.accept_ms}
    yield Figure(f"daemon's CPU an accept, {KEYS:,} keys", many.accept_ms, "ms", free)
    name = f"beside {WAITING:,} that wait for keys"
    yield Figure(f"daemon's CPU a run {name}", many.run_ms, "ms", {"2,000 without keys": none.run_ms})
    yield Figure(f"runs/s {name}", many.rate, "/s", {"2,000 without keys": none.rate})
    yield Figure(f"restart {name}", many.ready_s, "s", {"2,000 without keys": none.ready_s})
    yield Figure(f"daemon {name}, RSS", many.size_mb, "MB", {"2,000 without keys": none.size_mb})


class _Queue:
    """A daemon that is given so many runs while something takes its only place, then started anew, and let work."""

    def __init__(self, subject: Subject, workspace: Path, count: int, key: str) -> None:
        add_flow(workspace, "hold", "hold.go", script=_SLEEP)
        _add_to_steps(add_flow(workspace, "work", "work.go"), key)
        settings = {"FLOWD_MAX_PARALLEL": "1", "FLOWD_MAX_QUEUED": str(2 * WAITING)}
        with running(subject, workspace, FLOWD_ON_STOP="keep", **settings) as daemon:
            (holder,) = daemon.call("flow.dispatch", event={"id": "h", "type": "hold.go", "payload": {}})["runIds"]
            before_s = cpu_s(daemon.pid)
            send(Load(daemon.socket, [_event(n) for n in range(count)], callers=CALLERS))
            self.accept_ms = (cpu_s(daemon.pid) - before_s) / count * 1000
        # The holder's step went on meanwhile: it has the place again.
        with running(subject, workspace, **settings) as daemon:
            self.ready_s = daemon.ready_s
            self.size_mb = rss_mb(daemon.pid)
            self._watch(daemon, holder)

    def _watch(self, daemon: Daemon, holder: str) -> None:
        daemon.call("flow.cancelRun", runId=holder)
        began, before_s, done = time.perf_counter(), cpu_s(daemon.pid), _completed(daemon)
        while (ended := _completed(daemon) - done) < WATCHED:
            time.sleep(0.2)
        self.rate = ended / (time.perf_counter() - began)
        self.run_ms = (cpu_s(daemon.pid) - before_s) / ended * 1000


def _event(number: int) -> str:
    payload = {"repo": f"repo-{number % KEYS}"}
    return rpc("flow.dispatch", event={"id": f"e{number}", "type": "work.go", "payload": payload})


def _completed(daemon: Daemon) -> int:
    return int(daemon.call("daemon.status")["runs"].get("completed", 0))


def _add_to_steps(script: Path, line: str) -> None:
    manifest = script.parent / "flow.toml"
    manifest.write_text(manifest.read_text().replace("timeout_ms =", f"{line}\ntimeout_ms ="), encoding="utf-8")


def _diamonds(subject: Subject) -> Iterator[Figure]:
    # One, two that need it, and one that needs both.
    with scratch() as workspace:
        add_flow(workspace, "apart", "apart.go", steps=4)
        folder = workspace / "flows" / "diamond"
        folder.mkdir()
        (folder / "main.sh").write_text(STEP, encoding="utf-8")
        (folder / "main.sh").chmod(0o755)
        (folder / "flow.toml").write_text(_diamond(), encoding="utf-8")
        with running(subject, workspace) as daemon:
            spent_ms, rates = {}, {}
            for kind in ("apart", "diamond"):
                _send(daemon, f"warm-{kind}", kind, 20)
            for kind in ("apart", "diamond", "diamond", "apart"):
                tag = f"{kind}{len(rates)}{time.monotonic_ns()}"
                before_s = cpu_s(daemon.pid) + cpu_s(daemon.keeper_pid)
                rates[kind] = _send(daemon, tag, kind, ROUNDS)
                took_s = cpu_s(daemon.pid) + cpu_s(daemon.keeper_pid) - before_s
                spent_ms[kind] = spent_ms.get(kind, 0.0) + took_s / (2 * ROUNDS) * 1000
    rival = {"four independent steps": spent_ms["apart"]}
    yield Figure(f"daemon's and keeper's CPU a diamond, {CALLERS} callers", spent_ms["diamond"], "ms", rival)
    rival = {"four independent steps": rates["apart"]}
    yield Figure(f"diamonds/s, {CALLERS} callers", rates["diamond"], "/s", rival)


def _send(daemon: Daemon, tag: str, kind: str, count: int) -> float:
    requests = [dispatch(f"{tag}-{n}", f"{kind}.go", wait=True) for n in range(count)]
    return send(Load(daemon.socket, requests, callers=CALLERS)).rate


def _diamond() -> str:
    needs = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}
    steps = [
        f'[[steps]]\nname = "{name}"\nrunner = "exec"\nscript = "main.sh"\nneeds = {list(needed)}\n'
        + ("" if needed else '[steps.trigger]\ntype = "diamond.go"\n')
        for name, needed in needs.items()
    ]
    return 'name = "diamond"\nversion = 1\n' + "".join(steps)
