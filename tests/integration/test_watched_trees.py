"""Watched files with the real system below: reported, or looked for where nothing is reported."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from flowd.domain.watches import Watch
from flowd.watching.trees import WatchedTrees
from flowd.watching.watcher import MAX_REPORTS

BOUND_S = 60.0
NEVER_S = 600.0
"""Far beyond the bound: what a test sees in time was reported, not found by a look now and then."""

MANY = MAX_REPORTS + 1_000

W = Watch("f", "w", ("src/**",), "t")


class Following:
    """Trees under test. What they have to tell is taken at once."""

    def __init__(self, top: Path, rescan_s: float) -> None:
        self.trees = WatchedTrees(
            top / "ws",
            state_dir=top / "state",
            folder=top / "state" / "watches",
            host=None,
            nonce="",
            instant=lambda: "now",
            max_payload_bytes=10**6,
            rescan_interval_s=rescan_s,
        )
        self.told: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self._news: asyncio.Queue[str] = asyncio.Queue()

    async def open(self, *watches: Watch) -> None:
        self.trees.listen(self._news.put_nowait)
        await self.trees.use(watches)
        async with asyncio.timeout(BOUND_S):
            while any(state.status == "starting" for state in self.trees.states()):
                await asyncio.sleep(0.01)

    async def until(self, is_so: Callable[[dict[str, str]], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not is_so(self.told):
                label = await self._news.get()
                event = await self.trees.take(label, is_quiet=True)
                if event is not None:
                    self.events.append(dict(event))
                    self.told |= {change.get("path", "?"): change["change"] for change in event["payload"]["changes"]}
                    await self.trees.told(label)


@asynccontextmanager
async def following(top: Path, *watches: Watch, rescan_s: float = NEVER_S) -> AsyncIterator[Following]:
    (top / "ws" / "src").mkdir(parents=True, exist_ok=True)
    (top / "state").mkdir(exist_ok=True)
    it = Following(top, rescan_s)
    await it.open(*(watches or (W,)))
    try:
        yield it
    finally:
        await it.trees.close()
        await it.trees.close()


def save(top: Path, path: str, text: str = "") -> None:
    file = top / "ws" / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_saves_are_reported_in_folders_old_and_new(tmp_path: Path) -> None:
    async def play() -> None:
        async with following(tmp_path) as it:
            save(tmp_path, "src/a")
            await it.until(lambda told: "src/a" in told)
            for number in range(5):
                save(tmp_path, f"src/{number}/deep/er/b")
                await it.until(lambda told, number=number: f"src/{number}/deep/er/b" in told)  # type: ignore[misc]
                save(tmp_path, f"src/{number}/deep/er/c")
                await it.until(lambda told, number=number: f"src/{number}/deep/er/c" in told)  # type: ignore[misc]
            shutil.rmtree(tmp_path / "ws" / "src" / "0")
            await it.until(lambda told: told["src/0/deep/er/b"] == told["src/0/deep/er/c"] == "deleted")
            save(tmp_path, "src/0/deep/er/b")
            await it.until(lambda told: told["src/0/deep/er/b"] == "added")

    asyncio.run(play())


def test_a_tree_that_comes_in_one_go_is_seen_whole(tmp_path: Path) -> None:
    for number in range(600):
        save(tmp_path, f"elsewhere/{number % 60}/{number}")

    async def play() -> None:
        async with following(tmp_path) as it:
            await asyncio.to_thread(shutil.copytree, tmp_path / "ws" / "elsewhere", tmp_path / "ws" / "src" / "copy")
            await it.until(lambda told: len(told) == 600)
            (tmp_path / "ws" / "elsewhere").rename(tmp_path / "ws" / "src" / "moved")
            await it.until(lambda told: len(told) == 1_200)

    asyncio.run(play())


def test_a_burst_of_changes_is_told_whole(tmp_path: Path) -> None:
    async def play() -> None:
        async with following(tmp_path) as it:
            save(tmp_path, "one")

            def burst() -> None:
                # Names of one file, as new files are dear to make.
                for number in range(MANY):
                    os.link(tmp_path / "ws" / "one", tmp_path / "ws" / "src" / f"{number}")

            await asyncio.to_thread(burst)
            await it.until(lambda _: sum(event["payload"]["count"] for event in it.events) == MANY)
            assert it.trees.states()[0].files == MANY
            assert all(len(event["payload"]["changes"]) <= 1_000 for event in it.events)

    asyncio.run(play())


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems hold Unicode only")
def test_names_that_are_no_unicode_end_no_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        async with following(tmp_path) as it:
            for number in range(3):
                save(tmp_path, os.fsdecode(b"src/\xff%d" % number))
                await it.until(lambda told: bool(told.pop("?", None)))
                save(tmp_path, f"src/{number}")
                await it.until(lambda told, number=number: f"src/{number}" in told)  # type: ignore[misc]
            assert it.trees.states()[0].status == "watching"

    asyncio.run(play())
    assert "watches_watch_failed" not in caplog.messages


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems hold Unicode only")
def test_in_a_folder_whose_name_is_no_unicode_changes_are_looked_for(tmp_path: Path) -> None:
    folder = os.fsdecode(b"src/\xfe")
    save(tmp_path, f"{folder}/a")

    async def play() -> None:
        async with following(tmp_path) as it:
            save(tmp_path, f"{folder}/a", "more")
            await it.until(bool)
            assert "not Unicode" in str(it.trees.states()[0].problem)

    asyncio.run(play())


def test_two_watches_of_one_folder_are_told_each_for_itself(tmp_path: Path) -> None:
    other = Watch("f", "texts", ("**/*.md",), "t2")

    async def play() -> None:
        async with following(tmp_path, W, other) as it:
            save(tmp_path, "src/a.md")
            await it.until(lambda _: len(it.events) == 2)
            assert {event["type"] for event in it.events} == {"t", "t2"}
            await it.trees.use([other])
            save(tmp_path, "src/b.md")
            await it.until(lambda told: "src/b.md" in told)
            assert len(it.events) == 3

    asyncio.run(play())


def test_a_watch_that_comes_back_tells_what_changed_while_it_was_gone(tmp_path: Path) -> None:
    async def play() -> None:
        async with following(tmp_path) as it:
            await it.trees.use([])
            save(tmp_path, "src/a")
            await it.trees.use([W])
            await it.until(lambda told: told == {"src/a": "added"})

    asyncio.run(play())


def test_what_was_told_is_forgotten_a_day_after_a_watch_is_gone(tmp_path: Path) -> None:
    async def play() -> None:
        async with following(tmp_path) as it:
            (memory,) = (tmp_path / "state" / "watches").iterdir()
            await it.trees.use([])
            assert memory.exists()
            os.utime(memory, (1, 1))
            await it.trees.use([Watch("f", "other", ("x",), "t")])
            assert not memory.exists()

    asyncio.run(play())


EXHAUSTED = """
import asyncio, os, resource, sys
from pathlib import Path
from flowd.watching import watcher
watcher.Watcher.__init__.__kwdefaults__["rewatch_interval_s"] = 0.3
sys.path.insert(0, sys.argv[2])
import test_watched_trees as rig

async def play(top):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await asyncio.to_thread(int)
    it = rig.Following(top, rig.NEVER_S)
    top_fd = max(map(int, os.listdir("/proc/self/fd")))
    # Room for a look and the memory, none for inotify and its poll.
    resource.setrlimit(resource.RLIMIT_NOFILE, (top_fd + 2, hard))
    await it.open(rig.W)
    rig.save(top, "src/polled")
    await it.until(lambda told: "src/polled" in told)
    print(it.trees.states()[0].status, it.trees.states()[0].problem, flush=True)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    while it.trees.states()[0].status != "watching":
        await asyncio.sleep(0.02)
    rig.save(top, "src/reported")
    await it.until(lambda told: "src/reported" in told)
    print(it.trees.states()[0].status, flush=True)
    await it.trees.close()

top = Path(sys.argv[1])
(top / "ws" / "src").mkdir(parents=True)
(top / "state").mkdir()
asyncio.run(play(top))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_without_inotify_files_are_looked_at_now_and_then_and_that_is_told(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", EXHAUSTED, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [
        "polling the system cannot watch just now, so its files are looked at every 1 s",
        "watching",
        "",
    ]
