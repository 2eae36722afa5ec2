"""A store that hosts share, as two of them see it: names, abilities, leases, and who may declare what lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path

import postgres_rig
import pytest
from store_rig import DONE, STEP, new_event

from flowd.domain.definition import Definition
from flowd.domain.errors import HostAliveError, NotYetError
from flowd.domain.exit import Exit
from flowd.domain.hosts import HostSession, HostState
from flowd.domain.notices import NotifyRule
from flowd.domain.outcome import Outcome
from flowd.domain.queueing import Claim, NewRun, StartedRun
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.stored import Output
from flowd.domain.tenure import outcome_of
from flowd.domain.waiting import TimeWait

LOST = Outcome(ProcessStatus.FAILED, Reason.INTERRUPTED, "its host was not heard of")
_numbers = count(1)
pytest.importorskip("psycopg")

from flowd.store.postgres.address import Address  # noqa: E402
from flowd.store.postgres.shared import SharedStore  # noqa: E402


class World:
    """A database, and the hosts that were opened on it."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        self._stack = stack
        self.url = postgres_rig.DATABASE.address(folder)

    async def host(self, name: str, *, host_id: str = "", **options: object) -> "Host":
        """One more host, which has taken its name."""
        session = HostSession(name, host_id or name, f"session-{next(_numbers)}", "1.0", ("gpu",))
        store = SharedStore(Address(self.url, self.url, "flowd"), host=session, max_queued=200_000)
        self._stack.push_async_callback(store.close)
        await store.register()
        return Host(store, session)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """Change something behind their backs."""
        return postgres_rig.server().execute("SET search_path = flowd", statement, database="test")

    def let_leases_end(self) -> None:
        self.execute("UPDATE attempts SET lease_until_ms = 1 WHERE status = 'running'")


class Host:
    """A host as its daemon sees the store."""

    def __init__(self, store: SharedStore, session: HostSession) -> None:
        self.store = store
        self.session = session
        self.steps: dict[tuple[str, str], Definition] = {("flow", "step"): STEP}

    async def claim(self, limit: int = 1, *, asked_s: float = 100.0) -> tuple[StartedRun, ...]:
        def definition_of(flow: str, step: str) -> Definition | None:
            return self.steps.get((flow, step))

        ask = Claim(limit, "keeper", "boot", definition_of, 2, 2, host=self.session, asked_s=asked_s)
        return (await self.store.claim(ask)).started

    async def accept(self, name: str, definition: Definition = STEP) -> str:
        await self.store.accept(new_event(f"event-{name}"), [NewRun(f"run-{name}", definition)], at_ms=1)
        return f"run-{name}"


