"""Following both streams in the order in which they were printed, on a step that prints while it is read."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from flowd.keeper import stream_order
from flowd_client import wire
from flowd_client.errors import InvalidCallError
from flowd_client.ordered import followed
from flowd_client.request import Request, Stream
from flowd_client.views.output import OutputView
from flowd_client.views.run import RunView, read_run

STREAMS = ("stdout", "stderr")


class Step:
    """What a daemon knows of a step that prints its pieces between the calls."""

    def __init__(self, printed: list[tuple[Stream, bytes]], random: Random, *, has_turns: bool = True) -> None:
        self.left = list(printed)
        self.there: list[tuple[Stream, bytes]] = []
        self.random = random
        self.has_turns = has_turns
        self.calls = 0

    def print_some(self, at_least: int = 0) -> None:
        count = max(at_least, self.random.choice((0, 0, 1, 1, 2, 5)))
        self.there += self.left[:count]
        del self.left[:count]

    def so_far(self, stream: str) -> bytes:
        return b"".join(data for of, data in self.there if of == stream)

    def answer(self, request: Request[Any]) -> OutputView | RunView:
        self.calls += 1
        assert self.calls < 10_000, "it reads on and on"
        asked = request.params
        if request.method == wire.WAIT_RUN:
            status = "running" if self.left else "completed"
            return read_run({"run": {"id": "r", "status": status, "processStatus": status, "attemptCount": 1}})
        if asked.get("turns") and not self.has_turns:
            raise InvalidCallError(-32602, "invalid_params", "Unknown parameter 'turns'.")
        stream, offset = asked["stream"], asked["offset"]
        self.print_some()
        other = STREAMS[1 - STREAMS.index(stream)]
        while asked.get("waitMs") and self.left and len(self.so_far(stream)) <= offset:
            if len(self.so_far(other)) > asked.get("otherOffset", 1 << 40):
                break
            self.print_some(1)
        whole = self.so_far(stream)
        most = self.random.choice((asked.get("maxBytes") or 99, 3))
        data = whole[offset : offset + min(most, asked.get("maxBytes") or 99)]
        end = offset + len(data)
        is_end = not self.left and end >= len(whole)
        self.print_some()  # what comes now is in no answer but may be in the turns
        turns = stream_order.turns([(of, len(piece)) for of, piece in self.there], stream, offset, end)
        return OutputView(
            text="", data=data, offset=offset, next_offset=end, size=len(whole), is_end=is_end,
            turns=tuple(turns) if asked.get("turns") else (),
        )  # fmt: skip


def heard(step: Step, **asked: Any) -> Iterator[tuple[Stream, bytes]]:
    plan = followed("r", **asked)
    found = next(plan, None)
    while found is not None:
        try:
            if not isinstance(found, Request):
                yield found
                found = next(plan, None)
                continue
            try:
                answer = step.answer(found)
            except InvalidCallError as error:
                found = plan.throw(error)
            else:
                found = plan.send(answer)
        except StopIteration:
            return


def joined(pieces: Iterator[tuple[Stream, bytes]] | list[tuple[Stream, bytes]]) -> list[tuple[Stream, bytes]]:
    """Neighbours of one stream as one piece."""
    found: list[tuple[Stream, bytes]] = []
    for stream, data in pieces:
        if found and found[-1][0] == stream:
            data = found.pop()[1] + data  # noqa: PLW2901
        found.append((stream, data))
    return found


@pytest.mark.parametrize("seed", range(60))
@pytest.mark.parametrize("attempt", [None, 1])
def test_both_streams_come_in_the_order_in_which_they_were_printed(seed: int, attempt: int | None) -> None:
    random = Random(seed)
    printed: list[tuple[Stream, bytes]] = [
        (random.choice(STREAMS), f"{n} ".encode() * random.choice((1, 1, 4)))  # type: ignore[arg-type]
        for n in range(random.choice((0, 1, 2, 30)))
    ]
    assert joined(heard(Step(printed, random), attempt=attempt)) == joined(printed)


def part(
    data: bytes, at: int, *, size: int, turns: tuple[tuple[int, int], ...] = (), is_end: bool = False
) -> OutputView:
    return OutputView(
        text="", data=data, offset=at, next_offset=at + len(data), size=size, is_end=is_end, turns=turns
    )  # fmt: skip


def test_what_came_behind_more_of_stdout_waits_for_that() -> None:
    plan = followed("r", attempt=1)
    answers = [
        ("stdout", part(b"", 0, size=0)),  # stderr has grown
        ("stderr", part(b"ab", 0, size=2)),
        ("stdout", part(b"X", 0, size=2, turns=((0, 1),))),  # a was printed before it, and more of stdout before b
        ("stdout", part(b"Y", 1, size=2, turns=((1, 1),))),
        ("stdout", part(b"", 2, size=2, is_end=True)),
        ("stdout", part(b"", 2, size=2, is_end=True)),
        ("stderr", part(b"", 2, size=2, is_end=True)),
    ]
    told = []
    step = next(plan, None)
    while answers or not isinstance(step, Request):
        if isinstance(step, Request):
            stream, answer = answers.pop(0)
            assert step.params["stream"] == stream
            try:
                step = plan.send(answer)
            except StopIteration:
                break
        else:
            assert step is not None
            told.append(step)
            step = next(plan, None)
            if step is None:
                break
    assert joined(told) == [("stderr", b"a"), ("stdout", b"XY"), ("stderr", b"b")]


def test_a_daemon_that_tells_no_order_is_read_whole() -> None:
    printed: list[tuple[Stream, bytes]] = [("stderr", b"a"), ("stdout", b"b"), ("stderr", b"c"), ("stdout", b"d")]
    told = list(heard(Step(printed, Random(1), has_turns=False)))
    for stream in STREAMS:
        assert b"".join(data for of, data in told if of == stream) == {"stdout": b"bd", "stderr": b"ac"}[stream]


class Masked(Step):
    """A step whose daemon shows ``***`` in place of what it printed on stderr."""

    def answer(self, request: Request[Any]) -> OutputView | RunView:
        view = super().answer(request)
        if isinstance(view, OutputView) and request.params["stream"] == "stderr" and view.data:
            return OutputView(
                **{
                    **{
                        name: getattr(view, name)
                        for name in ("text", "offset", "next_offset", "size", "is_end", "turns")
                    },
                    "data": b"***",
                }
            )
        return view


@pytest.mark.parametrize("seed", range(10))
def test_what_is_masked_comes_once_and_all_of_the_other_stream(seed: int) -> None:
    printed: list[tuple[Stream, bytes]] = [("stdout", b"one "), ("stderr", b"secret"), ("stdout", b"two ")] * 3
    told = list(heard(Masked(printed, Random(seed))))
    assert b"".join(data for of, data in told if of == "stdout") == b"one two " * 3
    assert all(data == b"***" for of, data in told if of == "stderr")
    assert ("stderr", b"***") in told
