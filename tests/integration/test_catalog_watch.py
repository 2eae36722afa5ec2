"""A running catalog follows the disk, with real folders, inotify and loop: every way in which packages change."""

import asyncio
import shutil
import threading
from pathlib import Path

import pytest
from catalog_rig import Following, following, in_loop, manifest, write

from flowd.catalog.watched import WatchedCatalog
from flowd.domain.flow import Snapshot


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
