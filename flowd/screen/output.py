"""Follows the output of one attempt: its end, then what comes, in the order in which both streams were printed."""

from collections.abc import Callable, Iterator

from flowd_client.aio import AsyncFlowClient
from flowd_client.views.output import OutputView
from flowd_client.wire import STREAMS, Stream

TAIL_BYTES = 256 * 1024
"""Of what a stream has printed before, no more than this is shown."""

Sink = Callable[[Stream, bytes], None]


async def follow(client: AsyncFlowClient, run_id: str, attempt: int, sink: Sink) -> None:
    """Hand the output over piece by piece until the attempt has ended and all of it is read.

    Raises:
        FlowClientError: Any of its tree; what was handed over before is told again by the next call.
    """
    out, errors = await _printed(client, run_id, attempt)
    for stream, data in in_order(out, errors):
        sink(stream, data)
    after = (attempt, out.next_offset, errors.next_offset)
    async for stream, data in client.follow_output_bytes(run_id, attempt=attempt, after=after):
        sink(stream, data)


async def _printed(client: AsyncFlowClient, run_id: str, attempt: int) -> tuple[OutputView, OutputView]:
    """The ends of stdout and stderr, as far as they are printed by now."""

    async def part(stream: Stream, offset: int, max_bytes: int, *, turns: bool = False) -> OutputView:
        return await client.read_output(
            run_id, stream=stream, offset=offset, attempt=attempt, encoding="base64", max_bytes=max_bytes, turns=turns
        )

    sizes = [(await part(stream, 0, 1)).size for stream in STREAMS]
    out = await part("stdout", max(0, sizes[0] - TAIL_BYTES), TAIL_BYTES, turns=True)
    begins_at = out.turns[0][1] if out.turns else 0
    return out, await part("stderr", max(begins_at, sizes[1] - TAIL_BYTES), TAIL_BYTES)


def in_order(out: OutputView, errors: OutputView) -> Iterator[tuple[Stream, bytes]]:
    """Parts of both streams as they were printed, as far as ``out`` tells the turns; else one after the other.

    Bytes of a part with a mask in it have other places than they had in the stream: its order is not known.
    """
    is_exact = all(len(part.data) == part.next_offset - part.offset for part in (out, errors))
    turns = out.turns if is_exact and out.turns else ((out.offset, errors.offset),)
    ends = [*(own for own, _ in turns[1:]), out.next_offset]
    done, told = 0, 0
    for (_, other), end in zip(turns, ends, strict=True):
        if data := errors.data[told : max(0, other - errors.offset)]:
            told += len(data)
            yield "stderr", data
        upto = end - out.offset if is_exact else len(out.data)
        if data := out.data[done:upto]:
            done += len(data)
            yield "stdout", data
    if data := errors.data[told:]:
        yield "stderr", data
