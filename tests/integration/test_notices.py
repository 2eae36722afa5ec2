"""The outbox on a real store, with a clock and senders that do as they are told."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from store_rig import FAILED, OPENERS, Stores, accept, begin

from flowd.domain.errors import NotifierNotFoundError, StorageFullError
from flowd.domain.exit import Exit
from flowd.domain.notices import Notice, NoticeState, NotifyRule, Sent
from flowd.domain.redaction import Redactor
from flowd.domain.stored import Output
from flowd.engine.notices import Notices, Notifier
from flowd.engine.telling import Whereabouts
from flowd.ports import OpenStore

MAIL = NotifyRule("mail", frozenset({"failed"}))
CHAT = NotifyRule("chat", frozenset({"failed"}))
DAY_MS = 24 * 3_600_000


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.ms = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def steady_ms(self) -> int:
        return self.ms


class Sender:
    """Says what it is told to say."""

    def __init__(self, *answers: Sent) -> None:
        self.answers = list(answers)
        self.got: list[Mapping[str, Any]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    target = "somewhere"

    async def send(self, notice_id: str, payload: Mapping[str, Any], *, at_s: int) -> Sent:
        assert payload["id"] == notice_id
        self.got.append(payload)
        await self.may_answer.wait()
        return self.answers.pop(0) if self.answers else Sent(answer="ok")


class World:
    """A store and an outbox."""

    def __init__(self, store: OpenStore) -> None:
        self.store = store
        self.clock = Clock()
        self.notices = self.outbox("here")
        store.tell_side_effects(lambda effects: self.notices.ring() if effects.has_notices else None)

    def outbox(self, host: str, *, gather_s: float = 0.0) -> Notices:
        return Notices(
            store=self.store,
            clock=self.clock,
            redactor=Redactor(),
            where=Whereabouts(host, "/ws"),
            nonce=lambda: "0",
            gather_s=gather_s,
        )

    async def fail(self, name: str) -> None:
        begun = await begin(self.store, await accept(self.store, name))
        await self.store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=self.clock.ms)

    async def all(self) -> list[Notice]:
        return list(reversed((await self.store.notices(limit=100)).items))

    async def states(self) -> list[str]:
        return [notice.state.value for notice in await self.all()]

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        async with asyncio.timeout(60):
            while not await condition():
                await asyncio.sleep(0.01)

    async def until_states(self, *states: str) -> None:
        await self.until(lambda: self._is(list(states)))

    async def _is(self, states: list[str]) -> bool:
        return await self.states() == states

    async def until_tried(self, times: int) -> None:
        async def tried() -> bool:
            notices = await self.all()
            noted = all(one.due_ms > self.clock.ms or one.ended_at_ms is not None for one in notices)
            return sum(one.tries for one in notices) == times and noted

        await self.until(tried)


def use(folder: Path, scenario: Callable[[World], Awaitable[None]], *, works: bool = True) -> None:
    async def run(store: OpenStore) -> None:
        world = World(store)
        if not works:
            await scenario(world)
            return
        work = asyncio.create_task(world.notices.work())
        try:
            await scenario(world)
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    Stores(OPENERS["sqlite"], folder).use(run)


def test_a_failure_is_sent_once_to_each_and_what_came_of_it_is_kept(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail, chat = Sender(), Sender()
        world.notices.use([Notifier(MAIL, mail), Notifier(CHAT, chat)])
        await world.fail("1")
        await world.until_states("sent", "sent")
        assert [payload["eventId"] for payload in (*mail.got, *chat.got)] == ["event-1", "event-1"]
        assert mail.got[0]["id"] != chat.got[0]["id"]
        assert mail.got[0]["host"] == "here"
        assert world.notices.health("mail").sent == 1
        assert await world.notices.problem() is None

    use(tmp_path, test)


def test_a_notice_is_tried_again_later_and_later_and_given_up_after_a_day(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail = Sender(*[Sent("no relay")] * 1000)
        world.notices.use([Notifier(MAIL, mail)])
        await world.fail("1")
        delays_s = []
        for tries in range(1, 100):
            await world.until_tried(tries)
            (notice,) = await world.all()
            if notice.state is NoticeState.FAILED:
                break
            delays_s.append((notice.due_ms - world.clock.ms) // 1000)
            world.clock.ms = notice.due_ms
            world.notices.ring()
        assert delays_s[:10] == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
        assert DAY_MS <= sum(delays_s) * 1000 < DAY_MS + 3_600_000
        assert len({payload["id"] for payload in mail.got}) == 1
        problem = "1 notice given up in the last day; `flowd notices --failed` lists them"
        assert await world.notices.problem() == problem
        mail.answers.clear()
        await world.notices.retry(notice.id)
        await world.until_states("sent")
        assert await world.notices.problem() is None

    use(tmp_path, test)


def test_what_is_gone_for_good_is_given_up_at_once_and_a_receiver_may_ask_for_time(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail = Sender(Sent("gone", is_final=True), Sent("slowly", retry_after_ms=90_000))
        world.notices.use([Notifier(MAIL, mail)])
        await world.fail("1")
        await world.until_states("failed")
        world.clock.ms += 60_000
        await world.fail("2")
        await world.until_tried(2)
        assert (await world.all())[1].due_ms == world.clock.ms + 90_000
        assert "mail could not send 1 notice, and tries again: slowly" in str(await world.notices.problem())

    use(tmp_path, test)


def test_a_notifier_that_hangs_keeps_no_other_waiting(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail, chat = Sender(), Sender()
        mail.may_answer.clear()
        world.notices.use([Notifier(MAIL, mail), Notifier(CHAT, chat)])
        await world.fail("1")
        await world.fail("2")
        await world.until_states("waiting", "sent", "waiting", "sent")
        assert len(mail.got) == 1
        mail.may_answer.set()
        await world.until_states("sent", "sent", "sent", "sent")

    use(tmp_path, test)


def test_after_a_failure_the_others_of_a_notifier_wait_a_little(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail = Sender(Sent("no relay"))
        world.notices.use([Notifier(MAIL, mail)])
        await world.fail("1")
        await world.until_tried(1)
        await world.fail("2")
        await world.states()
        assert len(mail.got) == 1
        world.clock.ms += 1_000
        world.notices.ring()
        await world.until_states("waiting", "sent")

    use(tmp_path, test)


def test_a_fault_of_a_sender_is_a_try_that_came_to_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Sender):
        async def send(self, notice_id: str, payload: Mapping[str, Any], *, at_s: int) -> Sent:
            raise ZeroDivisionError

    async def test(world: World) -> None:
        world.notices.use([Notifier(MAIL, Broken())])
        await world.fail("1")
        await world.until_tried(1)
        assert (await world.all())[0].error == "a fault in flowd: ZeroDivisionError"
        assert "notifier failed" in caplog.messages

    use(tmp_path, test)


def test_a_full_disk_for_the_record_means_another_try_and_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(world: World) -> None:
        mail, note_sent, refused = Sender(), world.store.note_sent, []

        async def full_once(*args: Any, **kwargs: Any) -> bool:
            if not refused:
                refused.append(args)
                raise StorageFullError("full")
            return await note_sent(*args, **kwargs)

        monkeypatch.setattr(world.store, "note_sent", full_once)
        world.notices.use([Notifier(MAIL, mail)])
        await world.fail("1")

        async def was_refused() -> bool:
            return bool(refused)

        await world.until(was_refused)
        assert await world.states() == ["waiting"]
        world.clock.ms += 120_001  # nobody holds it any more
        world.notices.ring()
        await world.until_states("sent")
        assert [payload["id"] for payload in mail.got] == [mail.got[0]["id"]] * 2

    use(tmp_path, test)


def test_who_comes_after_a_daemon_of_the_same_host_sends_at_once_what_that_held(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        held, mail = Sender(), Sender()
        held.may_answer.clear()
        world.notices.use([Notifier(MAIL, held)])
        first = asyncio.create_task(world.notices.work())
        await world.fail("1")

        async def is_held() -> bool:
            return bool(held.got)

        await world.until(is_held)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert await world.states() == ["waiting"]
        claimed, _ = await world.store.claim_notices(["mail"], "elsewhere", steady_ms=world.clock.ms, hold_ms=120_000)
        assert claimed.notices == ()
        world.notices = world.outbox("here")
        world.notices.use([Notifier(MAIL, mail)])
        second = asyncio.create_task(world.notices.work())
        await world.until_states("sent")
        assert (len(held.got), len(mail.got)) == (1, 1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    use(tmp_path, test, works=False)


def test_another_host_takes_over_what_one_that_is_gone_held(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail = Sender()
        world.notices.use([Notifier(MAIL, mail)])
        await world.fail("1")
        await world.store.claim_notices(["mail"], "gone", steady_ms=world.clock.ms, hold_ms=120_000)
        work = asyncio.create_task(world.notices.work())
        await world.states()
        assert mail.got == []
        world.clock.ms += 120_000
        world.notices.ring()
        await world.until_states("sent")
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    use(tmp_path, test, works=False)


def test_a_test_goes_out_at_once_and_leaves_no_notice(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail = Sender(Sent("no relay"))
        world.notices.use([Notifier(MAIL, mail)])
        assert (await world.notices.test("mail")).problem == "no relay"
        assert mail.got[0]["type"] == "flowd.test"
        assert await world.all() == []
        with pytest.raises(NotifierNotFoundError):
            await world.notices.test("chat")

    use(tmp_path, test)


def test_without_notifiers_the_store_is_not_asked(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        before = world.store.commits
        world.notices.ring()
        await asyncio.sleep(0)
        assert await world.notices.problem() is None
        await world.states()
        assert world.store.commits == before
        await world.fail("1")
        assert await world.states() == []

    use(tmp_path, test)


def test_at_a_stop_what_is_new_is_sent_at_once_and_what_hangs_is_left(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail, chat = Sender(), Sender()
        chat.may_answer.clear()
        world.notices = world.outbox("here", gather_s=1000.0)
        world.notices.use([Notifier(MAIL, mail), Notifier(CHAT, chat)])
        work = asyncio.create_task(world.notices.work())
        for name in "123":
            await world.fail(name)
        stop = asyncio.create_task(world.notices.settle(bound_s=1000.0))

        async def are_sent() -> bool:
            return len(mail.got) == 3 and len(chat.got) == 1

        await world.until(are_sent)
        assert not stop.done()
        chat.may_answer.set()
        await stop
        assert await world.states() == ["sent"] * 6
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    use(tmp_path, test, works=False)


def test_a_stop_does_not_wait_for_a_notifier_that_hangs(tmp_path: Path) -> None:
    async def test(world: World) -> None:
        mail = Sender()
        mail.may_answer.clear()
        world.notices.use([Notifier(MAIL, mail)])
        await world.fail("1")
        work = asyncio.create_task(world.notices.work())
        await world.notices.settle(bound_s=0.1)
        assert await world.states() == ["waiting"]
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)

    use(tmp_path, test, works=False)
