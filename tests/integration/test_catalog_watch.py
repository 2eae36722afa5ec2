"""The catalog follows the disk: real folders, real inotify, a real loop."""

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from flowd.catalog.watched import WatchedCatalog
from flowd.domain.flow import Snapshot
from flowd.watching.watcher import Watcher

BOUND_S = 60.0
# Far beyond the bound: what a test sees in time was reported, not found by a look now and then.
NEVER_S = 600.0


def manifest(name: str, addition: str = "") -> str:
    return f'name = "{name}"\nversion = 1\n[[steps]]\nname = "s"\nrunner = "exec"\nscript = "run.sh"\n{addition}'


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "flow.toml").write_text(text)
    return folder


class Following:
    """A catalog under test, with a wait for what its snapshot is to become."""

    def __init__(self, workspace: Path, rescan_interval_s: float = NEVER_S) -> None:
        self.changes = 0
        self._changed = asyncio.Event()
        self.catalog = WatchedCatalog(workspace, rescan_interval_s=rescan_interval_s, on_change=self._note)

    def _note(self, old: Snapshot, new: Snapshot) -> None:
        assert old != new
        self.changes += 1
        self._changed.set()

    @property
    def names(self) -> list[str]:
        return [flow.name for flow in self.catalog.snapshot.flows]

    async def until(self, is_so: Callable[[Snapshot], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not is_so(self.catalog.snapshot):
                self._changed.clear()
                await self._changed.wait()

    async def until_names(self, *names: str) -> None:
        await self.until(lambda snapshot: [flow.name for flow in snapshot.flows] == list(names))


@asynccontextmanager
async def following(workspace: Path, rescan_interval_s: float = NEVER_S) -> AsyncIterator[Following]:
    it = Following(workspace, rescan_interval_s)
    await it.catalog.open()
    try:
        yield it
    finally:
        await it.catalog.close()


def in_loop(workspace: Path, scenario: Callable[[Following], Awaitable[None]]) -> None:
    async def run() -> None:
        async with following(workspace) as it:
            await scenario(it)

    asyncio.run(run())


def test_the_first_snapshot_is_there_when_open_returns(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "a", manifest("a"))

    async def scenario(it: Following) -> None:
        assert it.names == ["a"]
        assert it.changes == 0

    in_loop(tmp_path, scenario)


def test_a_save_is_in_force_soon(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "a", manifest("a"))

    async def scenario(it: Following) -> None:
        for number in range(5):
            write(folder, manifest(f"a{number}"))
            await it.until_names(f"a{number}")

    in_loop(tmp_path, scenario)


def test_a_save_by_rename_is_seen_again_and_again(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "a", manifest("a"))

    async def scenario(it: Following) -> None:
        for number in range(5):
            (folder / ".flow.toml.swp").write_text(manifest(f"a{number}"))
            (folder / ".flow.toml.swp").rename(folder / "flow.toml")
            await it.until_names(f"a{number}")

    in_loop(tmp_path, scenario)


def test_packages_that_come_and_go_in_a_watched_root_are_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "a", manifest("a"))

    async def scenario(it: Following) -> None:
        # The first save may be found by the look that follows the watch's beginning, the others only by a report.
        for name in ("b", "c", "d"):
            write(folder, manifest(name))
            await it.until_names(name)
        shutil.copytree(folder, tmp_path / "copy")
        write(tmp_path / "copy", manifest("copy"))
        (tmp_path / "copy").rename(tmp_path / "flows" / "copy")
        await it.until_names("d", "copy")
        (tmp_path / "flows" / "copy").rename(tmp_path / "gone")
        await it.until_names("d")

    in_loop(tmp_path, scenario)


def test_roots_that_do_not_exist_yet_are_seen_when_they_come(tmp_path: Path) -> None:
    async def scenario(it: Following) -> None:
        write(tmp_path / ".codex" / "flows" / "a", manifest("a"))
        await it.until_names("a")
        write(tmp_path / "flows" / "b", manifest("b"))
        await it.until_names("a", "b")

    in_loop(tmp_path, scenario)


def test_a_workspace_that_does_not_exist_yet_is_seen_when_it_comes(tmp_path: Path) -> None:
    async def scenario(it: Following) -> None:
        write(tmp_path / "ws" / "flows" / "a", manifest("a"))
        await it.until_names("a")
        write(tmp_path / "ws" / "flows" / "a", manifest("b"))
        await it.until_names("b")

    in_loop(tmp_path / "ws", scenario)


def test_a_root_that_is_removed_and_made_again_is_followed(tmp_path: Path) -> None:
    async def scenario(it: Following) -> None:
        for number in range(4):
            write(tmp_path / "flows" / "a", manifest(f"a{number}"))
            await it.until_names(f"a{number}")
            write(tmp_path / "flows" / "a", manifest("changed"))
            await it.until_names("changed")
            shutil.rmtree(tmp_path / "flows")
            await it.until_names()

    in_loop(tmp_path, scenario)


def test_a_package_that_is_replaced_at_once_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "a", manifest("a"))

    async def scenario(it: Following) -> None:
        for number in range(4):
            shutil.rmtree(tmp_path / "flows" / "a")
            write(tmp_path / "flows" / "a", manifest(f"new{number}"))
            await it.until_names(f"new{number}")
            write(tmp_path / "flows" / "a", manifest(f"edited{number}"))
            await it.until_names(f"edited{number}")

    in_loop(tmp_path, scenario)


