"""A subscription as a pure state machine: what to ask for, and after a lost connection, what to go on from."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowd_client.errors import of_answer
from flowd_client.wire import OLDEST


class Subscription:
    """What was asked for, the cursor of the last update, and how far the output of attempts under way was read."""

    def __init__(
        self, *, topics: Sequence[str] | None, run_id: str | None, event_id: str | None, after: str | None
    ) -> None:
        self.cursor = after
        self._wanted: dict[str, Any] = {}
        if topics is not None:
            self._wanted["topics"] = list(topics)
        if run_id is not None:
            self._wanted["runId"] = run_id
        if event_id is not None:
            self._wanted["eventId"] = event_id
        self._places: dict[tuple[str, int], dict[str, int]] = {}
        self._ended: dict[tuple[str, int, str], str] = {}

    @property
    def params(self) -> dict[str, Any]:
        """Of flow.subscribe, now."""
        if self.cursor is None:
            return self._wanted
        places = [{"runId": run_id, "attempt": attempt, **at} for (run_id, attempt), at in self._places.items()]
        return {**self._wanted, "after": self.cursor, **({"places": places} if places else {})}

    def take_answer(self, answer: Any) -> None:
        """Note the answer of flow.subscribe."""
        if self.cursor in (None, OLDEST) and isinstance(answer, dict):
            self.cursor = answer.get("cursor")

    def take(self, update: Mapping[str, Any]) -> bool:
        """Note an update. Returns whether it tells something.

        Raises:
            CallError: The daemon ended the subscription (`CursorExpiredError` where this reader was too slow).
        """
        if update.get("kind") == "ended":
            raise of_answer(update.get("error"))
        cursor = update.get("cursor")
        if isinstance(cursor, str) and cursor != self.cursor:
            self.cursor = cursor
            self._forget_ended(cursor)
        if update.get("kind") == "output":
            return self._take_output(update)
        return True

    def _take_output(self, update: Mapping[str, Any]) -> bool:
        run_id, attempt, stream = str(update.get("runId")), int(update.get("attempt", 1)), str(update.get("stream"))
        place = self._places.setdefault((run_id, attempt), {"stdout": 0, "stderr": 0})
        place[stream] = int(update.get("nextOffset", 0))
        if not update.get("eof"):
            return True
        # Its place is of use until the cursor has passed the attempt's end: before that, a daemon that is asked to
        # go on would tell all of its output again. It tells the ends again.
        is_told = (run_id, attempt, stream) in self._ended
        self._ended[run_id, attempt, stream] = self.cursor or ""
        return not is_told

    def _forget_ended(self, cursor: str) -> None:
        for (run_id, attempt, stream), ended_at in tuple(self._ended.items()):
            if ended_at != cursor:
                del self._ended[run_id, attempt, stream]
                self._places.pop((run_id, attempt), None)
