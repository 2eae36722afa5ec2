"""What docs/editors.md says of VS Code, done in a real one, in Chromium; its picture, too."""

import contextlib
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_rig import BOUND_MS, CHROMIUM, PICTURES, WITHOUT_CHROMIUM, chromium
from daemon_rig import Workspace, say, until
from playwright.sync_api import Browser, Locator, Page, expect
from small_png import small_png
from vscode_rig import READY, vscode

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        not os.environ.get("VSCODE"), reason="NOT TESTED here, as a real VS Code is large: `make editor` does"
    ),
]

MANIFEST = """name = "release"
version = 1

[[steps]]
name = "build"
runner = "exec"
script = "build.sh"
timeout_msec = 60000
[steps.trigger]
type = "release.tagged"

[[steps]]
name = "ask"
runner = "exec"
script = "ask.sh"
needs = ["build"]

[[steps]]
name = "publish"
runner = "exec"
script = "publish.sh"
needs = ["ask"]
"""

EVENT = '{\n  "id": "release:v1.2.0",\n  "type": "release.tagged",\n  "payload": { "tag": "v1.2.0" }\n}\n'


@pytest.fixture
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip(f"NOT TESTED: flowd's extension in a real VS Code, {WITHOUT_CHROMIUM}")
    assert READY.exists(), "`make editor` installs VS Code first"
    with chromium() as it:
        yield it


@pytest.fixture
def shop(place: Workspace) -> Workspace:
    """A workspace whose release asks; its build waits until somebody has seen it run."""
    folder = place.path / "flows" / "release"
    folder.mkdir(parents=True)
    (folder / "flow.toml").write_text(MANIFEST, encoding="utf-8")
    scripts = {
        "build": 'printf "\\033[32mbuilding\\033[0m the shop\\n"; until [ -e "$0.seen" ]; do sleep 0.05; done\n'
        "echo 'warning: 2 tests are skipped' >&2; " + say("changed", message="5 files built"),
        "ask": say("needs_intervention", message="Publish v1.2.0?"),
        "publish": say("changed", message="published"),
    }
    for name, text in scripts.items():
        script = folder / f"{name}.sh"
        script.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        script.chmod(0o755)
    (place.path / "release.json").write_text(EVENT, encoding="utf-8")
    return place


def command(page: Page, title: str) -> None:
    """Do what a command says, as from the palette."""
    page.keyboard.press("F1")
    _choose(page, f">{title}", title)


def _choose(page: Page, typed: str, offered: str) -> None:
    palette = page.locator(".quick-input-widget")
    palette.locator("input[type=text]").fill(typed)
    expect(palette.get_by_role("option").first).to_contain_text(offered)
    page.keyboard.press("Enter")


def row(page: Page, view: str, text: str | re.Pattern[str]) -> Locator:
    """A row of one of the lists."""
    return page.get_by_role("tree", name=view).get_by_role("treeitem").filter(has_text=text)


def open_file(page: Page, name: str) -> None:
    """Open a file of the workspace by the explorer: what searches for names is not in the registry."""
    page.get_by_role("tab", name=re.compile("^Explorer")).click()
    page.get_by_role("treeitem", name=name).dblclick()
    expect(page.get_by_role("tab", name=name)).to_be_visible()
    page.get_by_role("tab", name=re.compile("^flowd")).first.click()


@contextlib.contextmanager
def seen_on_failure(page: Page, folder: Path) -> Iterator[None]:
    """What the editor showed when something was not as it should be."""
    try:
        yield
    except BaseException:
        page.screenshot(path=folder / "failure.png")
        print(f"see {folder / 'failure.png'}")
        raise


@contextlib.contextmanager
def opened(place: Workspace, browser: Browser, folder: Path) -> Iterator[Page]:
    """A VS Code that shows a workspace, and flowd in its side bar."""
    with vscode(folder, free_port()) as home, browser.new_context(viewport={"width": 1180, "height": 760}) as context:
        page = context.new_page()
        page.set_default_timeout(BOUND_MS)
        with seen_on_failure(page, folder):
            page.goto(f"{home}?folder={place.path}")
            page.get_by_role("tab", name="flowd").first.click()
            yield page