def test_a_root_that_is_replaced_by_rename_is_followed(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "a", manifest("a"))
    write(tmp_path / "next" / "b", manifest("b"))

    async def scenario(it: Following) -> None:
        (tmp_path / "flows").rename(tmp_path / "old")
        (tmp_path / "next").rename(tmp_path / "flows")
        await it.until_names("b")
        write(tmp_path / "flows" / "b", manifest("c"))
        await it.until_names("c")

    in_loop(tmp_path, scenario)


def test_schemas_and_scripts_in_folders_of_the_package_are_followed(tmp_path: Path) -> None:
    trigger = '[steps.trigger]\ntype = "t"\nschema = "schemas/v1/t.json"\n'
    folder = write(tmp_path / "flows" / "a", manifest("a", trigger))

    async def scenario(it: Following) -> None:
        assert it.catalog.snapshot.broken
        (folder / "schemas" / "v1").mkdir(parents=True)
        (folder / "schemas" / "v1" / "t.json").write_text("{}")
        await it.until_names("a")
        (folder / "schemas" / "v1" / "t.json").write_text("{")
        await it.until(lambda snapshot: snapshot.flows[0].stale)
        (folder / "schemas" / "v1" / "t.json").write_text("{}")
        await it.until(lambda snapshot: not snapshot.flows[0].stale and bool(snapshot.flows[0].warnings))
        (folder / "run.sh").write_text("#!/bin/sh\n")
        await it.until(lambda snapshot: "not executable" in snapshot.flows[0].warnings[0])
        (folder / "run.sh").chmod(0o755)
        await it.until(lambda snapshot: not snapshot.flows[0].warnings)

    in_loop(tmp_path, scenario)


def test_many_packages_at_once_are_all_seen(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "first", manifest("first"))

    async def scenario(it: Following) -> None:
        def check_out() -> None:
            for number in range(300):
                write(tmp_path / "flows" / f"p{number:03}", manifest(f"p{number:03}"))

        await asyncio.to_thread(check_out)
        await it.until(lambda snapshot: len(snapshot.flows) == 301)
        await asyncio.to_thread(shutil.rmtree, tmp_path / "flows")
        await it.until_names()

    in_loop(tmp_path, scenario)


def test_a_package_made_in_one_go_is_never_missed(tmp_path: Path) -> None:
    async def scenario(it: Following) -> None:
        for number in range(12):
            # The race: the folder is reported, and its file is written before a watch on the folder stands.
            await asyncio.to_thread(write, tmp_path / ".codex" / "flows" / "x", manifest(f"n{number}"))
            await it.until_names(f"n{number}")
            shutil.rmtree(tmp_path / ".codex")
            await it.until_names()

    in_loop(tmp_path, scenario)


def test_what_does_not_count_changes_nothing(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "a", manifest("a"))
    (tmp_path / ".codex" / "flowd").mkdir(parents=True)

    async def scenario(it: Following) -> None:
        before = it.catalog.snapshot
        (folder / "out.log").write_text("noise")
        (tmp_path / ".codex" / "flowd" / "flowd.db").write_text("noise")
        (folder / "flow.toml").touch()
        assert await it.catalog.reload() is before
        assert it.changes == 0

    in_loop(tmp_path, scenario)