def use(folder: Path, scenario: Callable[[World], Awaitable[None]]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(60):
            await scenario(World(stack, folder))

    asyncio.run(run())


def test_a_claim_gives_a_lease_that_counts_from_before_it_was_asked(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna = await world.host("anna")
        await anna.accept("1")
        (started,) = await anna.claim(asked_s=1000.0)
        assert started.lease_until_s == 1000 + 120 - 0.1 - 5  # the step's grace, and a margin
        [(host, session, lost_after_ms, left_ms)] = world.execute(
            "SELECT host, session, lost_after_ms, lease_until_ms - server_ms() FROM attempts"
        )
        assert (host, session, lost_after_ms) == ("anna", anna.session.session, 120_000)
        assert isinstance(left_ms, int)
        assert 0 < left_ms <= 120_000

    use(tmp_path, test)


def test_a_renewal_names_what_is_held_and_who_is_to_be_canceled(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        for name in "123":
            await anna.accept(name)
        (first,) = await anna.claim()
        (second,) = await anna.claim()
        (third,) = await bert.claim()
        await bert.store.request_cancel(second.run.id, at_ms=3)
        assert await anna.store.cancel_wishes() == [second.run.id]
        assert await bert.store.cancel_wishes() == []
        world.let_leases_end()
        leases = await anna.store.renew(running=2, places=4)
        assert leases is not None
        assert {(held.attempt_id, held.lost_after_ms, held.cancel_requested) for held in leases} == {
            (first.run.id, 120_000, False),
            (second.run.id, 120_000, True),
        }
        assert [lost.left.run.id for lost in await anna.store.expired()] == [third.run.id]
        assert world.execute("SELECT running, places FROM hosts WHERE name = 'anna'") == [(2, 4)]
        await anna.store.finish(first.attempt, DONE, Exit(), Output(), at_ms=4)
        leases = await anna.store.renew(running=1, places=4)
        assert leases is not None
        assert [held.run_id for held in leases] == [second.run.id]

    use(tmp_path, test)


def test_a_lost_attempt_is_declared_once_and_its_own_end_counts_no_more(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert, carl = [await world.host(name) for name in ("anna", "bert", "carl")]
        await anna.accept("1")
        (started,) = await anna.claim()
        assert await bert.store.declare_lost(started.attempt, LOST, at_ms=5, wait=None) is None  # it is held
        world.let_leases_end()
        (lost,) = await bert.store.expired()
        assert (lost.host, lost.lost_after_ms, lost.left.attempt.number) == ("anna", 120_000, 1)
        assert lost.left.definition == STEP
        again = TimeWait(5, 0, "retry", 3)
        both = await asyncio.gather(
            *(host.store.declare_lost(lost.left.attempt, LOST, at_ms=5, wait=again) for host in (bert, carl))
        )
        (run,) = [run for run in both if run is not None]
        assert (run.status, run.waiting_for) == (ProcessStatus.QUEUED, again)
        finished = await anna.store.finish(started.attempt, DONE, Exit(code=0), Output(), at_ms=6)
        assert finished.run.status is ProcessStatus.QUEUED
        assert finished.run.attempts[0].reason is Reason.INTERRUPTED
        leases = await anna.store.renew(running=1, places=4)
        assert leases is not None
        assert leases == []

    use(tmp_path, test)


def test_a_lease_that_was_renewed_after_the_look_is_not_declared_lost(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        await anna.accept("1")
        await anna.claim()
        world.let_leases_end()
        (lost,) = await bert.store.expired()
        await anna.store.renew(running=1, places=4)
        assert await bert.store.declare_lost(lost.left.attempt, LOST, at_ms=5, wait=None) is None
        assert await bert.store.expired() == []

    use(tmp_path, test)


def test_the_next_daemon_of_a_state_folder_has_what_the_last_one_held_and_the_last_one_nothing(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        for name in "12":
            await anna.accept(name)
        (mine,) = await anna.claim()
        await bert.claim()
        again = await world.host("anna")
        assert [left.run.id for left in await again.store.left_running()] == [mine.run.id]
        assert await anna.store.left_running() == []
        assert await anna.store.renew(running=1, places=4) is None
        assert not await anna.store.return_run(mine.run.id, at_ms=5)
        leases = await again.store.renew(running=1, places=4)
        assert leases is not None
        assert [held.run_id for held in leases] == [mine.run.id]

    use(tmp_path, test)


def test_another_host_of_the_name_is_refused_while_the_first_lives_and_gets_nothing_of_it_later(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna = await world.host("anna", host_id="first")
        await anna.accept("1")
        await anna.claim()
        with pytest.raises(NotYetError, match="There is a host anna already"):
            await world.host("anna", host_id="second")
        world.execute("UPDATE hosts SET seen_at_ms = seen_at_ms - 60000")
        other = await world.host("anna", host_id="second")
        assert await other.store.left_running() == []
        assert await anna.store.renew(running=1, places=4) is None
        world.let_leases_end()
        assert len(await other.store.expired()) == 1

    use(tmp_path, test)


def test_what_was_claimed_unheard_is_queued_again_by_its_holder_alone(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        await anna.accept("1")
        (started,) = await anna.claim()
        assert not await bert.store.return_run(started.run.id, at_ms=5)
        assert await anna.store.return_run(started.run.id, at_ms=5)
        (again,) = await bert.claim()
        assert (again.run.id, again.attempt.number) == (started.run.id, 1)
        # The number is another host's now: what is said of the first attempt changes nothing.
        before = await bert.store.run(started.run.id)
        assert not await anna.store.return_run(started.run.id, at_ms=6)
        assert not await anna.store.requeue(started.run.id, at_ms=6)
        await anna.store.note_start(replace(started.attempt, pid=7, cwd="/anna"))
        finished = await anna.store.finish(started.attempt, DONE, Exit(code=0), Output(), at_ms=7)
        assert finished.run == before == await bert.store.run(started.run.id)
        assert (await bert.store.finish(again.attempt, DONE, Exit(code=0), Output(), at_ms=8)).run.status.is_final

    use(tmp_path, test)


def test_a_claim_passes_by_what_others_have_to_start_in_the_order_of_the_queue(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        other = replace(STEP, step_name="other")
        for host, steps in ((anna, {("flow", "step"): STEP}), (bert, {("flow", "other"): other})):
            host.steps = steps
            await host.store.note_abilities(steps)
        runs = [NewRun(f"other-{number}", other, priority=number % 2) for number in range(50)]
        await anna.store.accept(new_event("others"), runs, at_ms=1)
        await anna.accept("1")
        await anna.store.accept(new_event("urgent"), [NewRun("urgent", STEP, priority=3)], at_ms=1)
        assert await anna.store.startable() == (True, None, False)
        assert [one.run.id for one in await anna.claim(5)] == ["urgent", "run-1"]
        assert await anna.claim(5) == ()
        assert await anna.store.startable() == (False, None, False)
        assert await bert.store.startable() == (True, None, False)
        assert [one.run.id for one in await bert.claim(3)] == ["other-1", "other-3", "other-5"]
        assert (await anna.store.counts()).runs["queued"] == 47
        # What it could run a moment ago, by the store, and cannot by now, is left where it is.
        bert.steps = {}
        assert await bert.claim(5) == ()
        assert (await anna.store.counts()).runs["queued"] == 47

    use(tmp_path, test)


def test_a_host_that_has_left_serves_nothing_and_its_name_is_free(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        await anna.store.note_abilities([("flow", "step"), ("flow", "other")])
        await bert.store.note_abilities([("flow", "step")])
        assert await bert.store.served() == (
            {("flow", "step"): ("anna", "bert"), ("flow", "other"): ("anna",)},
            {},
        )
        await anna.store.leave()
        assert await bert.store.served() == ({("flow", "step"): ("bert",)}, {})
        await world.host("anna", host_id="another")

    use(tmp_path, test)


def test_abilities_are_those_that_were_noted_last(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna = await world.host("anna")
        for steps in ([("a", "x"), ("a", "y")], [("a", "y"), ("b", "x")], []):
            await anna.store.note_abilities(steps)
            found = world.execute("SELECT flow_name, step_name FROM host_abilities ORDER BY 1, 2")
            assert found == steps

    use(tmp_path, test)


def test_a_host_is_wanted_to_start_nothing_and_its_daemons_to_come_hear_of_it(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        for host in (anna, bert):
            await host.store.note_abilities([("flow", "step")])
        assert await bert.store.want("anna", is_draining=True)
        assert not await bert.store.want("nobody", is_draining=True)
        assert [host.state for host in await bert.store.known()] == [HostState.DRAINING, HostState.READY]
        assert (await anna.store.startable()).is_held
        assert await bert.store.served() == ({("flow", "step"): ("bert",)}, {("flow", "step"): ("anna",)})
        assert await anna.store.register()
        assert await bert.store.want("anna", is_draining=False)
        assert not await anna.store.register()
        await anna.store.renew(running=1, places=4, is_draining=True)  # as its daemon was told itself
        known, other = await bert.store.known()
        assert (known.state, known.running, known.places, known.labels) == ("draining", 1, 4, ("gpu", "host:anna"))
        assert (known.is_self, other.is_self) == (False, True)
        await anna.store.leave()
        known, _ = await bert.store.known()
        assert (known.state, known.running) == (HostState.GONE, 0)
        assert 0 <= known.silent_ms < 60_000  # since it left
        world.execute("UPDATE hosts SET seen_at_ms = server_ms() - 40000 WHERE name = 'bert'")
        _, known = await bert.store.known()
        assert known.state is HostState.UNREACHABLE

    use(tmp_path, test)


def test_a_host_is_forgotten_only_once_nothing_can_run_there(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        await anna.accept("1")
        (started,) = await anna.claim()
        assert await bert.store.forget("nobody", is_forced=True) is None
        with pytest.raises(HostAliveError, match="heard of 0 s ago"):
            await bert.store.forget("anna", is_forced=False)
        world.execute("UPDATE hosts SET seen_at_ms = server_ms() - 40000 WHERE name = 'anna'")
        with pytest.raises(HostAliveError, match="holds 1 run by leases that are over in 1"):
            await bert.store.forget("anna", is_forced=False)
        assert await bert.store.expired() == []
        world.execute("UPDATE runs SET bound_to = 'anna'")
        assert await bert.store.forget("anna", is_forced=True) == 1
        assert world.execute("SELECT bound_to FROM runs") == [("",)]
        assert [host.name for host in await bert.store.known()] == ["bert"]
        (lost,) = await bert.store.expired()
        assert lost.left.run.id == started.run.id
        assert "its host anna was declared lost" in str(outcome_of(lost).error)
        assert await anna.store.renew(running=1, places=4) is None  # it may go on with nothing
        ended = await bert.store.declare_lost(lost.left.attempt, outcome_of(lost), at_ms=5, wait=None)
        assert ended is not None
        assert ended.reason is Reason.INTERRUPTED

    use(tmp_path, test)


def test_other_hosts_are_told_of_commits_and_none_of_renewals(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        heard: list[str] = []
        news = asyncio.Event()
        anna.store.tell_news(lambda: heard.append("own"))
        bert.store.tell_news(lambda: (heard.append("news"), news.set()))  # type: ignore[func-returns-value]
        await anna.accept("first")
        await news.wait()
        heard.clear()
        for _ in range(50):
            await anna.store.renew(running=0, places=4)
        news.clear()
        await anna.accept("last")
        await news.wait()
        assert 1 <= heard.count("news") < 10  # some may be of when it began to listen
        assert heard.count("own") < 2

    use(tmp_path, test)


def test_each_host_knows_the_notifiers_of_all_that_were_there_lately(tmp_path: Path) -> None:
    mail, chat = NotifyRule("mail", frozenset({"failed", "recovered"}), ("a", "b")), NotifyRule("chat", frozenset())

    async def test(world: World) -> None:
        anna, bert = await world.host("anna"), await world.host("bert")
        await anna.store.note_notifiers([mail])
        await bert.store.note_notifiers([mail, chat])
        assert await anna.store.notify_rules() == [chat, mail, mail]
        await bert.store.note_notifiers([chat])
        assert await anna.store.notify_rules() == [chat, mail]
        world.execute("UPDATE hosts SET seen_at_ms = server_ms() - 86400001 WHERE name = 'bert'")
        assert await anna.store.notify_rules() == [mail]
        await anna.store.forget("bert", is_forced=True)
        world.execute("UPDATE hosts SET seen_at_ms = server_ms()")
        assert await anna.store.notify_rules() == [mail]
        assert world.execute("SELECT host FROM host_notifiers") == [("anna",)]

    use(tmp_path, test)
