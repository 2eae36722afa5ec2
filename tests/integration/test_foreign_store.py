"""A database that came from elsewhere, and the places that a state folder takes for its own."""

from dataclasses import replace
from pathlib import Path

import pytest
from store_rig import FAILED, OPENERS, STEP, Stores, accept, begin, claim, ids, new_event

from flowd.domain.exit import Exit
from flowd.domain.filters import RunFilter
from flowd.domain.needs import When
from flowd.domain.notices import NoticeState, NotifyRule
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.stored import Output
from flowd.domain.waiting import NeedsWait, PersonWait
from flowd.ports import OpenStore
from flowd.state.place import Place
from flowd.store.sqlite.foreign import set_aside


def test_what_ran_elsewhere_is_history_and_what_is_queued_waits_for_a_person(tmp_path: Path) -> None:
    async def fill(store: OpenStore) -> None:
        for letter in "abc":
            await accept(store, letter)
        assert ids(await store.claim(claim(1))) == ["run-a"]

    async def look(store: OpenStore) -> None:
        run = await store.run("run-a")
        assert run is not None
        assert (run.status, run.reason, run.attempt_count) == (ProcessStatus.FAILED, Reason.INTERRUPTED, 1)
        held = await store.run("run-b")
        assert held is not None
        assert held.waiting_for == PersonWait()
        await accept(store, "d")
        assert ids(await store.claim(claim(5))) == ["run-d"]
        assert await store.end_person_waits(at_ms=9) == 2
        assert await store.end_person_waits(at_ms=9) == 0
        assert ids(await store.claim(claim(5))) == ["run-b", "run-c"]

    stores = Stores(OPENERS["sqlite"], tmp_path)
    stores.use(fill)
    assert set_aside(tmp_path / "flowd.db", sizes=lambda _: (3, 4), at_ms=8) == (1, 2)
    assert set_aside(tmp_path / "flowd.db", sizes=lambda _: (3, 4), at_ms=8) == (0, 2)
    stores.use(look)


def test_what_waits_for_other_runs_goes_on_doing_so_and_what_an_interruption_lets_go_waits_for_a_person(
    tmp_path: Path,
) -> None:
    def new(name: str, *needs: str, when: When = "success") -> NewRun:
        return NewRun(f"run-{name}", replace(STEP, step_name=name), needs=needs, when=when)

    async def fill(store: OpenStore) -> None:
        runs = [new("ran"), new("mend", "ran", when="failure"), new("queued"), new("later", "queued"), new("no", "ran")]
        await store.accept(new_event("e"), runs, at_ms=1)
        assert ids(await store.claim(claim(1))) == ["run-ran"]

    async def look(store: OpenStore) -> None:
        runs = {run.id: run for run in (await store.runs(RunFilter(), limit=9, cursor=None)).items}
        assert {run_id: run.waiting_for for run_id, run in runs.items() if not run.status.is_final} == {
            "run-mend": PersonWait(),
            "run-queued": PersonWait(),
            "run-later": NeedsWait(("queued",)),
        }
        assert runs["run-no"].effective_status == "skipped"
        assert await store.end_person_waits(at_ms=9) == 2
        assert ids(await store.claim(claim(5))) == ["run-queued", "run-mend"]

    stores = Stores(OPENERS["sqlite"], tmp_path)
    stores.use(fill)
    assert set_aside(tmp_path / "flowd.db", sizes=lambda _: (3, 4), at_ms=8) == (1, 2)
    stores.use(look)


HOME = Place(1, "/srv/w/.codex/flowd", "a")


@pytest.mark.parametrize(
    ("now", "is_own"),
    [
        (replace(HOME, path="/srv/v/.codex/flowd"), True),  # moved
        (replace(HOME, inode=2), True),  # put back from a backup
        (replace(HOME, machine="b"), True),  # a container that was started anew
        (replace(HOME, machine=""), True),
        (replace(HOME, path="/work/.codex/flowd", machine="b"), True),  # mounted elsewhere, in another container
        (replace(HOME, inode=2, machine=""), True),
        (replace(HOME, inode=2, path="/srv/c/.codex/flowd"), False),  # copied
        (replace(HOME, inode=2, machine="b"), False),  # copied to another machine
        (Place(2, "/home/c/.codex/flowd", "b"), False),  # cloned
    ],
)
def test_a_folder_is_the_same_where_its_inode_is_or_nothing_else_differs(now: Place, is_own: bool) -> None:
    assert HOME.is_of(now) is is_own


def test_what_was_to_be_told_elsewhere_is_told_by_nobody_here_before_a_person_says_so(tmp_path: Path) -> None:
    async def fill(store: OpenStore) -> None:
        store.use_notify_rules([NotifyRule("mail", frozenset({"failed"}))])
        begun = await begin(store, await accept(store, "a"))
        await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=5)

    async def look(store: OpenStore) -> None:
        claimed, _ = await store.claim_notices(["mail"], "here", steady_ms=9, hold_ms=9)
        assert claimed.notices == ()
        (notice,) = (await store.notices(limit=9)).items
        assert (notice.state, notice.ended_at_ms) == (NoticeState.FAILED, 8)
        assert (await store.retry_notice(notice.id)).state is NoticeState.WAITING

    stores = Stores(OPENERS["sqlite"], tmp_path)
    stores.use(fill)
    set_aside(tmp_path / "flowd.db", sizes=lambda _: (0, 0), at_ms=8)
    stores.use(look)
