"""Who is told of which end, and who is asked to look again."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Run
from flowd.domain.waiting import KeyWait, NeedsWait, WaitingFor
from flowd.engine.completions import Completions

RUN = Run("r", "e", "flow", 1, "step", "exec", "sha256:0", ProcessStatus.QUEUED, 1, 1)
ENDED = replace(RUN, status=ProcessStatus.COMPLETED)
ASKS = replace(ENDED, id="asks", result=FlowResult("blocked", '{"status":"blocked"}'))


def waits(name: str, waiting: WaitingFor, event: str = "e") -> Run:
    return replace(RUN, id=name, event_id=event, waiting_for=waiting)


def in_loop(use: Callable[[Completions], None]) -> None:
    async def run() -> None:
        use(Completions())

    asyncio.run(run())


def test_who_expects_an_end_is_told_of_it_and_who_watches_of_any() -> None:
    def use(completions: Completions) -> None:
        ended, other, watch = completions.expect("r"), completions.expect("other"), completions.watch()
        completions.begin([RUN])
        assert completions.is_pending("r")
        completions.tell(ENDED)
        assert (ended.result(), other.done(), watch.done()) == (ENDED, False, True)
        assert not completions.is_pending("r")

    in_loop(use)


def test_what_waits_for_others_is_not_known_to_go_on() -> None:
    def use(completions: Completions) -> None:
        completions.begin([waits("needs", NeedsWait(("a",))), ENDED])
        assert not completions.is_pending("needs")
        assert not completions.is_pending("r")

    in_loop(use)


def test_a_question_lets_those_look_again_that_may_wait_for_its_answer() -> None:
    def use(completions: Completions) -> None:
        names = ("needs", "elsewhere", "key", "plain")
        needs, elsewhere, key, plain = [completions.expect(name) for name in names]
        completions.belongs(waits("needs", NeedsWait(("a",))))
        completions.belongs(waits("elsewhere", NeedsWait(("a",)), event="other"))
        completions.belongs(waits("key", KeyWait("g", "[]", "holder", 0), event="other"))
        completions.tell(ASKS)
        assert [one.done() for one in (needs, elsewhere, key, plain)] == [True, False, True, False]
        assert needs.result() is None

    in_loop(use)


def test_a_pause_lets_everybody_look_again_and_trust_nothing_of_before() -> None:
    def use(completions: Completions) -> None:
        completions.begin([RUN])
        expected, watch = completions.expect("r"), completions.watch()
        completions.stir()
        assert (expected.result(), watch.done(), completions.is_pending("r")) == (None, True, False)

    in_loop(use)


def test_what_is_queued_once_more_is_looked_at_again() -> None:
    def use(completions: Completions) -> None:
        completions.begin([RUN])
        expected, other = completions.expect("r"), completions.expect("other")
        completions.again("r")
        assert (expected.result(), other.done(), completions.is_pending("r")) == (None, False, False)
        completions.drop("r", expected)
        completions.drop("other", other)
        assert other.cancelled()

    in_loop(use)
