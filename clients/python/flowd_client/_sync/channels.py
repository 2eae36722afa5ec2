"""JSON-RPC calls of the blocking client: each over a connection of its own. Written by hand."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flowd_client._core.deadline import Deadline
from flowd_client._core.jsonrpc import Conversation, LostError, NotSentError, answers, read_result, refuses_connection
from flowd_client._core.pool import Pool
from flowd_client._sync.stream import Stream
from flowd_client.errors import CallError, TimedOutError

_LAST_WORDS_S = 1.0
"""How long a connection that takes no more is listened to for the reason."""


class Channel:
    """A daemon's connection, used by one call at a time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._conversation = Conversation()
        self.close = stream.close

    def is_quiet(self) -> bool:
        return not self._conversation.has_unread and self._stream.is_quiet()

    def call(self, method: str, params: Mapping[str, Any], limit: Deadline) -> Any:
        self._stream.limit = limit
        request_id, frame = self._conversation.request(method, params)
        try:
            self._stream.send(frame)
        except OSError as error:
            self._hear_last_words()
            raise NotSentError from error
        while not answers(message := self._message(), request_id):
            pass
        return read_result(message)

    def _message(self) -> dict[str, Any]:
        while (message := self._conversation.message()) is None:
            try:
                data = self._stream.receive()
            except OSError as error:
                raise LostError from error
            if not data:
                raise LostError
            self._conversation.feed(data)
        return message

    def _hear_last_words(self) -> None:
        """Raise what the daemon said before it closed (too many connections, say), if it said anything."""
        self._stream.limit = Deadline("", _LAST_WORDS_S)
        try:
            message = self._message()
        except (LostError, TimedOutError):
            return
        if refuses_connection(message):
            read_result(message)


class Channels:
    """Carries each call over a connection of its own, so that a wait never delays the cancel that would end it."""

    def __init__(self, locate: Callable[[], Path], server_uid: int | None) -> None:
        """``locate`` is asked for the path at each connection."""
        self._locate = locate
        self._server_uid = server_uid
        self._pool: Pool[Channel] = Pool()

    def call(self, method: str, params: Mapping[str, Any], limit: Deadline) -> Any:
        """Send a request once. Raises `LostError` and the `FlowClientError` tree."""
        epoch = self._pool.epoch
        channel = self._pool.take() or Channel(Stream.to_socket(self._locate(), limit, self._server_uid))
        try:
            result = channel.call(method, params, limit)
        except CallError:
            self._pool.put_back(channel, epoch)
            raise
        except BaseException:
            # A late response must not be taken for the next call's, so this connection is of no more use.
            channel.close()
            raise
        self._pool.put_back(channel, epoch)
        return result

    def close(self) -> None:
        """Close every idle connection now, and those in use when their calls have been answered."""
        self._pool.clear()
