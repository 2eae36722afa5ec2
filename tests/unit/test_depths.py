"""Counting what a long queue waits for is not done all the time."""

import sqlite3
from collections.abc import Sequence
from typing import Any, cast

from flowd.domain.queue_view import Depth
from flowd.store.sql.depths import Rationed, depths


class Database:
    """Counts how often it is asked, and takes a second each time."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.asked = 0

    def execute(self, _: str) -> Sequence[tuple[Any, ...]]:
        self.asked += 1
        self.now_s += 1
        return [("place", self.asked, 5)]


def test_an_answer_that_took_long_is_remembered_twenty_times_as_long() -> None:
    database = Database()
    counted, db = Rationed(depths, lambda: database.now_s), cast("sqlite3.Connection", database)
    first = [Depth("place", 1, 5)]
    assert counted.now(db) == first
    database.now_s = 20.9
    assert counted.now(db) == first
    database.now_s = 21.0
    assert counted.now(db) == [Depth("place", 2, 5)]
    assert database.asked == 2
