"""Events of changed files: made once what has changed has settled, and sent until they are accepted."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowd.domain.errors import QueueFullError
from flowd.domain.flow import Flow, Origin, Snapshot
from flowd.domain.watches import Watch, WatchState
from flowd.engine.watches import Watches

W = Watch("f", "w", ("src/**",), "t", settle_ms=300)
V = Watch("f", "v", ("docs/**",), "t", settle_ms=1_000)


class Files:
    """Watched files that a test changes."""

    def __init__(self) -> None:
        self.used: list[list[str]] = []
        self.changed: dict[str, int] = {}
        self.unfinished: dict[str, str] = {}
        self.quiet: list[bool] = []
        self.is_closed = False
        self.on_news: Callable[[str], None] = lambda _: None
        self.fails = False

    def listen(self, on_news: Callable[[str], None]) -> None:
        self.on_news = on_news

    async def use(self, watches: Sequence[Watch]) -> None:
        self.used.append([watch.label for watch in watches])

    async def take(self, label: str, *, is_quiet: bool) -> Mapping[str, Any] | None:
        if self.fails:
            raise OSError(28, "No space left on device")
        self.quiet.append(is_quiet)
        if label not in self.unfinished and self.changed.get(label):
            self.unfinished[label] = f"{label} {self.changed.pop(label)}"
        return {"id": self.unfinished[label]} if label in self.unfinished else None

    async def told(self, label: str) -> None:
        del self.unfinished[label]

    def has_news(self, label: str) -> bool:
        return label in self.unfinished or bool(self.changed.get(label))

    def states(self) -> list[WatchState]:
        return [WatchState(W, "watching", 3)]

    async def close(self) -> None:
        self.is_closed = True

    def change(self, label: str = "f/w") -> None:
        self.changed[label] = self.changed.get(label, 0) + 1
        self.on_news(label)


class Clock:
    """A clock that is set by hand, with timers that go by it."""

    def __init__(self) -> None:
        self.at_ms = 1_000_000
        self._timers: list[tuple[int, Callable[[], None], asyncio.TimerHandle]] = []

    def now_ms(self) -> int:
        return self.at_ms

    def steady_ms(self) -> int:
        return self.at_ms

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        handle = asyncio.get_running_loop().call_later(10**6, lambda: None)
        self._timers.append((self.at_ms + round(delay * 1000), callback, handle))
        return handle

    async def until(self, at_ms: int) -> None:
        """Let the time pass, from one timer to the next."""
        end_ms = self.at_ms + at_ms
        while True:
            await settle()
            self._timers = [timer for timer in self._timers if not timer[2].cancelled()]
            due = min(self._timers, default=None, key=lambda timer: timer[0])
            if due is None or due[0] > end_ms:
                break
            self._timers.remove(due)
            self.at_ms = max(self.at_ms, due[0])
            due[1]()
        self.at_ms = end_ms


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Catalog:
    def __init__(self, *watches: Watch) -> None:
        self.use(*watches)

    def use(self, *watches: Watch) -> None:
        self.snapshot = Snapshot((Flow("f", 1, "/f", Origin.SOURCE, (), "sha256:0", watches=watches),))

    async def reload(self) -> Snapshot:
        return self.snapshot


class Rig:
    """Watches on files, a clock and a queue that a test holds in its hands."""

    def __init__(self, *watches: Watch) -> None:
        self.files, self.clock, self.catalog = Files(), Clock(), Catalog(*(watches or (W, V)))
        self.sent: list[tuple[int, str]] = []
        self.is_full = False
        self.watches = Watches(
            files=self.files,
            catalog=self.catalog,
            clock=self.clock,
            dispatch=self._dispatch,
            call_later=self.clock.call_later,
        )

    async def _dispatch(self, event: Mapping[str, Any]) -> None:
        if self.is_full:
            raise QueueFullError("1000 runs wait already.")
        self.sent.append((self.clock.at_ms - 1_000_000, event["id"]))

    def problem(self) -> str | None:
        return self.watches.states()[0].problem


def run(scenario: Callable[[Rig], Any], *watches: Watch) -> None:
    async def play() -> None:
        rig = Rig(*watches)
        task = asyncio.create_task(rig.watches.work())
        await settle()
        await scenario(rig)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert rig.files.is_closed

    asyncio.run(play())


def test_an_event_is_sent_when_changes_have_settled() -> None:
    async def scenario(rig: Rig) -> None:
        rig.files.change()
        await rig.clock.until(200)
        rig.files.change()
        await rig.clock.until(1_000)
        # A report comes 20 ms after the change at the earliest, so the quiet time began before it.
        assert rig.sent == [(480, "f/w 2")]
        assert rig.files.quiet == [True]

    run(scenario)


def test_changes_that_go_on_and_on_are_sent_all_the_same() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(70):
            rig.files.change()
            await rig.clock.until(100)
        assert [at_ms for at_ms, _ in rig.sent] == [2_980, 5_980]
        assert rig.files.quiet == [False, False]

    run(scenario)


def test_each_watch_has_its_own_quiet_time() -> None:
    async def scenario(rig: Rig) -> None:
        rig.files.change("f/w")
        rig.files.change("f/v")
        await rig.clock.until(2_000)
        assert rig.sent == [(280, "f/w 1"), (980, "f/v 1")]

    run(scenario)


def test_a_refused_event_is_sent_again_and_what_changed_meanwhile_in_the_next_one() -> None:
    async def scenario(rig: Rig) -> None:
        rig.is_full = True
        rig.files.change()
        await rig.clock.until(2_000)
        rig.files.change()
        rig.files.change()
        assert "1000 runs wait already" in (rig.problem() or "")
        await rig.clock.until(2_000)
        rig.is_full = False
        await rig.clock.until(30_000)
        assert [event_id for _, event_id in rig.sent] == ["f/w 1", "f/w 2"]
        assert rig.problem() is None

    run(scenario)


def test_what_cannot_be_written_down_is_not_sent_and_tried_again() -> None:
    async def scenario(rig: Rig) -> None:
        rig.files.fails = True
        rig.files.change()
        await rig.clock.until(1_000)
        assert rig.sent == []
        assert "No space left" in (rig.problem() or "")
        rig.files.fails = False
        await rig.clock.until(5_000)
        assert [event_id for _, event_id in rig.sent] == ["f/w 1"]

    run(scenario)


def test_an_event_that_an_earlier_process_began_is_sent_and_then_what_has_changed_since() -> None:
    async def scenario(rig: Rig) -> None:
        rig.files.unfinished["f/w"] = "begun"
        rig.files.change()
        await rig.clock.until(2_000)
        assert [event_id for _, event_id in rig.sent] == ["begun", "f/w 1"]

    run(scenario)


def test_another_snapshot_of_the_catalog_changes_what_is_watched() -> None:
    async def scenario(rig: Rig) -> None:
        rig.files.change("f/v")
        rig.catalog.use(V)
        rig.watches.packages_changed()
        await settle()
        assert rig.files.used == [["f/w", "f/v"], ["f/v"]]
        rig.files.change("f/w")
        await rig.clock.until(2_000)
        assert [event_id for _, event_id in rig.sent] == ["f/v 1"]

    run(scenario)


def test_a_round_that_starts_itself_is_slowed_and_told() -> None:
    async def scenario(rig: Rig) -> None:
        for _ in range(40):
            rig.files.change()
            await rig.clock.until(400)
        assert len(rig.sent) < 35
        assert "does a step write there?" in (rig.problem() or "")

    run(scenario)


def test_a_watch_that_nobody_has_looked_for_yet_is_starting() -> None:
    async def scenario(rig: Rig) -> None:
        states = rig.watches.states()
        assert [(state.watch, state.status, state.files) for state in states] == [
            (W, "watching", 3),
            (V, "starting", 0),
        ]

    run(scenario)


def test_without_a_daemon_watches_are_off() -> None:
    async def play() -> None:
        clock = Clock()
        watches = Watches(files=None, catalog=Catalog(W), clock=clock, dispatch=lambda _: asyncio.sleep(0))
        await watches.work()
        assert [(state.status, state.problem) for state in watches.states()] == [("off", "no daemon watches")]

    asyncio.run(play())
