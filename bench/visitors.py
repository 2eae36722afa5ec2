"""Open pages, as the script in them behaves: each hears that something has happened, and asks for itself anew.

A program of its own, with the standard library alone. A real browser would draw all of them, on the processors that the
daemon is measured on.

    python -I -S visitors.py HOST PORT PATH…

opens a page of each path, says so on stdout, and at the end of stdin tells how often pages were asked for.
"""

import asyncio
import sys
import time
from dataclasses import dataclass

_MAX_PAUSE_S = 30.0
_PAUSE = 4
"""A page that took so long is not asked for again for four times that."""


@dataclass
class Visits:
    """How often pages were asked for, and how many bytes they were."""

    looks: int = 0
    size_bytes: int = 0


async def look(host: str, port: int, path: str, mark: str) -> int:
    """Ask for a page; its size."""
    reader, writer = await asyncio.open_connection(host, port)
    asked = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n"
    if mark:
        asked += f"X-Flowd-Part: {mark}\r\n"
    writer.write(f"{asked}\r\n".encode())
    answer = await reader.read(-1)
    writer.close()
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(answer[:200].decode())
    return len(answer)


async def visit(host: str, port: int, path: str, visits: Visits, opened: asyncio.Event) -> None:
    """Keep a page open for ever."""
    await look(host, port, path, "")
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET /ui/changes HTTP/1.1\r\nHost: {host}:{port}\r\nAccept: text/event-stream\r\n\r\n".encode())
    wanted: asyncio.Queue[str] = asyncio.Queue(1)
    asking = asyncio.create_task(_look_again(host, port, path, visits, wanted))
    is_mark = False
    while line := (await reader.readline()).strip():
        pass  # the head
    while line := await reader.readline():
        text = line.strip()
        if text.startswith(b"event: "):
            is_mark = text == b"event: mark"
        elif text.startswith(b"data: ") and is_mark:
            opened.set()
            if wanted.full():
                wanted.get_nowait()
            wanted.put_nowait(text[6:].decode())
    asking.cancel()
    raise ConnectionError("the daemon hung up")


async def _look_again(host: str, port: int, path: str, visits: Visits, wanted: "asyncio.Queue[str]") -> None:
    while True:
        mark = await wanted.get()
        began_s = time.monotonic()
        visits.size_bytes += await look(host, port, path, mark)
        visits.looks += 1
        await asyncio.sleep(min(_MAX_PAUSE_S, _PAUSE * (time.monotonic() - began_s)))


async def main(host: str, port: int, paths: list[str]) -> None:
    """Open them all, and leave when stdin ends."""
    visits, opened = Visits(), [asyncio.Event() for _ in paths]
    pages = [
        asyncio.create_task(visit(host, port, path, visits, event)) for path, event in zip(paths, opened, strict=True)
    ]
    waiting = asyncio.gather(*(event.wait() for event in opened))
    await asyncio.wait([waiting, *pages], return_when=asyncio.FIRST_COMPLETED)
    if not waiting.done():
        next(page for page in pages if page.done()).result()
    print("open", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for page in pages:
        if page.done():
            page.result()
        page.cancel()
    print(visits.looks, visits.size_bytes, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:]))
