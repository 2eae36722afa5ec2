"""A running catalog where something goes wrong: what is logged, what goes on, and what where it cannot watch."""

import asyncio
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from catalog_rig import BOUND_S, NEVER_S, Following, in_loop, manifest, write

from flowd.catalog.watched import WatchedCatalog
from flowd.domain.flow import Snapshot
from flowd.watching.watcher import Watcher


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
assert restored.wait(60)
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
assert seen.wait(60)
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
