"""Flow folders on a real disk: what is found, what hides what, what stays when something breaks."""

import contextlib
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from flowd.catalog.scan import Scanner, scan_once
from flowd.domain.flow import Flow, Origin, Snapshot

INSTALLED = ".codex/flows"


def manifest(name: str, addition: str = "") -> str:
    return f'name = "{name}"\nversion = 1\n[[steps]]\nname = "s"\nrunner = "exec"\nscript = "run.sh"\n{addition}'


WITH_SCHEMA = '[steps.trigger]\ntype = "a"\nschema = "schemas/a.json"\n'


def write(folder: Path, text: str | bytes, schema: str | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "flow.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    if schema is not None:
        (folder / "schemas").mkdir(exist_ok=True)
        (folder / "schemas" / "a.json").write_text(schema)
    return folder


def names(snapshot: Snapshot) -> list[str]:
    return [flow.name for flow in snapshot.flows]


def only(snapshot: Snapshot) -> Flow:
    (flow,) = snapshot.flows
    return flow


def test_a_workspace_without_flow_folders_is_empty(tmp_path: Path) -> None:
    assert scan_once(tmp_path) == Snapshot()
    assert scan_once(tmp_path / "missing") == Snapshot()


def test_installed_packages_come_first_and_each_root_is_in_utf_16_order(tmp_path: Path) -> None:
    # U+FF5E sorts behind U+1F600 in UTF-16 (a surrogate pair), before it by code point.
    for folder in ("b", "B", ".hidden", "\uff5e", "\U0001f600", "a-b", "a"):
        write(tmp_path / "flows" / folder, manifest(folder))
    write(tmp_path / INSTALLED / "z", manifest("z"))
    snapshot = scan_once(tmp_path)
    assert names(snapshot) == ["z", ".hidden", "B", "a", "a-b", "b", "\U0001f600", "\uff5e"]
    assert [flow.origin for flow in snapshot.flows[:2]] == [Origin.INSTALLED, Origin.SOURCE]
    assert snapshot.flows[0].root == str(tmp_path / INSTALLED / "z")


def test_only_immediate_folders_with_a_flow_toml_are_packages(tmp_path: Path) -> None:
    flows = tmp_path / "flows"
    write(flows / "good", manifest("good"))
    write(flows / "group" / "nested", manifest("nested"))
    (flows / "empty").mkdir()
    (flows / "flow.toml").write_text(manifest("stray"))
    (flows / "loop").symlink_to(flows / "loop")
    (flows / "dangling").symlink_to(flows / "nowhere")
    snapshot = scan_once(tmp_path)
    assert names(snapshot) == ["good"]
    assert snapshot.broken == ()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("pipe", "it is not a regular file"),
        ("folder", "Is a directory"),
        ("socket", "No such device or address"),
        ("device", "it is not a regular file"),
        ("link to nothing", "it is a link to nowhere, which is not there"),
        ("link in a circle", "Too many levels of symbolic links"),
    ],
)
def test_a_flow_toml_that_is_no_file_is_told_and_not_waited_for(tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "flows" / "odd" / "flow.toml"
    path.parent.mkdir(parents=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "socket":
            with socket.socket(socket.AF_UNIX) as odd, contextlib.chdir(path.parent):
                odd.bind(path.name)
        case "device":
            path.symlink_to("/dev/null")
        case "link to nothing":
            path.symlink_to("nowhere")
        case _:
            path.symlink_to(path.name)
    (broken,) = scan_once(tmp_path, is_vouched=True).broken
    assert (broken.file, broken.error) == (str(path), f"the manifest cannot be read: {reason}")


def test_the_first_package_of_a_name_wins_and_the_others_are_listed(tmp_path: Path) -> None:
    winner = write(tmp_path / INSTALLED / "x", manifest("rel"))
    write(tmp_path / "flows" / "a", manifest("rel"))
    write(tmp_path / "flows" / "b", manifest("twin"))
    write(tmp_path / "flows" / "c", manifest("twin"))
    snapshot = scan_once(tmp_path)
    assert [(flow.name, flow.root) for flow in snapshot.flows] == [
        ("rel", str(winner)),
        ("twin", str(tmp_path / "flows" / "b")),
    ]
    assert [(shadowed.name, shadowed.root, shadowed.by) for shadowed in snapshot.shadowed] == [
        ("rel", str(tmp_path / "flows" / "a"), str(winner)),
        ("twin", str(tmp_path / "flows" / "c"), str(tmp_path / "flows" / "b")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"name = ",
        b"\xff",
        b"#" * (1024 * 1024 + 1),
        manifest("x", '[steps.trigger]\ntype = "a"\nschema = "nowhere.json"\n').encode(),
        manifest("x", WITH_SCHEMA).encode(),
    ],
    ids=["empty", "syntax", "not UTF-8", "large", "missing schema", "bad schema"],
)
def test_a_broken_package_touches_no_other(tmp_path: Path, text: bytes) -> None:
    write(tmp_path / INSTALLED / "broken", text, schema="{")
    write(tmp_path / "flows" / "good", manifest("good"))
    snapshot = scan_once(tmp_path)
    assert names(snapshot) == ["good"]
    (broken,) = snapshot.broken
    assert broken.root == str(tmp_path / INSTALLED / "broken")
    assert broken.file.startswith(broken.root)
    assert broken.error
    assert broken.remedy.endswith(".")
    assert not broken.stale


def test_a_missing_schema_is_told_at_the_line_that_names_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "x", manifest("x", WITH_SCHEMA))
    (broken,) = scan_once(tmp_path).broken
    assert (broken.name, broken.file, broken.line) == ("x", str(folder / "flow.toml"), 9)
    assert broken.error == 'step "s": schema schemas/a.json does not exist'


def test_a_schema_that_is_no_json_is_told_at_its_own_line(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "x", manifest("x", WITH_SCHEMA), schema='{\n"type": ,}')
    (broken,) = scan_once(tmp_path).broken
    assert (broken.file, broken.line) == (str(folder / "schemas" / "a.json"), 2)


def test_a_missing_script_is_a_warning(tmp_path: Path) -> None:
    (write(tmp_path / "flows" / "x", manifest("x")) / "run.sh").unlink()
    (warning,) = only(scan_once(tmp_path)).warnings
    assert warning == 'line 6: step "s": script run.sh is not there; until it is, its runs fail'


@pytest.mark.parametrize(
    ("script", "mode", "problem"),
    [
        (b"#!/bin/sh\n", 0o644, "is not executable; run `chmod +x {path}`"),
        (b"echo hello\n", 0o755, "has no #! line, so no program is named that runs it; begin it with, say, #!/bin/sh"),
        (b"#!/bin/sh\r\n", 0o755, "has a #! line that ends in a carriage return; save it with Unix line ends"),
        (b"#!/not/here/yet\n", 0o755, None),
        (b"\x7fELF", 0o755, None),
        (b"\0", 0o755, None),
    ],
)
def test_an_exec_script_that_no_kernel_starts_is_a_warning(
    tmp_path: Path, script: bytes, mode: int, problem: str | None
) -> None:
    path = write(tmp_path / "flows" / "x", manifest("x")) / "run.sh"
    path.write_bytes(script)
    path.chmod(mode)
    told = (
        ()
        if problem is None
        else (f'line 6: step "s": script run.sh {problem.format(path=path)}; until then, its runs fail',)
    )
    assert only(scan_once(tmp_path)).warnings == told


def test_a_script_that_an_interpreter_runs_needs_no_run_bit(tmp_path: Path) -> None:
    path = write(tmp_path / "flows" / "x", manifest("x").replace("exec", "python")) / "run.sh"
    path.write_text("print()")
    path.chmod(0o644)
    assert only(scan_once(tmp_path)).warnings == ()


def test_a_run_bit_is_seen_when_it_comes(tmp_path: Path) -> None:
    path = write(tmp_path / "flows" / "x", manifest("x")) / "run.sh"
    path.chmod(0o644)
    scanner = Scanner(tmp_path)
    assert only(scanner.scan()).warnings
    path.chmod(0o755)
    assert only(scanner.scan()).warnings == ()


@pytest.mark.parametrize(
    ("text", "namesake", "is_hidden"),
    [
        (b'name = "rel"\n', "rel", True),
        (b'name = "rel"\nversion = \n', "rel", True),
        (b"\xff", "folder", True),
        (b"\xff", "rel", False),
    ],
    ids=["named by its TOML", "named by its text", "named by its folder", "unnamed"],
)
def test_a_broken_installed_package_hides_its_namesake(
    tmp_path: Path, text: bytes, namesake: str, *, is_hidden: bool
) -> None:
    installed = write(tmp_path / INSTALLED / "folder", text)
    write(tmp_path / "flows" / "other", manifest(namesake))
    snapshot = scan_once(tmp_path)
    assert names(snapshot) == ([] if is_hidden else [namesake])
    assert [shadowed.by for shadowed in snapshot.shadowed] == ([str(installed)] if is_hidden else [])


def test_the_last_good_definition_stays_in_force_while_the_files_are_broken(tmp_path: Path) -> None:
    folder = write(tmp_path / INSTALLED / "x", manifest("rel"))
    write(tmp_path / "flows" / "x", manifest("rel"))
    scanner = Scanner(tmp_path)
    good = only(scanner.scan())
    for text in (b"\xff", b"version = ", b'name = "rel"\nversion = "2"\n'):
        write(folder, text)
        snapshot = scanner.scan()
        stale = only(snapshot)
        assert (stale.root, stale.steps, stale.stale) == (str(folder), good.steps, True)
        (broken,) = snapshot.broken
        assert (broken.name, broken.stale) == ("rel", True)
        assert scanner.scan() == snapshot
    write(folder, manifest("rel"))
    assert scanner.scan().flows == (good,)
    assert scanner.scan().broken == ()


def test_a_broken_package_that_was_hidden_before_is_not_in_force(tmp_path: Path) -> None:
    write(tmp_path / INSTALLED / "x", manifest("rel"))
    source = write(tmp_path / "flows" / "x", manifest("rel"))
    scanner = Scanner(tmp_path)
    scanner.scan()
    write(source, b"name = ")
    snapshot = scanner.scan()
    assert only(snapshot).origin is Origin.INSTALLED
    assert [broken.stale for broken in snapshot.broken] == [False]


def test_a_schema_that_breaks_later_keeps_the_compiled_one(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "x", manifest("x", WITH_SCHEMA), schema='{"type": "string"}')
    scanner = Scanner(tmp_path)
    scanner.scan()
    (folder / "schemas" / "a.json").unlink()
    snapshot = scanner.scan()
    trigger = only(snapshot).steps[0].trigger
    assert trigger is not None
    assert trigger.check is not None
    assert trigger.check.run is not None
    assert (trigger.check.run("x"), len(trigger.check.run(1))) == ([], 1)
    assert snapshot.broken[0].stale


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def remove_manifest(folder: Path) -> None:
    (folder / "flow.toml").unlink()


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("y.off"))
    (folder.with_name("y.off") / "flow.toml").rename(folder.with_name("y.off") / "flow.toml~")


