"""What every store promises of steps' definitions: which one an attempt has, and what becomes of runs without one."""

from store_rig import DONE, FAILED, STEP, Stores, accept, begin, claim, forget_before, ids, new_event, run_of

from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.queueing import NewRun
from flowd.domain.run import ProcessStatus, Reason
from flowd.domain.stored import Output
from flowd.domain.waiting import MissedStep, PackageWait
from flowd.ports import OpenStore

EDITED = Definition("flow", 2, "/flow", "sha256:1", "step", "python", "run.py", 2000, 100)


def test_each_attempt_has_the_definition_in_force_at_its_start_and_the_run_shows_the_last(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        assert (await run_of(store, "run-a")).package_hash == "sha256:0"
        assert await store.definition("run-a") is None
        begun = await begin(store)
        assert begun.definition == await store.definition("run-a") == STEP
        await store.finish(begun.attempt, FAILED, Exit(1), Output(), at_ms=3)
        await store.retry("run-a", at_ms=4)
        (second,) = (await store.claim(claim(1, definition_of=lambda *_: EDITED))).started
        assert second.definition == await store.definition("run-a") == EDITED
        run = await run_of(store, "run-a")
        assert [attempt.package_hash for attempt in run.attempts] == ["sha256:0", "sha256:1"]
        assert (run.package_hash, run.flow_version, run.runner) == ("sha256:1", 2, "python")
        assert {definition.id for definition in await store.definitions()} == {STEP.id, EDITED.id}
        (left,) = await store.left_running()
        assert left.definition == EDITED
        assert await store.definition("no such run") is None

    stores.use(use)


def test_since_when_a_step_is_gone_is_remembered_as_long_as_runs_wait_for_it(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name in ("a", "b"):
            await accept(store, name)
        await store.claim(claim(2, definition_of=lambda *_: None))
        before = [await run_of(store, f"run-{name}") for name in ("a", "b")]
        await store.note_removed("other", "step", 6)
        assert await store.steps_missed() == [MissedStep("flow", "step")]
        await store.note_removed("flow", "step", 7)
        assert await store.steps_missed() == [MissedStep("flow", "step", 7)]
        assert [await run_of(store, f"run-{name}") for name in ("a", "b")] == before
        await store.note_removed("flow", "step", None)
        assert await store.steps_missed() == [MissedStep("flow", "step")]
        await store.note_removed("flow", "step", 8)
        await store.end_package_wait("flow", "step", at_ms=9)
        await store.claim(claim(2, definition_of=lambda *_: None))
        assert await store.steps_missed() == [MissedStep("flow", "step")]

    stores.use(use)


def test_a_run_without_its_step_waits_for_its_package_and_holds_up_nobody(stores: Stores) -> None:
    other = Definition("other", 1, "/other", "sha256:0", "step", "exec", "run.sh", 1000, 100)

    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await store.accept(new_event("e"), [NewRun("b", other)], at_ms=1)
        found = await store.claim(claim(1, definition_of=lambda flow, _: other if flow == "other" else None))
        assert (ids(found), found.is_missing_package) == (["b"], True)
        assert (await run_of(store, "run-a")).waiting_for == PackageWait("flow")
        assert await store.steps_missed() == [MissedStep("flow", "step")]
        assert (await store.claim(claim(1))).started == ()
        await accept(store, "c")
        assert await store.end_package_wait("flow", "step", at_ms=5) == 1
        assert await store.end_package_wait("flow", "step", at_ms=5) == 0
        assert await store.steps_missed() == []
        assert ids(await store.claim(claim(5))) == ["run-c", "run-a"]

    stores.use(use)


def test_a_run_whose_step_was_removed_fails_unstarted_and_can_be_retried(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await accept(store, "a")
        await store.claim(claim(1, definition_of=lambda *_: None))
        (ended,) = await store.fail_removed("flow", "step", at_ms=7)
        assert (ended.status, ended.reason, ended.attempt_count, ended.completed_at_ms) == (
            ProcessStatus.FAILED,
            Reason.STEP_REMOVED,
            0,
            7,
        )
        assert "flow/step" in str(ended.error)
        assert await store.fail_removed("flow", "step", at_ms=7) == []
        assert await store.retry("run-a", at_ms=8) is not None
        assert ids(await store.claim(claim())) == ["run-a"]

    stores.use(use)


def test_a_definition_is_forgotten_with_its_last_attempt(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for name, definition in (("a", STEP), ("b", EDITED), ("c", EDITED)):
            await accept(store, name)
            (begun,) = (await store.claim(claim(1, definition_of=lambda *_, it=definition: it))).started  # type: ignore[misc]
            await store.finish(begun.attempt, DONE, Exit(0), Output(), at_ms=3)
        await forget_before(store, 100)
        assert await store.run("run-b") is None
        assert [definition.id for definition in await store.definitions()] == [EDITED.id]  # the newest run is kept

    stores.use(use)