def test_a_look_now_and_then_finds_what_no_report_tells(tmp_path: Path) -> None:
    # A schema behind a link: its own folder is not watched.
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "t.json").write_text("{}")
    folder = write(tmp_path / "flows" / "a", manifest("a", '[steps.trigger]\ntype = "t"\nschema = "t.json"\n'))
    (folder / "t.json").symlink_to(tmp_path / "far" / "t.json")

    async def run() -> None:
        async with following(tmp_path, rescan_interval_s=0.1) as it:
            (tmp_path / "far" / "t.json").write_text("{")
            await it.until(lambda snapshot: bool(snapshot.broken))

    asyncio.run(run())


def test_reload_returns_what_is_on_disk_without_a_watch(tmp_path: Path) -> None:
    async def run() -> None:
        catalog = WatchedCatalog(tmp_path, watching=False)
        await catalog.open()
        threads = threading.active_count()
        write(tmp_path / "flows" / "a", manifest("a"))
        assert [flow.name for flow in (await catalog.reload()).flows] == ["a"]
        assert [flow.name for flow in catalog.snapshot.flows] == ["a"]
        assert threading.active_count() <= threads + 1
        await catalog.close()

    asyncio.run(run())


def test_reloads_at_once_all_see_the_same(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "a", manifest("a"))

    async def scenario(it: Following) -> None:
        write(tmp_path / "flows" / "a", manifest("b"))
        snapshots = await asyncio.gather(*(it.catalog.reload() for _ in range(8)))
        assert all([flow.name for flow in snapshot.flows] == ["b"] for snapshot in snapshots)

    in_loop(tmp_path, scenario)


@pytest.mark.parametrize("ticks", range(4))
def test_a_cancelled_reload_loses_no_change(tmp_path: Path, ticks: int) -> None:
    async def run() -> None:
        changes: list[Snapshot] = []
        catalog = WatchedCatalog(tmp_path, watching=False, on_change=lambda _old, new: changes.append(new))
        await catalog.open()
        write(tmp_path / "flows" / "a", manifest("a"))
        reload = asyncio.ensure_future(catalog.reload())
        for _ in range(ticks):
            await asyncio.sleep(0)
        reload.cancel()
        assert [flow.name for flow in (await catalog.reload()).flows] == ["a"]
        assert len(changes) == 1
        await catalog.close()

    asyncio.run(run())


def test_a_listener_that_fails_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_old: Snapshot, _new: Snapshot) -> None:
        raise RuntimeError("listener")

    async def run() -> None:
        catalog = WatchedCatalog(tmp_path, on_change=fail, rescan_interval_s=NEVER_S)
        await catalog.open()
        write(tmp_path / "flows" / "a", manifest("a"))
        async with asyncio.timeout(BOUND_S):
            while not catalog.snapshot.flows:
                await asyncio.sleep(0.005)
        await catalog.close()

    asyncio.run(run())
    assert "catalog_listener_failed" in caplog.messages


def test_a_broken_package_is_logged_once_with_its_facts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flowd.catalog")
    write(tmp_path / "flows" / "a", "name = ")

    async def scenario(it: Following) -> None:
        write(tmp_path / "flows" / "b", manifest("b"))
        await it.until_names("b")

    in_loop(tmp_path, scenario)
    # A look may fall between the making and the writing of b's manifest, and that is worth a line, too.
    file = str(tmp_path / "flows" / "a" / "flow.toml")
    (record,) = [it for it in caplog.records if it.message == "package_broken" and it.__dict__["file"] == file]
    assert record.__dict__["line"] == 1
    assert record.__dict__["remedy"]