@pytest.mark.parametrize("remove", [remove_folder, remove_manifest, rename])
def test_a_package_that_is_removed_is_gone(tmp_path: Path, remove: Callable[[Path], None]) -> None:
    folder = write(tmp_path / "flows" / "x", manifest("x"))
    scanner = Scanner(tmp_path)
    assert names(scanner.scan()) == ["x"]
    remove(folder)
    assert scanner.scan() == Snapshot()
    write(folder, b"name = ")
    assert scanner.scan().flows == ()


def edit_manifest(folder: Path) -> None:
    (folder / "flow.toml").write_text(manifest("x", "# more\n"))


def edit_schema(folder: Path) -> None:
    (folder / "schemas" / "a.json").write_text('{"type": "number"}')


def edit_reference(folder: Path) -> None:
    (folder / "schemas" / "b.json").write_text('{"minimum": 2}')


def edit_script(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\nexit 1\n")


def remove_script(folder: Path) -> None:
    (folder / "run.sh").unlink()


@pytest.mark.parametrize("edit", [edit_manifest, edit_schema, edit_reference, edit_script, remove_script])
def test_the_hash_covers_manifest_schemas_references_and_scripts(tmp_path: Path, edit: Callable[[Path], None]) -> None:
    folder = write(tmp_path / "flows" / "x", manifest("x", WITH_SCHEMA), schema='{"$ref": "b.json"}')
    (folder / "schemas" / "b.json").write_text('{"minimum": 1}')
    scanner = Scanner(tmp_path)
    before = only(scanner.scan()).package_hash
    (folder / "README.md").write_text("not part of it")
    assert only(scanner.scan()).package_hash == before
    assert before.startswith("sha256:")
    edit(folder)
    after = only(scanner.scan()).package_hash
    assert after != before
    assert only(scan_once(tmp_path)).package_hash == after


def test_the_hash_is_the_same_wherever_the_package_lies(tmp_path: Path) -> None:
    write(tmp_path / "one" / "flows" / "x", manifest("x"))
    write(tmp_path / "two" / "flows" / "y", manifest("x"))
    assert only(scan_once(tmp_path / "one")).package_hash == only(scan_once(tmp_path / "two")).package_hash


def test_an_edit_of_equal_length_and_times_is_seen(tmp_path: Path) -> None:
    folder = write(tmp_path / "flows" / "x", manifest("aaa"))
    scanner = Scanner(tmp_path)
    # Within one tick of the file system's clock, nothing but the content tells these apart.
    for name in ("bbb", "ccc", "ddd", "eee"):
        before = (folder / "flow.toml").stat()
        (folder / "flow.toml").write_text(manifest(name))
        os.utime(folder / "flow.toml", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert names(scanner.scan()) == [name]


def test_unchanged_packages_keep_their_objects(tmp_path: Path) -> None:
    one = write(tmp_path / "flows" / "one", manifest("one"))
    write(tmp_path / "flows" / "two", manifest("two"))
    scanner = Scanner(tmp_path)
    before = scanner.scan()
    os.utime(one / "flow.toml")
    after = scanner.scan()
    assert after == before
    assert all(new is old for new, old in zip(after.flows, before.flows, strict=True))


def test_a_root_that_is_a_file_leaves_the_other_alone(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / INSTALLED).write_text("")
    write(tmp_path / "flows" / "x", manifest("x"))
    snapshot = scan_once(tmp_path)
    assert names(snapshot) == ["x"]
    (broken,) = snapshot.broken
    assert (broken.root, broken.name, broken.stale) == (str(tmp_path / INSTALLED), INSTALLED, False)
    assert broken.error == "the flow folder cannot be read: Not a directory"


def test_a_root_that_cannot_be_read_keeps_its_flows(tmp_path: Path) -> None:
    write(tmp_path / "real" / "x", manifest("x"))
    (tmp_path / "flows").symlink_to("real")
    scanner = Scanner(tmp_path)
    assert names(scanner.scan()) == ["x"]
    # A loop of links fails as a missing permission would, for root too.
    (tmp_path / "flows").unlink()
    (tmp_path / "flows").symlink_to("flows")
    snapshot = scanner.scan()
    assert (only(snapshot).stale, snapshot.broken[0].stale) == (True, True)
    assert scanner.scan() == snapshot
    (tmp_path / "flows").unlink()
    (tmp_path / "flows").symlink_to("real")
    assert not only(scanner.scan()).stale


def test_links_are_followed_inside_the_workspace_only(tmp_path: Path) -> None:
    workspace = tmp_path / "ws"
    write(workspace / "elsewhere" / "in", manifest("in"))
    write(tmp_path / "outside", manifest("out"))
    (workspace / "flows").mkdir()
    (workspace / "flows" / "in").symlink_to(workspace / "elsewhere" / "in")
    (workspace / "flows" / "out").symlink_to(tmp_path / "outside")
    snapshot = scan_once(workspace)
    assert names(snapshot) == ["in"]
    (broken,) = snapshot.broken
    assert broken.name == "out"
    assert broken.error == f"the folder is a link out of the workspace, to {tmp_path / 'outside'}"


def test_a_folder_whose_name_has_a_line_end_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "a\nok forged", b"x =")
    (broken,) = scan_once(tmp_path).broken
    assert broken.name == r"a\nok forged"
    assert "\n" not in broken.sentence() + broken.root
    assert "control character" in broken.sentence()


def test_a_folder_whose_name_is_not_unicode_is_told(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/flows/\xff"
    try:
        os.makedirs(folder)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    with open(folder + b"/flow.toml", "w") as file:
        file.write(manifest("x"))
    snapshot = scan_once(tmp_path)
    assert snapshot.flows == ()
    assert snapshot.broken[0].root == f"{tmp_path}/flows/\\udcff"


def test_a_manifest_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "flows" / "x").mkdir(parents=True)
    (tmp_path / "flows" / "x" / "flow.toml").symlink_to("flow.toml")
    (broken,) = scan_once(tmp_path).broken
    assert broken.error.startswith("the manifest cannot be read: Too many levels of symbolic links")


def test_other_roots_may_be_given(tmp_path: Path) -> None:
    write(tmp_path / "mine" / "x", manifest("x"))
    write(tmp_path / "flows" / "y", manifest("y"))
    scanner = Scanner(tmp_path / "ws", [("../mine", Origin.SOURCE), (tmp_path / "flows", Origin.INSTALLED)])
    assert [(flow.name, flow.origin) for flow in scanner.scan().flows] == [
        ("x", Origin.SOURCE),
        ("y", Origin.INSTALLED),
    ]


def test_folders_to_watch_are_those_that_count(tmp_path: Path) -> None:
    write(tmp_path / "flows" / "x", manifest("x", WITH_SCHEMA), schema="{}")
    (tmp_path / "flows" / "empty").mkdir()
    (tmp_path / ".codex" / "flowd").mkdir(parents=True)
    scanner = Scanner(tmp_path)
    scanner.scan()
    assert dict(scanner.folders()) == {
        str(tmp_path): frozenset({".codex", "flows"}),
        str(tmp_path / ".codex"): frozenset({"flows"}),
        str(tmp_path / ".codex" / "flows"): None,
        str(tmp_path / "flows"): None,
        str(tmp_path / "flows" / "empty"): frozenset({"flow.toml"}),
        str(tmp_path / "flows" / "x"): frozenset({"flow.toml", "run.sh", "schemas"}),
        str(tmp_path / "flows" / "x" / "schemas"): frozenset({"a.json"}),
    }


BROKEN = manifest("hello", "[steps.trigger]\n")
"""A manifest that is half written: it has a name, and a trigger without a type."""


@pytest.mark.parametrize(
    ("newcomer", "is_there_first"),
    [
        ("flows/.hello.new", False),
        ("flows/.hello.new", True),
        ("flows/a", False),
        ("flows/a", True),
        (".codex/flows/hello", False),  # one that is there first hides its namesake: see above
    ],
)
def test_a_broken_namesake_does_not_switch_a_good_package_off(
    tmp_path: Path, newcomer: str, *, is_there_first: bool
) -> None:
    good = str(write(tmp_path / "flows" / "hello", manifest("hello")))
    scanner = Scanner(tmp_path)
    if not is_there_first:
        assert only(scanner.scan()).root == good
    folder = write(tmp_path / newcomer, BROKEN)
    for _ in range(2):
        snapshot = scanner.scan()
        assert (only(snapshot).root, only(snapshot).stale) == (good, False)
        assert [package.root for package in snapshot.broken] == [str(folder)]
        assert [(hidden.root, hidden.by) for hidden in snapshot.shadowed] == [(str(folder), good)]
    write(folder, manifest("hello"))
    assert only(scanner.scan()).root == str(folder)


def test_a_newcomer_takes_over_once_its_scripts_are_there(tmp_path: Path) -> None:
    good = str(write(tmp_path / "flows" / "hello", manifest("hello")))
    scanner = Scanner(tmp_path)
    scanner.scan()
    folder = write(tmp_path / ".codex" / "flows" / "hello", manifest("hello"))
    (folder / "run.sh").unlink()
    assert only(scanner.scan()).root == good
    write(folder, manifest("hello"))
    assert only(scanner.scan()).root == str(folder)
    # What is in force stays so while an editor replaces its script.
    (folder / "run.sh").unlink()
    assert only(scanner.scan()).root == str(folder)


def test_a_good_package_that_goes_gives_its_name_to_nobody_broken(tmp_path: Path) -> None:
    good = write(tmp_path / "flows" / "hello", manifest("hello"))
    broken = write(tmp_path / "flows" / "a", BROKEN)
    scanner = Scanner(tmp_path)
    assert only(scanner.scan()).root == str(good)
    shutil.rmtree(good)
    snapshot = scanner.scan()
    assert (names(snapshot), [package.root for package in snapshot.broken]) == ([], [str(broken)])
