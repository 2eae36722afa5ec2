"""Turns between connections, without any socket."""

import asyncio

from flowd.api.calls import Calls, cancelled_id
from flowd.api.turns import FairTurns


def test_one_request_does_not_wait_for_all_of_anothers() -> None:
    async def order() -> list[str]:
        turns = FairTurns()
        begun: list[str] = []

        async def request(owner: str) -> None:
            async with turns.turn(owner):
                begun.append(owner)

        crowd = [asyncio.create_task(request(f"crowd{n % 10}")) for n in range(20_000)]
        await asyncio.sleep(0)
        honest = asyncio.create_task(request("honest"))
        await asyncio.gather(*crowd, honest)
        return begun

    begun = asyncio.run(order())
    assert len(begun) == 20_001
    # Those that began at once, a turn that was being given, and one of each of the others.
    assert begun.index("honest") <= 64 + 64 + 10


def test_a_request_that_is_given_up_takes_no_turn() -> None:
    async def run() -> None:
        turns = FairTurns()

        async def request(owner: str) -> None:
            async with turns.turn(owner):
                pass

        waiting = [asyncio.create_task(request("a")) for _ in range(500)]
        await asyncio.sleep(0)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        async with asyncio.timeout(60):
            await request("b")

    asyncio.run(run())


def test_only_a_notification_with_an_id_is_a_cancellation() -> None:
    assert cancelled_id(b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"a"}}') == "a"
    for other in (
        b'{"jsonrpc":"2.0","method":"$/cancelRequest","params":{}}',
        b'{"jsonrpc":"2.0","method":"$/cancelRequest","id":1,"params":{"id":1}}',
        b'{"jsonrpc":"2.0","method":"flow.dispatch","id":1,"params":{"text":"$/cancelRequest"}}',
        b'["$/cancelRequest"]', b"$/cancelRequest", b'{"method":"$/cancelRequest","params":{"id":[1]}}',
    ):  # fmt: skip
        assert cancelled_id(other) is None


def test_a_call_is_cancelled_by_its_id_and_by_no_other() -> None:
    async def run() -> list[bool]:
        calls = Calls()

        async def wait(request_id: object) -> bool:
            with calls.call(request_id) as outcome:
                await asyncio.sleep(0.05)
            return outcome.is_cancelled

        tasks = [asyncio.create_task(wait(request_id)) for request_id in (1, "1", 2)]
        await asyncio.sleep(0)
        calls.cancel(1, is_waiting=False)
        calls.cancel("none", is_waiting=False)
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [True, False, False]


def test_a_call_that_has_not_begun_is_cancelled_when_it_does() -> None:
    async def run(*, is_forgotten: bool) -> bool:
        calls = Calls()
        calls.cancel(7, is_waiting=True)
        if is_forgotten:
            calls.forget_unwanted()
        with calls.call(7) as outcome:
            await asyncio.sleep(0)
        return outcome.is_cancelled

    assert asyncio.run(run(is_forgotten=False)) is True
    assert asyncio.run(run(is_forgotten=True)) is False


def test_cancellations_of_what_never_comes_do_not_pile_up() -> None:
    async def run(request_id: int) -> bool:
        calls = Calls()
        for number in range(5000):
            calls.cancel(number, is_waiting=True)
        with calls.call(request_id) as outcome:
            await asyncio.sleep(0)
        return outcome.is_cancelled

    assert asyncio.run(run(4999)) is True
    assert asyncio.run(run(0)) is False
