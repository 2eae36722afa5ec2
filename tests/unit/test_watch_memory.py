"""What a watch has told survives whatever ends in between, and is told once."""

import os
from pathlib import Path

import pytest

from flowd.domain.watches import Change, Watch, payload
from flowd.watching.memory import Memory
from flowd.watching.one import OneWatch
from flowd.watching.rows import LOST, SIZE

ROW, OTHER = b"1" * SIZE, b"2" * SIZE
ODD = os.fsdecode(b"odd\xff\n name")


def event(number: int) -> dict[str, str]:
    return {"id": f"e{number}", "occurredAt": f"at {number}"}


def test_what_was_told_is_read_again(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "w" / "x")
    assert memory.read() is None
    memory.begin({"epoch": "1"}, [("a", ROW), (ODD, ROW)])
    memory.write_event(event(1), [("a", LOST), ("b", OTHER)])
    memory.write_told()
    memory.write_event(event(2), [("b", ROW)])
    found = Memory(tmp_path / "w" / "x").read()
    assert found is not None
    assert (found.about, found.rows, found.number) == ({"epoch": "1"}, {ODD: ROW, "b": OTHER}, 2)
    assert found.last == {"id": "e1", "at": "at 1"}
    assert found.unfinished == (event(2), [("b", ROW)])


def test_writing_anew_takes_the_place_of_all_records(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "x")
    memory.begin({"number": 0}, [])
    for number in range(3):
        memory.write_event(event(number), [("a", ROW)])
        memory.write_told()
    long = (tmp_path / "x").stat().st_size
    memory.begin({"number": 3}, [("a", ROW)])
    assert (tmp_path / "x").stat().st_size < long
    memory.write_event(event(3), [("a", OTHER)])
    found = Memory(tmp_path / "x").read()
    assert found is not None
    assert (found.rows, found.number) == ({"a": ROW}, 4)
    assert os.listdir(tmp_path) == ["x"]


def test_a_record_that_is_cut_off_anywhere_was_never_there(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "x")
    memory.begin({}, [("a", ROW)])
    whole = (tmp_path / "x").stat().st_size
    memory.write_event(event(1), [("a", OTHER)])
    text = (tmp_path / "x").read_bytes()
    for size in range(whole, len(text)):
        (tmp_path / "x").write_bytes(text[:size])
        again = Memory(tmp_path / "x")
        found = again.read()
        assert found is not None
        assert found.unfinished is None
        again.write_event(event(2), [("b", ROW)])
        found = Memory(tmp_path / "x").read()
        assert found is not None
        assert found.unfinished == (event(2), [("b", ROW)])


@pytest.mark.parametrize("text", [b"", b"nonsense", b"flowd watch 1\n", b"flowd watch 1\n\x01\x02"])
def test_what_is_none_of_ours_is_nothing(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(text)
    assert Memory(tmp_path / "x").read() is None


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "far")
    with pytest.raises(OSError, match="link"):
        Memory(tmp_path / "x").read()


# --- a watch over the ends of processes ------------------------------------------------------------------------------


def watch(tmp_path: Path, *paths: str, nonce: str = "", gitignore: bool = True) -> OneWatch:
    """As a process makes it at its start, with a first look."""
    one = OneWatch(
        Watch("f", "w", paths or ("src/**",), "t", gitignore=gitignore),
        workspace=str(tmp_path),
        path=tmp_path / "state" / "w",
        source="watch:f/w",
        nonce=nonce,
        instant=lambda: "now",
        is_own=lambda _: False,
        max_bytes=10_000,
    )
    one.look()
    return one


def save(tmp_path: Path, name: str, text: str = "") -> None:
    path = tmp_path / "src" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def told(one: OneWatch) -> object:
    """What the next event tells of, once it is accepted; None where there is none."""
    found = one.take(is_quiet=True)
    if found is None:
        return None
    one.told()
    return {change["path"]: change["change"] for change in found["payload"]["changes"]}


def test_a_new_watch_begins_with_now_and_knows_at_once_what_that_was(tmp_path: Path) -> None:
    save(tmp_path, "a")
    assert told(watch(tmp_path)) is None
    save(tmp_path, "b")
    assert told(watch(tmp_path)) == {"src/b": "added"}
    assert told(watch(tmp_path)) is None


def test_an_event_that_may_have_been_accepted_is_the_same_one_in_the_next_process(tmp_path: Path) -> None:
    one = watch(tmp_path)
    save(tmp_path, "a")
    one.look()
    event = one.take(is_quiet=True)
    assert event is not None
    assert one.take(is_quiet=True) == event
    save(tmp_path, "b")
    one.look()
    # Killed here, before or after the event was accepted.
    later = watch(tmp_path)
    assert later.take(is_quiet=True) == event
    later.told()
    assert told(later) == {"src/b": "added"}
    assert told(watch(tmp_path)) is None


def test_no_two_events_have_one_id(tmp_path: Path) -> None:
    ids = set()
    for nonce in ("host 1", "host 2"):
        one = watch(tmp_path, nonce=nonce)
        for number in (1, 2, 1) if nonce == "host 1" else (2, 1, 2):
            save(tmp_path, "a", "x" * number)
            os.utime(tmp_path / "src" / "a", ns=(1, number))
            one.look()
            event = one.take(is_quiet=True)
            assert event is not None
            ids.add(event["id"])
            one.told()
    assert len(ids) == 6
    assert all(each.startswith("watch:f/w:") for each in ids)


