"""What every store promises of what people pause, and of the queue as they look at it."""

import pytest
from store_rig import DONE, FAILED, Stores, claim, ids, new_event, run_of

from flowd.domain.definition import Definition
from flowd.domain.errors import InvalidParamsError, QueueFullError
from flowd.domain.exit import Exit
from flowd.domain.filters import RunFilter
from flowd.domain.journal import Interest
from flowd.domain.pauses import Pause, Paused
from flowd.domain.people import Person
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus
from flowd.domain.stored import Output
from flowd.domain.waiting import NeedsWait, PackageWait, PauseWait, PlaceWait, TimeWait
from flowd.ports import OpenStore

ADA, BOB = Person("socket", 1000, "ada"), Person("token", name="ci")
ALL, FLOW, STEP = Paused(), Paused("flow"), Paused("flow", "b")


def definition(flow: str, step: str) -> Definition:
    return Definition(flow, 1, f"/{flow}", "sha256:0", step, "exec", "run.sh", 1000, 100)


def new(flow: str, step: str, *needs: str, number: int = 0, wait: TimeWait | None = None) -> NewRun:
    return NewRun(f"{flow}/{step}{number or ''}", definition(flow, step), needs=needs, wait=wait)


async def accept(store: OpenStore, event_id: str, *runs: NewRun) -> None:
    await store.accept(new_event(event_id), runs, at_ms=1)


async def start(store: OpenStore, *, at_ms: int = 2) -> list[str]:
    """The runs that may start; each ends well at once."""
    claimed = await store.claim(claim(50, at_ms=at_ms, definition_of=definition))
    for started in claimed.started:
        await store.finish(started.attempt, DONE, Exit(0), Output(), at_ms=3)
    return ids(claimed)


async def pause(store: OpenStore, what: Paused) -> int:
    """Pause it; how many runs were taken back."""
    await store.begin_pause(what, ADA, at_ms=5)
    taken, after = 0, 0
    while after is not None:
        count, after = await store.take_back(what, after, at_ms=5)  # type: ignore[assignment]
        taken += count
    return taken


async def resume(store: OpenStore, what: Paused) -> int:
    """Let it go; how many runs went on."""
    assert await store.end_pause(what)
    return await let_go(store, what)


async def let_go(store: OpenStore, what: Paused) -> int:
    freed, after = 0, 0
    while after is not None:
        count, after = await store.let_go(what, after, at_ms=6)  # type: ignore[assignment]
        freed += count
    return freed


@pytest.mark.parametrize(
    ("what", "starts", "word"),
    [
        (ALL, [], "*"),
        (FLOW, ["other/b"], "flow"),
        (STEP, ["flow/a", "other/b"], "flow/b"),
    ],
)
def test_what_is_paused_is_accepted_and_waits_also_after_a_reopening(
    stores: Stores, what: Paused, starts: list[str], word: str
) -> None:
    async def use(store: OpenStore) -> None:
        assert await pause(store, what) == 0
        await accept(store, "e", new("flow", "a"), new("flow", "b"), new("other", "b"))
        assert (await run_of(store, "flow/b")).waiting_for == PauseWait(word)
        assert await start(store) == starts

    async def look(store: OpenStore) -> None:
        assert await store.pauses() == [Pause(what, ADA, 5)]
        assert await start(store) == []
        kept = [one for one in ("flow/a", "flow/b", "other/b") if one not in starts]
        assert await resume(store, what) == len(kept)
        assert (await store.pauses(), await store.ending_pauses()) == ([], [])
        assert await start(store) == kept

    stores.use(use)
    stores.use(look)


def test_a_pause_takes_back_what_is_ready_and_tells_it_and_leaves_what_runs(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "e", new("flow", "a"), new("flow", "b"), new("flow", "c", "b"))
        (running,) = (await store.claim(claim(1, definition_of=definition))).started
        assert await pause(store, FLOW) == 1
        entries = (await store.journal(Interest(run_id="flow/b"), after=0, limit=9)).entries
        assert [entry.status for entry in entries] == ["queued", "queued"]
        assert (await run_of(store, "flow/c")).waiting_for == NeedsWait(("b",))
        done = await store.finish(running.attempt, DONE, Exit(0), Output(), at_ms=7)
        assert done.run.status is ProcessStatus.COMPLETED
        assert await start(store) == []
        assert await resume(store, FLOW) == 1
        assert await start(store) == ["flow/b"]
        assert await pause(store, FLOW) == 1
        assert (await run_of(store, "flow/c")).waiting_for == PauseWait("flow")

    stores.use(use)


def test_a_run_goes_on_when_the_last_pause_that_means_it_is_over(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "e", new("flow", "b"))
        assert await pause(store, STEP) == 1
        assert await pause(store, ALL) == 0  # it is taken back already
        await resume(store, STEP)
        assert (await run_of(store, "flow/b")).waiting_for == PauseWait("*")
        assert not await store.end_pause(STEP)
        await resume(store, ALL)
        assert await start(store) == ["flow/b"]

    stores.use(use)