def test_all_that_is_wrong_or_doubtful_in_packages_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "flowd.catalog")
    wrong = write(tmp_path / "flows" / "a", manifest("a", "grace_ms = -1\nneeds = ['t']\n")) / "flow.toml"
    doubtful = write(tmp_path / "flows" / "b", manifest("b", 'timeout_ms = "5m"\n'))
    (doubtful / "run.sh").touch(mode=0o755)
    (doubtful / "run.sh").write_text("#!/bin/sh\n")

    async def scenario(it: Following) -> None:
        write(tmp_path / "flows" / "c", manifest("c"))
        await it.until_names("b", "c")

    in_loop(tmp_path, scenario)
    files = {str(wrong), str(doubtful / "flow.toml")}
    told = [it.__dict__ for it in caplog.records if it.__dict__.get("file") in files]
    assert [(it["message"], it["line"], it["column"], it["code"]) for it in told] == [
        ("package_broken", 7, 12, "out-of-range"),
        ("package_broken", 8, 10, "unknown-step"),
        ("package_doubtful", 7, 14, "wrong-type"),
    ]
    assert told[2]["doubt"].endswith("did you mean 300000?")


@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems hold Unicode only")
def test_a_folder_whose_name_is_not_unicode_does_not_cost_the_others_their_watch(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "flows" / "a", manifest("a"))
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/flows/b\xff")), manifest("b"))

    async def scenario(it: Following) -> None:
        assert len(it.catalog.snapshot.broken) == 1
        write(tmp_path / "flows" / "a", manifest("renamed"))
        await it.until_names("renamed")

    in_loop(tmp_path, scenario)
    assert "catalog_watch_failed" not in caplog.messages


def open_files() -> set[str]:
    links = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            links.add(f"{number} {os.readlink(f'/proc/self/fd/{number}')}")
        except OSError:
            continue
    return links


def test_closing_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "a", manifest("a"))

    async def run() -> None:
        catalog = WatchedCatalog(tmp_path)
        await catalog.open()
        write(tmp_path / "flows" / "b", manifest("b"))
        await catalog.close()
        await catalog.close()

    asyncio.run(run())
    before = open_files() if os.path.isdir("/proc/self/fd") else set()
    asyncio.run(run())
    assert [thread.name for thread in threading.enumerate() if thread.name == "flowd-catalog"] == []
    if before:
        deadline = time.monotonic() + BOUND_S
        while (left := open_files() - before) and time.monotonic() < deadline:
            time.sleep(0.01)  # the library's own thread closes its inotify a moment later
        assert left == set()


def test_a_scan_that_fails_does_not_end_the_watch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen = threading.Event()
    calls = 0

    def look() -> bool:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ValueError(calls)
        seen.set()
        return False

    watcher = Watcher(look, lambda: {str(tmp_path): None}, rescan_interval_s=0.05)
    watcher.start()
    try:
        assert seen.wait(BOUND_S)
    finally:
        watcher.stop()
        watcher.stop()
    assert caplog.messages == ["catalog_scan_failed"] * 2


EXHAUSTED = """
import logging, os, resource, sys, threading
from pathlib import Path
from flowd.catalog.scan import Scanner
from flowd.watching.watcher import Watcher

restored = threading.Event()

class Print(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)
        if record.getMessage() == "catalog_watch_restored":
            restored.set()

logging.basicConfig(handlers=[Print()], level=logging.INFO)
workspace = Path(sys.argv[1])
manifest = workspace / "flows" / "a" / "flow.toml"
scanner = Scanner(workspace)
scanner.scan()
names, changed = [""], threading.Condition()

def look():
    found = [flow.name for flow in scanner.scan().flows]
    with changed:
        was, names[:] = list(names), found
        changed.notify_all()
    return was != found

def save(name):
    manifest.write_text(manifest.read_text().replace(names[0], name))
    with changed:
        assert changed.wait_for(lambda: names == [name], 60), names
    print("saw", name, flush=True)

names[:] = ["aaa"]
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
top = max(map(int, os.listdir("/proc/self/fd")))
# Room for a scan (two files), none for inotify and its poll.
resource.setrlimit(resource.RLIMIT_NOFILE, (top + 2, hard))
watcher = Watcher(look, scanner.folders, rescan_interval_s=600, rewatch_interval_s=0.3)
watcher.start()
save("bbb")
save("ccc")
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
assert restored.wait(20)
save("ddd")
watcher.stop()
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")
def test_without_inotify_it_polls_says_so_once_and_comes_back(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "a", manifest("aaa"))
    done = subprocess.run(
        [sys.executable, "-c", EXHAUSTED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [
        "catalog_watch_failed",
        "saw bbb",
        "saw ccc",
        "catalog_watch_restored",
        "saw ddd",
        "",
    ]


FEW_WATCHES = """
import logging, sys, threading
from pathlib import Path
from flowd.catalog.scan import Scanner
from flowd.watching.watcher import Watcher