def picture(page: Page, name: str) -> None:
    if not os.environ.get("PICTURES"):
        return
    folder = PICTURES / "vscode"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.png").write_bytes(small_png(page.screenshot(animations="disabled")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_release_is_sent_followed_approved_and_its_manifest_mended(
    shop: Workspace, browser: Browser, tmp_path: Path
) -> None:
    shop.start()
    with opened(shop, browser, tmp_path) as page:
        expect(row(page, "Flows", "release")).to_be_visible()

        open_file(page, "release.json")
        command(page, "flowd: Dispatch This File as an Event")
        expect(page.get_by_text("Event release:v1.2.0: 3 runs.").first).to_be_visible()
        page.get_by_role("button", name="Show Output").first.click()
        terminal = page.locator(".xterm-rows").last
        expect(terminal).to_contain_text("building the shop")
        expect(terminal).not_to_contain_text("skipped")  # it is shown while it runs
        (shop.path / "flows/release/build.sh.seen").touch()
        expect(terminal).to_contain_text("warning: 2 tests are skipped")
        expect(terminal).to_contain_text("5 files built")

        question = row(page, "Attention", "Publish v1.2.0?")
        expect(question).to_be_visible()
        expect(row(page, "Runs", re.compile("release/publish.*waits for a person"))).to_be_visible()
        picture(page, "question")
        question.hover()
        question.get_by_role("button", name="Approve…").click()
        expect(page.locator(".quick-input-widget")).to_contain_text("Publish v1.2.0?")
        page.keyboard.type("read the notes")
        page.keyboard.press("Enter")
        expect(row(page, "Runs", re.compile("release/publish.*changed"))).to_be_visible()
        expect(page.get_by_text("Nothing asks for a person.")).to_be_visible()
        (resolved,) = [run for run in shop.call("flow.listRuns")["runs"] if run["stepName"] == "ask"]
        assert resolved["resolution"]["note"] == "read the notes"

        shop.stop()
        expect(page.get_by_text("This is how it was").first).to_be_visible()
        shop.start()
        expect(page.get_by_text("This is how it was")).to_have_count(0)

        row(page, "Flows", re.compile("^release")).first.click()
        row(page, "Flows", re.compile("^build")).click()
        expect(page.get_by_role("tab", name="flow.toml")).to_be_visible()
        expect(page.get_by_text("Ln 5, Col 1")).to_be_visible()  # where the step is named
        command(page, "Go to Next Problem in Files")
        expect(page.locator(".marker-widget")).to_contain_text("timeout_msec")
        page.keyboard.press("Escape")
        page.keyboard.press("Control+.")
        expect(page.get_by_text("Change to timeout_ms").first).to_be_visible()
        page.keyboard.press("Enter")
        page.keyboard.press("Control+S")
        manifest = shop.path / "flows/release/flow.toml"
        until(lambda: "timeout_ms = 60000" in manifest.read_text(encoding="utf-8"), what="the mended manifest")
        expect(page.get_by_role("button", name="No Problems")).to_be_visible()


def test_a_daemon_is_started_from_the_editor(shop: Workspace, browser: Browser, tmp_path: Path) -> None:
    with opened(shop, browser, tmp_path) as page:
        expect(page.get_by_text("No daemon runs for this workspace.")).to_be_visible()
        page.get_by_role("button", name="Start flowd").click()
        expect(row(page, "Flows", "release")).to_be_visible()
        assert shop.is_ready()
        command(page, "flowd: Dispatch an Event")
        palette = page.locator(".quick-input-widget")
        expect(palette.get_by_role("option").first).to_contain_text("release.tagged")
        page.keyboard.press("Enter")
        expect(palette).to_contain_text("The payload, as JSON")
        page.keyboard.press("Enter")
        expect(row(page, "Runs", re.compile("release/build.*running"))).to_be_visible()
        command(page, "flowd: Cancel")
        palette.get_by_role("option").filter(has_text="release/build").click()
        page.get_by_role("dialog").get_by_role("button", name="Cancel the Run").click()
        expect(row(page, "Runs", re.compile("release/build.*canceled"))).to_be_visible()
