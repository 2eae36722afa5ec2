"""A subscription as a pure state machine: what to ask for, and after a lost connection, what to go on from."""

from collections.abc import Mapping, Sequence
from typing import Any

from flowd_client.errors import of_answer


class Subscription:
    """What was asked for, the cursor of the last update, and how far the output of attempts under way was read."""

    def __init__(
        self,
        *,
        topics: Sequence[str] | None,
        run_id: str | None,
        event_id: str | None,
        after: str | None,
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
        self._ended: dict[tuple[str, int], str] = {}

    @property
    def params(self) -> dict[str, Any]:
        """Of flow.subscribe, now."""
        if self.cursor is None:
            return self._wanted
        places = [{"runId": run_id, "attempt": attempt, **at} for (run_id, attempt), at in self._places.items()]
        return {**self._wanted, "after": self.cursor, **({"places": places} if places else {})}

    def take_answer(self, answer: Any) -> None:
        """Note the answer of flow.subscribe."""
        if self.cursor is None and isinstance(answer, dict):
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
        key = (str(update.get("runId")), int(update.get("attempt", 1)))
        place = self._places.setdefault(key, {"stdout": 0, "stderr": 0})
        stream = str(update.get("stream"))
        place[stream] = int(update.get("nextOffset", 0))
        if update.get("eof") and stream == "stderr":
            # Its place is of use until the cursor has passed the attempt's end: before that, a daemon that is asked to
            # go on would tell all of its output again.
            self._ended[key] = self.cursor or ""
        return True

    def _forget_ended(self, cursor: str) -> None:
        for key, ended_at in tuple(self._ended.items()):
            if ended_at != cursor:
                del self._ended[key]
                self._places.pop(key, None)
