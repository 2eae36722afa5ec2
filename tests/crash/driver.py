"""Sends events to a daemon that is killed again and again, and remembers what was acknowledged."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field

from crash.crashpoint import DAEMON_POINTS, KEEPER_POINTS
from crash.kinds import KINDS, repository
from crash.stage import Stage

from flowd_client.errors import FlowClientError

_WITH_DAEMON = tuple(point for point in DAEMON_POINTS if "requeue" not in point)
_AT_START = ("store.requeue:before", "store.requeue:after", "store.finish:before", "store.finish:after",
             "keeper.wait:before", "keeper.wait:after", "keeper.forget:before", "keeper.forget:after")  # fmt: skip
CLASSES = (
    "daemon, any instant",
    "keeper, any instant",
    "both, any instant",
    "daemon, at a store point",
    "daemon, at a keeper point",
    "keeper, at a point",
    "daemon, at its start",
    "both, at points",
)
_EVENTS_A_KILL = 7
_POINT_BOUND_S = 3.0
_MAX_KEEPER_DEATHS = 4
"""A daemon gives up, rightly, on a keeper that dies six times in a row."""


@dataclass(frozen=True, slots=True)
class Kill:
    """One death.

    Attributes:
        at_s: Wall time.
        victims: ``daemon``, ``keeper`` or both.
        point: Where; empty for any instant.
    """

    at_s: float
    victims: tuple[str, ...]
    point: str = ""


@dataclass(slots=True)
class Story:
    """What happened, from outside.

    Attributes:
        acknowledged: Run ids by event id, as flowd answered.
        unanswered: Events whose answer never came; they are sent again.
        unreached: Points that were armed and not passed in time.
    """

    acknowledged: dict[str, list[str]] = field(default_factory=dict)
    unanswered: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    repeated: int = 0


class Driver:
    """One daemon under load and under fire."""

    def __init__(self, stage: Stage, seed: int) -> None:
        self._stage = stage
        self._random = random.Random(seed)
        self._sent = 0
        self._keeper_deaths = 0
        self._bag = [name.partition("/")[0] for name, kind in KINDS.items() for _ in range(kind.weight)]
        self.story = Story()

    def open(self) -> None:
        """Start the daemon."""
        self._start()

    def kill(self, kind: str) -> None:
        """Send events, kill as this class says, and let flowd come back."""
        keeper_first = self._keeper_deaths >= _MAX_KEEPER_DEATHS and kind.startswith("keeper")
        match "daemon, any instant" if keeper_first else kind:
            case "daemon, any instant":
                self._at_an_instant(("daemon",))
            case "keeper, any instant":
                self._at_an_instant(("keeper",))
            case "both, any instant":
                self._at_an_instant(("daemon", "keeper") if self._random.random() < 0.5 else ("keeper", "daemon"))
            case "daemon, at a store point":
                self._at_a_point("daemon", self._random.choice([p for p in _WITH_DAEMON if p.startswith("store.")]))
            case "daemon, at a keeper point":
                self._at_a_point("daemon", self._random.choice([p for p in _WITH_DAEMON if p.startswith("keeper.")]))
            case "keeper, at a point":
                self._at_a_point("keeper", self._random.choice(KEEPER_POINTS))
            case "daemon, at its start":
                self._at_a_point("daemon", self._random.choice(("store.accept:after", "keeper.start:before")))
                self._at_the_start(self._random.choice(_AT_START))
            case _:
                self._at_a_point("keeper", self._random.choice(KEEPER_POINTS), then_daemon=True)
        if not self._stage.is_up:
            time.sleep(self._random.random() * 0.3)  # so that steps end while nobody is there
            self._start()

    def settle(self, *, bound_s: float = 30.0) -> None:
        """Send again what was not answered, and wait until every run has ended."""
        deadline = time.monotonic() + bound_s
        while self.story.unanswered:
            assert time.monotonic() < deadline, "events are not taken any more"
            again, self.story.unanswered = self.story.unanswered, []
            self.story.repeated += len(again)
            for event_id in again:
                self._dispatch(event_id)
        while True:
            counts = self._stage.call("daemon.status")["runs"]
            if not counts.get("queued") and not counts.get("running"):
                return
            assert time.monotonic() < deadline, f"runs do not end: {counts}\n{self._evidence()}"
            time.sleep(0.05)

    def _evidence(self) -> str:
        runs = [run for run in self._stage.call("flow.listRuns", limit=500)["runs"] if run["status"] == "running"]
        keeper = self._stage.state / "keeper"
        files = [(keeper / name).read_text(encoding="utf-8")[-2000:] for name in ("keeper.journal", "keeper.log")]
        return "\n".join([f"{runs}", f"{self.story.kills[-3:]}", *files, self._stage.log()[-2000:]])

    # --- killing

    def _at_an_instant(self, victims: tuple[str, ...]) -> None:
        """Kill from another thread, so that an instant may also be one inside of a call."""
        delay_s = 0.02 + self._random.random() * 0.5
        killed: list[bool] = []
        killer = threading.Timer(delay_s, lambda: killed.extend(self._kill_now(victim) for victim in victims))
        deadline = time.monotonic() + delay_s
        killer.start()
        self._send_some(until_s=deadline)
        killer.join()
        if all(killed):
            self._note(victims)
        else:
            self.story.unreached.append(f"{'+'.join(victims)}: no process to kill")

    def _kill_now(self, victim: str) -> bool:
        if victim == "keeper":
            return self._stage.kill_keeper()
        self._stage.kill()
        return True

    def _at_a_point(self, victim: str, point: str, *, then_daemon: bool = False) -> None:
        self._stage.arm(victim, point, nth=self._random.randint(1, 3))
        deadline = time.monotonic() + _POINT_BOUND_S
        while self._stage.is_armed(victim) and time.monotonic() < deadline:
            self._send_some(until_s=deadline, victim=victim)
            if self._stage.is_armed(victim):
                time.sleep(0.02)
        if self._stage.disarm(victim):
            self.story.unreached.append(point)
            return
        victims = (victim,)
        if then_daemon:
            self._stage.kill()
            victims = ("keeper", "daemon")
        elif victim == "daemon":
            assert self._stage.process is not None
            self._stage.process.wait(10)
        self._note(victims, point)

    def _at_the_start(self, point: str) -> None:
        if self._stage.is_up:  # the first point was not reached
            return
        self._stage.arm("daemon", point)
        self._stage.spawn()
        if self._stage.comes_up():
            deadline = time.monotonic() + 1.0
            while self._stage.is_up and time.monotonic() < deadline:
                time.sleep(0.02)
        if self._stage.disarm("daemon"):
            self.story.unreached.append(point)
            return
        assert self._stage.process is not None
        self._stage.process.wait(10)
        self._note(("daemon",), point)

    def _note(self, victims: tuple[str, ...], point: str = "") -> None:
        self._keeper_deaths = self._keeper_deaths + 1 if victims == ("keeper",) else 0
        self.story.kills.append(Kill(time.time(), victims, point))

    def _start(self) -> None:
        self._stage.spawn()
        if not self._stage.comes_up():  # pragma: no cover - an arming from before
            self._start()

    # --- sending

    def _send_some(self, *, until_s: float, victim: str = "") -> None:
        for _ in range(_EVENTS_A_KILL):
            if time.monotonic() >= until_s or not self._stage.is_up or (victim and not self._stage.is_armed(victim)):
                return
            self._sent += 1
            self._dispatch(f"{self._random.choice(self._bag)}-{self._sent}")
            time.sleep(self._random.random() * 0.02)

    def _dispatch(self, event_id: str) -> None:
        event = {"id": event_id, "type": f"{event_id.partition('-')[0]}.go", "payload": {"repo": repository(event_id)}}
        try:
            with self._stage.client(timeout_s=10) as client:
                self.story.acknowledged[event_id] = client.call("flow.dispatch", {"event": event})["runIds"]
        except FlowClientError:
            self.story.unanswered.append(event_id)
