"""What rules of retention let go, on every kind of store."""

from store_rig import DONE, FAILED, Stores, claim, forget, forget_before, new_event

from flowd.domain.definition import Definition
from flowd.domain.exit import Exit
from flowd.domain.filters import EventFilter
from flowd.domain.queueing import NewRun
from flowd.domain.retention import Count, Cutoff, Kept, Rule, everything
from flowd.domain.stored import Output
from flowd.ports import OpenStore

NIGHTLY = Definition("nightly", 1, "/nightly", "sha256:1", "step", "exec", "run.sh", 1000, 100)
OTHER = Definition("other", 1, "/other", "sha256:2", "step", "exec", "run.sh", 1000, 100)


async def run(store: OpenStore, name: str, *definitions: Definition, failed: str = "", at_ms: int = 10) -> None:
    """An event with an ended run of each of these."""
    made = [NewRun(f"{name}-{each.flow_name}", each) for each in definitions]
    await store.accept(new_event(name), made, at_ms=at_ms)
    for one, definition in zip(made, definitions, strict=True):
        (begun,) = (await store.claim(claim(definition_of=lambda *_, it=definition: it))).started  # type: ignore[misc]
        assert begun.run.id == one.id
        outcome = FAILED if definition.flow_name == failed else DONE
        await store.finish(begun.attempt, outcome, Exit(0), Output(b"x" * 100, b"", 100, 0), at_ms=at_ms)


async def left(store: OpenStore) -> list[str]:
    return [event.id for event in (await store.events(EventFilter(), limit=50, cursor=None)).items]


def test_an_event_stays_for_as_long_as_the_most_patient_rule_of_its_runs_says(stores: Stores) -> None:
    rules = (Cutoff("nightly", "failed", before_ms=5), Cutoff("nightly", before_ms=100), Cutoff(before_ms=50))

    async def use(store: OpenStore) -> None:
        await run(store, "nightly well", NIGHTLY)
        await run(store, "nightly failed", NIGHTLY, failed="nightly")
        await run(store, "both", NIGHTLY, OTHER, failed="nightly")
        await run(store, "other", OTHER)
        await run(store, "other later", OTHER, at_ms=60)
        await run(store, "nightly later", NIGHTLY, at_ms=60)
        await run(store, "none")
        await run(store, "newest", OTHER, at_ms=1000)

        done = await forget(store, rules, dry_run=True)
        assert (done.events, done.runs, done.output_bytes) == (4, 3, 300)
        done = await forget(store, rules)
        assert (done.events, done.runs, done.output_bytes) == (4, 3, 300)
        assert await left(store) == ["newest", "other later", "both", "nightly failed"]

    stores.use(use)


def test_what_may_go_is_looked_at_again_where_it_goes(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await run(store, "failed", OTHER, failed="other")
        await run(store, "newest", OTHER, at_ms=1000)
        cutoffs = (Cutoff(before_ms=100),)
        old = await store.old_events(cutoffs, after_seq=0)
        await store.retry("failed-other", at_ms=20)
        done = await store.prune(old.seqs, cutoffs, dry_run=False, remove_output=print)
        assert (len(old.seqs), done.events) == (1, 0)
        assert await left(store) == ["newest", "failed"]

    stores.use(use)


def test_nothing_is_left_where_the_newest_are_not_spared_and_ids_may_come_again(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        for _ in range(2):
            await run(store, "again", NIGHTLY, OTHER)
            await run(store, "none")
            done = await forget(store, everything(10))
            assert (done.events, done.runs) == (2, 2)
            assert await left(store) == []
        await store.accept(new_event("waits"), [NewRun("waits-nightly", NIGHTLY)], at_ms=10)
        assert (await forget(store, everything(10))).events == 0, "what has not ended stays"

    stores.use(use)


def test_of_a_rule_the_newest_events_stay(stores: Stores) -> None:
    rules = (Rule("nightly", max_events=2), Rule(max_bytes=350))

    async def use(store: OpenStore) -> None:
        for n in range(4):
            await run(store, f"nightly {n}", NIGHTLY)
            await run(store, f"other {n}", OTHER)
        count = Count(rules)
        kept = await store.kept_events(rules, below_seq=1 << 62)
        assert [one.rule for one in kept.items] == [1, 0] * 4
        assert all(100 < one.size_bytes < 300 for one in kept.items)
        for one in kept.items:
            count.add(one)
        assert count.is_done
        await forget(store, count.cutoffs(10_000))
        page = await left(store)
        assert [name for name in page if name.startswith("nightly")] == ["nightly 3", "nightly 2"]
        assert page[0] == "other 3"
        assert 1 <= len([name for name in page if name.startswith("other")]) <= 3

    stores.use(use)


def test_rules_without_limits_keep_for_ever(stores: Stores) -> None:
    async def use(store: OpenStore) -> None:
        await run(store, "old", OTHER)
        await run(store, "nightly", NIGHTLY)
        await run(store, "newest", OTHER, at_ms=1000)
        await forget(store, Count((Rule("nightly", max_age_ms=1), Rule())).cutoffs(10_000))
        assert await left(store) == ["newest", "old"]
        await forget_before(store, 500)
        assert await left(store) == ["newest"]

    stores.use(use)


def test_limits_are_reached_by_the_first_event_beyond_them() -> None:
    count = Count((Rule(max_events=2, max_bytes=100),))
    for seq, size in ((9, 10), (8, 10), (7, 10)):
        count.add(Kept(seq, 0, size))
    assert count.cutoffs(5) == (Cutoff(before_seq=8),)
    count = Count((Rule(max_events=2, max_bytes=100),))
    for seq, size in ((9, 90), (8, 11)):
        count.add(Kept(seq, 0, size))
    assert count.cutoffs(5) == (Cutoff(before_seq=9),)
