"""Calls a local client's function with what steps write, as they write it."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flowd_client import wire
from flowd_client.aio_updates import AsyncUpdateStream
from flowd_client.errors import FlowClientError
from flowd_client.follow import Follower

log = logging.getLogger("flowd.embedded")

OnOutput = Callable[[str, str, str], None]
"""``(run_id, stream, text)``."""


class LocalBackend(Protocol):
    """Answers calls for as long as it is open. Lives in one event loop."""

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """One call's result. Raises the `FlowClientError` tree."""
        ...

    async def stream(self, params: Mapping[str, Any]) -> AsyncUpdateStream:
        """Updates from now on, or after a cursor. Raises the `FlowClientError` tree."""
        ...

    async def close(self) -> None:
        """Close everything. A later call opens it again."""
        ...


class CallbackBackend:
    """A backend that calls a function with what its new runs write, of a dispatch or a replay.

    A call that waits for runs returns after everything they wrote has been told. A function that raises is not called
    again for that run; its error is logged.
    """

    def __init__(self, backend: LocalBackend, on_output: OnOutput) -> None:
        self._backend = backend
        self._on_output = on_output
        self._tasks: set[asyncio.Task[None]] = set()

    async def call(self, method: str, params: Mapping[str, Any]) -> Any:
        """As `LocalBackend.call`."""
        if method not in (wire.DISPATCH, wire.REPLAY):
            return await self._backend.call(method, params)
        is_waiting = params.get("wait") is True
        timeout_ms = params.get("timeoutMs")
        given = {name: value for name, value in params.items() if name not in ("wait", "timeoutMs")}
        response = await self._backend.call(method, given)
        followers = [] if response["status"] == "duplicate" else [self._follow(run_id) for run_id in response["runIds"]]
        if not is_waiting:
            return response
        limit = {} if timeout_ms is None else {"timeoutMs": timeout_ms}
        response = await (self._wait_for_tree if params.get("tree") is True else self._wait)(response, limit)
        if not response["timedOut"]:
            await asyncio.gather(*followers, return_exceptions=True)
        return response

    async def stream(self, params: Mapping[str, Any]) -> AsyncUpdateStream:
        """As `LocalBackend.stream`."""
        return await self._backend.stream(params)

    async def _wait(self, response: dict[str, Any], limit: dict[str, Any]) -> dict[str, Any]:
        waits = (self._backend.call(wire.WAIT_RUN, {"runId": run_id, **limit}) for run_id in response["runIds"])
        ended = await asyncio.gather(*waits)
        runs = [item["run"] for item in ended]
        return {**response, "runs": runs, "timedOut": any(item["timedOut"] for item in ended)}

    async def _wait_for_tree(self, response: dict[str, Any], limit: dict[str, Any]) -> dict[str, Any]:
        asked = {"eventId": response["eventId"], "tree": True, **limit}
        waited = await self._backend.call(wire.WAIT_EVENT, asked)
        runs = [(await self._backend.call(wire.GET_RUN, {"runId": run_id}))["run"] for run_id in response["runIds"]]
        return {**response, "runs": runs, "timedOut": waited["timedOut"], "state": waited["state"]}

    def _follow(self, run_id: str) -> asyncio.Task[None]:
        task = asyncio.create_task(self._tell(run_id), name=f"flowd-local-output {run_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _tell(self, run_id: str) -> None:
        follower = Follower(run_id, "utf-8")
        try:
            while True:
                if (part := follower.next_part()) is not None:
                    output = part.read(await self._backend.call(part.method, part.params))
                    if (stream := follower.take_part(output)) is not None:
                        self._on_output(run_id, stream, output.text)
                elif (look := follower.next_look()) is not None:
                    follower.take_look(look.read(await self._backend.call(look.method, look.params)))
                else:
                    return
        except FlowClientError as error:
            log.warning("output is not told any more", extra={"run_id": run_id, "error": error.message})
        except Exception:
            log.exception("on_output failed", extra={"run_id": run_id})

    async def close(self) -> None:
        """As `LocalBackend.close`. Output that has not been passed on yet is dropped."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._backend.close()
