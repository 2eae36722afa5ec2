"""A server with a standby, which takes over when the server is gone."""

import asyncio
import doctest
from collections.abc import Iterator
from contextlib import closing

import pytest
from daemon_rig import by_test_postgres
from standby_rig import Pair
from store_rig import accept, new_event

from flowd.domain.errors import NotYetError
from flowd.store.postgres import address, inspection
from flowd.store.postgres.address import Address
from flowd.store.postgres.connection import InDoubtError, PostgresWriter
from flowd.store.postgres.store import PostgresDatabase, PostgresStore


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    try:
        yield made
    finally:
        made.remove()


def address_of(url: str) -> Address:
    return Address(url, url, "flowd")


def durability(address: Address) -> tuple[str, str]:
    """What ``flowd store check`` says of it."""
    (found,) = (one for one in inspection.look(address) if one.what == "durability")
    return found.level, found.found


def test_doctests() -> None:
    results = doctest.testmod(address)
    assert (results.failed, results.attempted > 0) == (0, True)


def test_a_commit_that_was_under_way_when_a_standby_took_over_is_not_taken_for_another_of_its_number(
    pair: Pair,
) -> None:
    with closing(PostgresWriter(address_of(pair.url))) as db:
        db.begin()
        (number,) = db.execute("SELECT pg_current_xact_id()::text").fetchone()
        pair.fail_over()
        while True:  # the new history comes by that number, too
            [(other,)] = pair.second.execute("SELECT pg_current_xact_id()::text")
            if int(other) >= int(number):
                break
        assert pair.second.execute(f"SELECT pg_xact_status('{number}')") == [("committed",)]
        db.total_changes += 1
        with pytest.raises(InDoubtError):
            db.commit()
        db.begin()  # and goes on with the new one
        db.commit()


@by_test_postgres
def test_what_was_acknowledged_is_there_when_a_standby_has_taken_over(pair: Pair) -> None:
    pair.confirm()

    async def body() -> None:
        store = PostgresStore(address_of(pair.url), max_queued=1000)
        try:
            for number in range(20):
                await accept(store, f"before-{number}")
            await asyncio.to_thread(pair.fail_over)
            assert (await store.accept(new_event("event-before-19"), [], at_ms=1)).is_duplicate
            await accept(store, "after")
            assert (await store.counts()).events == 21
        finally:
            await store.close()

    asyncio.run(body())
    assert durability(address_of(pair.url)) == (
        "warn",
        "synchronous_standby_names is empty: what was acknowledged last is lost when a standby takes over",
    )


@by_test_postgres
def test_it_is_told_whether_a_standby_confirms_what_is_acknowledged(pair: Pair) -> None:
    alone = pair.first.address("work")
    for url in (alone, pair.url):
        level, found = durability(address_of(url))
        assert (level, found.partition(":")[0]) == ("warn", "synchronous_standby_names is empty")
    pair.confirm()
    assert durability(address_of(pair.url)) == ("ok", "synchronous_commit on, standbys *")
    pair.first.execute("ALTER ROLE postgres SET synchronous_commit = 'local'")
    assert durability(address_of(pair.url))[1].startswith("synchronous_commit is local: ")
    pair.first.execute("ALTER ROLE postgres SET synchronous_commit = 'off'")
    assert durability(address_of(pair.url))[1].startswith("synchronous_commit is off: ")


@by_test_postgres
def test_a_standby_is_no_store_until_it_is_promoted(pair: Pair) -> None:
    standby = address_of(pair.second.address("work"))
    with pytest.raises(NotYetError, match=r"is a standby, which takes no writes until it is promoted"):
        PostgresDatabase(standby).open_writer()
    (found,) = inspection.look(standby)
    assert (found.what, found.level, "is a standby" in found.found) == ("server", "fail", True)
    pair.fail_over()
    PostgresDatabase(standby).open_writer().close()