def test_a_pause_in_force_keeps_its_author_and_one_that_is_over_may_begin_anew(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await store.begin_pause(FLOW, ADA, at_ms=5)
        assert await store.begin_pause(FLOW, BOB, at_ms=9) == Pause(FLOW, ADA, 5)
        await store.end_pause(FLOW)
        assert await store.ending_pauses() == [Pause(FLOW, ADA, 5)]
        assert await store.begin_pause(FLOW, BOB, at_ms=9) == Pause(FLOW, BOB, 9)
        assert await let_go(store, FLOW) == 0
        assert await store.pauses() == [Pause(FLOW, BOB, 9)]

    stores.use(use)


def test_many_runs_are_taken_back_and_let_go_in_steps_that_a_crash_may_come_between(stores: Stores) -> None:
    async def begin(store: OpenStore) -> None:
        await accept(store, "e", *(new("flow", "b", number=n) for n in range(1, 1202)))
        await store.begin_pause(FLOW, ADA, at_ms=5)
        taken, after = await store.take_back(FLOW, 0, at_ms=5)
        assert (taken, after is None) == (500, False)

    async def go_on(store: OpenStore) -> None:
        assert await pause(store, FLOW) == 701
        assert (await store.queue(limit=1, cursor=None)).ready == 0
        assert await store.end_pause(FLOW)
        freed, after = await store.let_go(FLOW, 0, at_ms=6)
        assert (freed, after is None) == (500, False)

    async def end(store: OpenStore) -> None:
        (left,) = await store.ending_pauses()
        assert await let_go(store, left.what) == 701
        view = await store.queue(limit=1, cursor=None)
        assert (view.ready, view.waiting, view.pauses) == (1201, 0, ())

    for step in (begin, go_on, end):
        stores.use(step, max_queued=2000)


def test_whatever_comes_to_be_ready_comes_to_the_pause(stores: Stores) -> None:
    retry = TimeWait(until_ms=100, whole_ms=90, why="retry")

    async def use(store: OpenStore) -> None:
        await accept(store, "e", new("flow", "timed", wait=TimeWait(50, 49, "delay")), new("flow", "retried"))
        await accept(store, "f", new("flow", "failed"), new("flow", "again"), new("flow", "gone"))
        claimed = await store.claim(
            claim(9, definition_of=lambda flow, step: None if step == "gone" else definition(flow, step))
        )
        attempts = {started.run.id: started.attempt for started in claimed.started}
        await store.finish(attempts["flow/retried"], FAILED, Exit(1), Output(), at_ms=3, wait=retry)
        await store.finish(attempts["flow/failed"], FAILED, Exit(1), Output(), at_ms=3)
        assert (await run_of(store, "flow/gone")).waiting_for == PackageWait("flow")
        await pause(store, FLOW)
        assert await store.requeue("flow/again", at_ms=4)
        assert await store.retry("flow/failed", at_ms=4) is not None
        assert await store.end_package_wait("flow", "gone", at_ms=4) == 1
        assert await start(store, at_ms=200) == []
        names = ("timed", "retried", "failed", "again", "gone")
        for name in names:
            assert (await run_of(store, f"flow/{name}")).waiting_for == PauseWait("flow"), name
        await resume(store, FLOW)
        assert sorted(await start(store, at_ms=201)) == sorted(f"flow/{name}" for name in names)

    stores.use(use)


def test_a_paused_run_can_be_canceled(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await pause(store, ALL)
        await accept(store, "e", new("flow", "a"))
        canceled = await store.cancel_queued("flow/a", at_ms=6)
        assert canceled is not None
        assert (canceled.status, canceled.waiting_for) == (ProcessStatus.CANCELED, None)
        assert await resume(store, ALL) == 0
        counts = await store.counts()
        assert (counts.runs["queued"], counts.waiting) == (0, 0)

    stores.use(use)


# --- the queue -------------------------------------------------------------------------------------------------------


def test_the_queue_shows_who_is_next_and_then_who_waits_page_by_page(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "e", new("flow", "a"), new("flow", "late", wait=TimeWait(500, 499, "delay")))
        await accept(store, "f", new("other", "x"), new("flow", "b"), new("flow", "c", "b"))
        await pause(store, Paused("other"))
        whole = await store.queue(limit=50, cursor=None)
        assert [run.id for run in whole.page.items] == ["flow/a", "flow/b", "flow/late", "other/x", "flow/c"]
        assert [run.waiting_for for run in whole.page.items] == [
            PlaceWait(1),
            PlaceWait(2),
            TimeWait(500, 499, "delay"),
            PauseWait("other"),
            NeedsWait(("b",)),
        ]
        assert (whole.ready, whole.waiting, whole.page.next_cursor) == (2, 3, None)
        assert [str(one.what) for one in whole.pauses] == ["other"]
        found: list[str] = []
        cursor = None
        while len(found) < 5:
            part = await store.queue(limit=1, cursor=cursor)
            found += [run.id for run in part.page.items]
            cursor = part.page.next_cursor
        assert (found, cursor) == ([run.id for run in whole.page.items], None)
        ours = await store.queue(RunFilter(flow="other"), limit=50, cursor=None)
        assert [run.id for run in ours.page.items] == ["other/x"]
        with pytest.raises(InvalidParamsError):
            await store.queue(limit=1, cursor="r1")

    stores.use(use)


def test_a_ready_run_knows_its_place_as_far_as_these_are_counted(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "e", *(new("flow", "b", number=n) for n in range(1, 104)))
        for number, place in ((1, 1), (100, 100), (101, 101), (103, 101)):
            assert (await run_of(store, f"flow/b{number}")).waiting_for == PlaceWait(place)

    stores.use(use)


# --- bounds ----------------------------------------------------------------------------------------------------------


def test_what_waits_has_a_bound_of_its_own_beside_that_of_what_is_ready(stores: Stores) -> None:
    later = TimeWait(500, 499, "delay")

    async def use(store: OpenStore) -> None:
        for name in "abc":
            await accept(store, name, new("flow", name, wait=later))
        await accept(store, "ready", new("flow", "r"))
        with pytest.raises(QueueFullError, match="max_queued is 1"):
            await accept(store, "one more", new("flow", "s"))
        with pytest.raises(QueueFullError, match="max_waiting is 3"):
            await accept(store, "waits", new("flow", "d", wait=later))
        assert (await store.counts()).waiting == 3
        assert await start(store) == ["flow/r"]
        with pytest.raises(QueueFullError, match="max_waiting is 3"):
            await accept(store, "needs", new("flow", "top"), new("flow", "below", "top"))
        await pause(store, FLOW)
        with pytest.raises(QueueFullError, match="max_waiting is 3"):
            await accept(store, "paused", new("flow", "p"))
        assert await store.event("paused") is None

    stores.use(use, max_queued=1, max_waiting=3)


def test_what_people_want_of_runs_may_be_twice_as_much(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in ("a", "b", "c"):
            await accept(store, name, new("flow", name))
            (started,) = (await store.claim(claim(1, definition_of=definition))).started
            await store.finish(started.attempt, FAILED, Exit(1), Output(), at_ms=3)
        for name in ("a", "b"):
            assert await store.retry(f"flow/{name}", at_ms=4) is not None
        with pytest.raises(QueueFullError, match="max_queued is 2"):
            await store.retry("flow/c", at_ms=4)

    stores.use(use, max_queued=1)


def test_the_queue_is_counted_by_what_its_runs_wait_for(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        assert await store.depths() == []

    async def fill(store: OpenStore) -> None:
        await accept(store, "e1", new("flow", "a"), new("flow", "b", "a"))
        await store.accept(new_event("e2"), [new("late", "a", wait=TimeWait(9, 9, "delay"))], at_ms=7)
        await store.accept(new_event("e3"), [new("other", "a")], at_ms=8)

    async def look(store: OpenStore) -> None:
        depths = {depth.waits_for: (depth.runs, depth.since_ms) for depth in await store.depths()}
        assert depths == {"place": (2, 1), "needs": (1, 1), "time": (1, 7)}

    async def hold_up(store: OpenStore) -> None:
        await pause(store, ALL)

    async def look_again(store: OpenStore) -> None:
        depths = {depth.waits_for: (depth.runs, depth.since_ms) for depth in await store.depths()}
        assert depths == {"pause": (2, 5), "needs": (1, 1), "time": (1, 7)}

    for step in (use, fill, look, hold_up, look_again):  # each opens it anew: what was counted is remembered a while
        stores.use(step)


def test_what_hosts_have_to_start_is_counted_by_step(stores: Stores) -> None:
    made_with = new("flow", "a").definition

    async def fill(store: OpenStore) -> None:
        await accept(store, "e1", new("flow", "a"), new("flow", "b", "a"))
        await accept(store, "e2", new("flow", "a"))
        await accept(store, "e3", new("gone", "a"))
        claimed = await store.claim(claim(50, definition_of=lambda flow, _: None if flow == "gone" else made_with))
        for started in claimed.started:
            assert await store.requeue(started.run.id, at_ms=9)

    async def look(store: OpenStore) -> None:
        found = sorted((one.flow_name, one.step_name, one.runs, one.is_missing) for one in await store.step_queues())
        missing = ("gone", "a", 1, True)
        is_shared = store.reconnects is not None  # else there is one host, and nobody has to look
        assert found == ([("flow", "a", 2, False), missing] if is_shared else [missing])

    stores.use(fill)
    stores.use(look)
