"""Makes costly checks for the engine: one after the other in one worker process, while the event loop goes on."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from flowd.catalog.schema_process import SchemaProcess
from flowd.domain.matching import Answer, Answers
from flowd.domain.payload_check import SchemaSource


class SchemaChecks:
    """Implements `flowd.ports.PayloadChecks`. Starts neither a thread nor a process before the first costly check."""

    def __init__(self, *, budget_s: float) -> None:
        """``budget_s``: CPU time that the costly checks of one event may take, in all."""
        self._budget_s = budget_s
        self._process = SchemaProcess()
        # It only waits. The loop's own threads must not all wait behind a queue of events.
        self._thread = ThreadPoolExecutor(1, "flowd-checks")

    async def check(self, sources: Sequence[SchemaSource], body: bytes) -> Answers:
        """The answers to these checks of an event's payload, each of them once."""
        try:
            working = asyncio.get_running_loop().run_in_executor(
                self._thread, lambda: self._process.check(sources, body, budget_s=self._budget_s)
            )
        except RuntimeError as error:  # closed already, or the user has as many threads as it may
            return {source.key: Answer(None, f"no check can be made now: {error}") for source in sources}
        return await working

    async def close(self) -> None:
        """End the process. Checks under way are answered as undecided. May be called twice."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._process.close()
        self._thread.shutdown()