def test_an_event_says_what_has_changed(tmp_path: Path) -> None:
    one = watch(tmp_path)
    save(tmp_path, "a")
    save(tmp_path, os.fsdecode(b"\xff"))
    one.look()
    event = one.take(is_quiet=True)
    assert event is not None
    assert {key: event[key] for key in ("type", "source", "occurredAt")} == {
        "type": "t",
        "source": "watch:f/w",
        "occurredAt": "now",
    }
    assert event["payload"] == {
        "flow": "f",
        "watch": "w",
        "count": 2,
        "changes": [
            {"path": "src/a", "change": "added"},
            {"pathBase64": "c3JjL/8=", "change": "added"},
        ],
    }


def test_an_event_names_a_thousand_changes_and_counts_all() -> None:
    changes: list[tuple[str, Change]] = [(f"{number:04}", "added") for number in range(1_200)]
    found = payload(Watch("f", "w", ("**",), "t"), changes, max_bytes=10**6)
    assert (found["count"], found["truncated"]) == (1_200, True)
    assert found["changes"] == [{"path": path, "change": change} for path, change in changes[:1_000]]


def test_an_event_is_no_larger_than_may_be_sent() -> None:
    changes: list[tuple[str, Change]] = [("x" * 4_000, "added"), ("y", "deleted")]
    found = payload(Watch("f", "w", ("**",), "t"), changes, max_bytes=5_000)
    assert (found["count"], found["truncated"], found["changes"]) == (2, True, [])


def test_other_patterns_go_on_with_what_was_told(tmp_path: Path) -> None:
    save(tmp_path, "a")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "old").touch()
    watch(tmp_path)
    save(tmp_path, "a", "more")
    one = watch(tmp_path, "src/**", "docs/**")
    assert told(one) == {"src/a": "modified"}
    (tmp_path / "docs" / "new").touch()
    assert told(watch(tmp_path, "src/**", "docs/**")) == {"docs/new": "added"}


def test_what_begins_to_count_by_the_manifest_is_no_news(tmp_path: Path) -> None:
    save(tmp_path, "a.o")
    (tmp_path / ".gitignore").write_text("*.o\n")
    watch(tmp_path)
    assert told(watch(tmp_path, gitignore=False)) is None
    save(tmp_path, "a.o", "more")
    assert told(watch(tmp_path, gitignore=False)) == {"src/a.o": "modified"}


def test_what_comes_into_view_is_no_news_in_the_next_process_either(tmp_path: Path) -> None:
    save(tmp_path, "a.o")
    (tmp_path / ".gitignore").write_text("*.o\n")
    one = watch(tmp_path)
    (tmp_path / ".gitignore").write_text("")
    one.look()
    assert told(watch(tmp_path)) is None


def test_many_events_do_not_make_its_memory_grow_without_end(tmp_path: Path) -> None:
    memory, rows = Memory(tmp_path / "x"), {f"{number}": ROW for number in range(1_000)}
    memory.begin({}, rows.items())
    sizes, written = [], 0
    for number in range(100):
        memory.write_event(event(number), [(os.urandom(8).hex(), os.urandom(SIZE)) for _ in range(300)])
        memory.write_told()
        if memory.is_long:
            written += 1
            memory.begin({}, rows.items())
        sizes.append((tmp_path / "x").stat().st_size)
    assert 2 <= written <= 20
    assert max(sizes) < 2 * 256 * 1024


def test_a_memory_that_cannot_be_read_begins_anew_and_one_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    save(tmp_path, "a")
    watch(tmp_path)
    (tmp_path / "state" / "w").write_bytes(b"garbage")
    save(tmp_path, "b")
    assert told(watch(tmp_path)) is None
    (tmp_path / "state" / "w").unlink()
    (tmp_path / "state" / "w").mkdir()
    one = watch(tmp_path)
    assert "what was told cannot be" in (one.state(is_polled=False, poll_s=1).problem or "")
    save(tmp_path, "c")
    one.look()
    with pytest.raises(OSError, match=r"directory|Directory"):
        one.take(is_quiet=True)
    (tmp_path / "state" / "w").rmdir()
    assert told(one) == {"src/c": "added"}
    assert one.state(is_polled=False, poll_s=1).problem is None


def test_a_watch_says_how_it_is(tmp_path: Path) -> None:
    save(tmp_path, "a")
    one = watch(tmp_path)
    state = one.state(is_polled=False, poll_s=1)
    assert (state.status, state.files, state.is_changing, state.last_event_id, state.problem) == (
        "watching",
        1,
        False,
        None,
        None,
    )
    save(tmp_path, "b")
    one.look()
    assert one.state(is_polled=True, poll_s=1).is_changing
    assert told(one)
    state = one.state(is_polled=True, poll_s=1.5)
    assert state.status == "polling"
    assert state.problem == "the system cannot watch just now, so its files are looked at every 1.5 s"
    assert (state.last_event_id or "").startswith("watch:f/w:")
    assert state.last_event_at == "now"
    assert watch(tmp_path).state(is_polled=False, poll_s=1).last_event_id == state.last_event_id
    assert watch(tmp_path, "nothing/**").state(is_polled=False, poll_s=1).problem == (
        "there is no file that its paths fit"
    )