class Print(logging.Handler):
    def emit(self, record):
        print(record.getMessage(), flush=True)

logging.basicConfig(handlers=[Print()], level=logging.INFO)
Path("/proc/sys/user/max_inotify_watches").write_text("1")
manifest = Path(sys.argv[1]) / "flows" / "a" / "flow.toml"
scanner = Scanner(Path(sys.argv[1]))
scanner.scan()
seen = threading.Event()

def look():
    names = [flow.name for flow in scanner.scan().flows]
    if names == ["bbb"]:
        seen.set()
    return False

watcher = Watcher(look, scanner.folders, rescan_interval_s=600, rewatch_interval_s=600)
watcher.start()
manifest.write_text(manifest.read_text().replace("aaa", "bbb"))
assert seen.wait(20)
watcher.stop()
"""


def test_where_watches_are_used_up_it_polls_and_says_so(tmp_path: Path) -> None:
    unshare = [shutil.which("unshare") or "unshare", "-Ur"]
    settable = "test -w /proc/sys/user/max_inotify_watches"
    try:
        subprocess.run([*unshare, "sh", "-c", settable], capture_output=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        pytest.skip("NOT TESTED: no watches, because there are no user namespaces here")
    write(tmp_path / "flows" / "a", manifest("aaa"))
    done = subprocess.run(
        [*unshare, sys.executable, "-c", FEW_WATCHES, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "catalog_watch_failed\n"


def test_a_configmap_is_followed(tmp_path: Path) -> None:
    """As Kubernetes mounts one: the files are links through ``..data``, which is replaced at once."""
    folder = tmp_path / "flows" / "a"
    write(folder / "..1", manifest("one"))
    (folder / "..data").symlink_to("..1")
    (folder / "flow.toml").symlink_to("..data/flow.toml")

    async def scenario(it: Following) -> None:
        assert it.names == ["one"]
        for number, name in ((2, "two"), (3, "three")):
            write(folder / f"..{number}", manifest(name))
            (folder / "..next").symlink_to(f"..{number}")
            (folder / "..next").rename(folder / "..data")
            await it.until_names(name)
        write(folder / "..3", manifest("four"))
        await it.until_names("four")

    in_loop(tmp_path, scenario)


@pytest.mark.parametrize("is_absolute", [False, True])
def test_what_links_lead_to_is_followed(tmp_path: Path, *, is_absolute: bool) -> None:
    shared = tmp_path / "shared"
    (shared / "1").mkdir(parents=True)
    (shared / "1" / "t.json").write_text("{}")
    (shared / "now").symlink_to(shared / "1" if is_absolute else "1")
    folder = write(tmp_path / "flows" / "a", manifest("a", '[steps.trigger]\ntype = "t"\nschema = "s/t.json"\n'))
    (folder / "s").symlink_to(shared / "now" if is_absolute else "../../shared/now")

    async def scenario(it: Following) -> None:
        (shared / "1" / "t.json").write_text("{")
        await it.until(lambda snapshot: snapshot.flows[0].stale)
        (shared / "2").mkdir()
        (shared / "2" / "t.json").write_text("{}")
        (shared / "next").symlink_to("2")
        (shared / "next").rename(shared / "now")
        await it.until(lambda snapshot: not snapshot.flows[0].stale)

    in_loop(tmp_path, scenario)


def test_a_linked_root_and_a_linked_package_are_followed(tmp_path: Path) -> None:
    for number in (1, 2):
        write(tmp_path / "releases" / str(number) / "x", manifest(f"r{number}"))
    (tmp_path / "current").symlink_to("releases/1")
    (tmp_path / "flows").symlink_to("current")

    async def scenario(it: Following) -> None:
        assert it.names == ["r1"]
        (tmp_path / "next").symlink_to("releases/2")
        (tmp_path / "next").rename(tmp_path / "current")
        await it.until_names("r2")
        write(tmp_path / "releases" / "2" / "x", manifest("edited"))
        await it.until_names("edited")

    in_loop(tmp_path, scenario)
