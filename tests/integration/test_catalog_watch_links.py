"""A running catalog follows packages through links."""

from pathlib import Path

import pytest
from catalog_rig import Following, in_loop, manifest, write


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
