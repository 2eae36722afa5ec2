"""What is shown of steps that are only tried out."""

import asyncio
import doctest
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from flowd.cli import audience
from flowd.cli.audience import Watcher, end_of, is_bad
from flowd.domain.result import FlowResult
from flowd.domain.run import ProcessStatus, Reason, Run
from flowd.embedded import Sent, in_order
from flowd.engine.tails import OutputChunk
from flowd.engine.updates import Update
from flowd_client.wire import Stream


def run(step: str = "main", status: ProcessStatus = ProcessStatus.COMPLETED, **more: object) -> Run:
    base = Run(f"run_{step}", "e", "f", 1, step, "exec", "sha256:0", status, 0, 0)
    return replace(base, **{"attempt_count": 1, **more})  # type: ignore[arg-type]


def chunk(stream: Stream, data: bytes, offset: int = 0, run_id: str = "run_1") -> Update:
    return Update(1, 0, chunk=OutputChunk(run_id, 1, stream, offset, data, offset + len(data)))


async def told(updates: list[Update], turns: list[tuple[int, int]]) -> list[bytes]:
    async def given() -> AsyncIterator[Update]:
        for update in updates:
            yield update

    async def turned(_: OutputChunk) -> list[tuple[int, int]]:
        return turns

    found = [update async for update in in_order.in_order(given(), turned)]
    return [b"-" if update.chunk is None else update.chunk.data for update in found]


def test_chunks_of_both_streams_that_come_together_are_put_into_their_order() -> None:
    both = [chunk("stdout", b"1 3 "), chunk("stderr", b"2 4 "), Update(2, 0)]
    assert asyncio.run(told(both, [(0, 0), (2, 2)])) == [b"1 ", b"2 ", b"3 ", b"4 ", b"-"]
    first = [chunk("stdout", b"2 "), chunk("stderr", b"1 ")]
    assert asyncio.run(told(first, [(0, 2)])) == [b"1 ", b"2 "]


def test_chunks_that_do_not_belong_together_stay_as_they_are() -> None:
    others = [chunk("stdout", b"a"), chunk("stderr", b"b", run_id="run_2"), chunk("stderr", b"c"), Update(2, 0)]
    assert asyncio.run(told(others, [(0, 1)])) == [b"a", b"b", b"c", b"-"]
    assert asyncio.run(told([chunk("stdout", b"a")], [])) == [b"a"]
    masked = replace(chunk("stderr", b"***"), chunk=OutputChunk("run_1", 1, "stderr", 0, b"***", 9))
    assert asyncio.run(told([chunk("stdout", b"a"), masked, Update(2, 0)], [(0, 9)])) == [b"a", b"***", b"-"]


class Screen:
    def __init__(self, *, is_terminal: bool = False, steps: Sequence[str] = ()) -> None:
        self.text = b""
        self.watcher = Watcher(self.write, self.note, is_terminal=is_terminal, steps=steps)

    def write(self, _: Stream, data: bytes) -> None:
        self.text += data

    def note(self, line: str) -> None:
        self.text += f"[{line}]\n".encode()


def test_the_examples_of_the_modules_hold() -> None:
    assert doctest.testmod(audience).failed == 0
    assert doctest.testmod(in_order).failed == 0


def test_one_step_is_shown_byte_for_byte() -> None:
    screen = Screen()
    screen.watcher.begins(run())
    screen.watcher.writes(run(), "stdout", b"\x1b[1mbo")
    screen.watcher.writes(run(), "stderr", b"ld\xff\n")
    screen.watcher.ends(run())
    assert screen.text == b"\x1b[1mbold\xff\n[f/main completed]\n"


def test_a_line_of_ours_begins_a_line_of_its_own() -> None:
    screen = Screen()
    screen.watcher.begins(run())
    screen.watcher.writes(run(), "stdout", b"no end")
    screen.watcher.sent(Sent("e1", "t", "f/main"))
    assert screen.text.startswith(b"no end\n[f/main sent ")


def test_from_the_second_step_on_lines_are_behind_their_names() -> None:
    screen = Screen()
    screen.watcher.begins(run("a"))
    screen.watcher.writes(run("a"), "stdout", b"alone\nbegun")
    screen.watcher.begins(run("other"))
    screen.watcher.writes(run("other"), "stdout", b"o")
    screen.watcher.writes(run("a"), "stdout", b"more\n")
    screen.watcher.writes(run("other"), "stdout", b"ne\n")
    assert screen.text == b"alone\nbegun\nf/a     | more\nf/other | one\n"


def test_of_several_that_are_to_come_the_first_one_is_behind_its_name_too() -> None:
    screen = Screen(steps=["f/a", "f/other"])
    screen.watcher.begins(run("a"))
    screen.watcher.writes(run("a"), "stdout", b"first\n")
    screen.watcher.begins(run("other"))
    screen.watcher.writes(run("other"), "stdout", b"second\n")
    assert screen.text == b"f/a     | first\nf/other | second\n"


def test_one_that_is_to_come_is_shown_as_it_is() -> None:
    screen = Screen(steps=["f/a"])
    screen.watcher.begins(run("a"))
    screen.watcher.writes(run("a"), "stdout", b"first\n")
    assert screen.text == b"first\n"


def test_a_terminal_gets_no_progress_and_nothing_to_obey() -> None:
    screen = Screen(is_terminal=True)
    screen.watcher.begins(run())
    screen.watcher.writes(run(), "stdout", b'a\x07\nFLOW_PROGRESS {"percent": 1}\nb\n')
    screen.watcher.ends(run())
    assert screen.text == b"a\\x07\nb\n[f/main completed]\n"


def test_a_step_that_was_never_started_has_an_end_all_the_same() -> None:
    screen = Screen()
    screen.watcher.ends(run(status=ProcessStatus.FAILED, attempt_count=0, error="Step f/main was not started: why"))
    assert screen.text == b"[f/main failed: was not started: why]\n"


@pytest.mark.parametrize(
    ("ended", "said", "bad"),
    [
        (
            run(result=FlowResult("changed", '{"status":"changed","message":"new\\nlines"}')),
            "f/main changed: new",
            False,
        ),
        (run(result=FlowResult("blocked", '{"status":"blocked"}')), "f/main blocked", True),
        (run(result=FlowResult("failed", '{"status":"failed"}')), "f/main failed", True),
        (
            run(
                status=ProcessStatus.FAILED,
                reason=Reason.EXIT,
                attempt_count=3,
                error="Step f/main exited with 3\nstderr:\n  Traceback\n  ValueError: nope",
            ),
            "f/main failed after 3 attempts: ValueError: nope (exit code 3)",
            True,
        ),
        (run(status=ProcessStatus.CANCELED), "f/main canceled", True),
    ],
)
def test_the_end_of_a_run_is_a_line(ended: Run, said: str, bad: bool) -> None:
    assert end_of(ended) == said
    assert is_bad(ended) is bad
