"""A real Chromium that looks at flowd's page as a person would, and notes down whatever a person should not meet.

Playwright drives the distribution's Chromium and downloads none. Everything is found by role and name, as somebody who
uses a screen reader finds it.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from axe_playwright_python.base import AXE_SCRIPT
from http_rig import HttpPlace
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    FloatRect,
    Locator,
    Page,
    Request,
    expect,
    sync_playwright,
)
from small_png import small_png

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WITHOUT_CHROMIUM: Final = "because there is no Chromium here (apt install chromium)"

PICTURES: Final = Path(__file__).parents[1] / "docs" / "pictures"
DESK: Final = (1120, 760)
PHONE: Final = (390, 844)
BOUND_MS: Final = 30_000
"""How long anything may take before it is taken for something that does not come: only a hang takes that long."""
expect.set_options(timeout=BOUND_MS)

# `--no-sandbox`: root may not have Chromium's sandbox. The others keep it from speaking to anybody else.
_FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--force-color-profile=srgb")  # fmt: skip

_AXE: Final = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
}


class Visitor:
    """Somebody with a browser of their own: cookies, colours and a window's size.

    Attributes:
        page: The open tab.
        faults: What went wrong without being seen: errors of scripts, what the content security policy refused,
            requests that left the page's origin.
    """

    def __init__(self, context: BrowserContext, home: str) -> None:
        self.home = home
        self.context = context
        self.faults: list[str] = []
        context.set_default_timeout(BOUND_MS)
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.faults.append(f"script: {error.error}"))
        context.on("request", self._on_request)
        self.page: Page = context.new_page()

    def open(self, path: str) -> Page:
        """Go to a path of the page, such as ``/ui/runs``."""
        self.page.goto(self.home + path)
        return self.page

    def expect_faults(self, *words: str) -> None:
        """Forget the faults that have one of these words in them; they are part of what the test plays."""
        self.faults = [fault for fault in self.faults if not any(word in fault for word in words)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.faults.append(f"console: {message.text}")

    def _on_request(self, request: Request) -> None:
        there, here = urlsplit(request.url), urlsplit(self.home)
        if there.scheme not in {"data", "about"} and there.netloc != here.netloc:
            self.faults.append(f"foreign: {request.url}")


Visits = Callable[..., Visitor]
"""The fixture ``visit``: lets somebody visit an address, with the arguments of `visitor`."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A running Chromium without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def visitor(
    browser: Browser,
    home: str,
    *,
    scheme: Literal["light", "dark"] = "light",
    size: tuple[int, int] = DESK,
    script: bool = True,
    **more: Any,
) -> Iterator[Visitor]:
    """Somebody who visits ``home``. At the end there must be no fault that the test did not expect."""
    context = browser.new_context(
        color_scheme=scheme,
        viewport={"width": size[0], "height": size[1]},
        java_script_enabled=script,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        **more,
    )
    try:
        somebody = Visitor(context, home)
        yield somebody
        assert not somebody.faults, "\n".join(somebody.faults)
    finally:
        context.close()


def sign_in(somebody: Visitor, web: HttpPlace, path: str = "/ui/") -> Page:
    """Ask for a page as one who is not known yet, and give the token of the state folder."""
    token = (web.place.path / ".codex" / "flowd" / "http-token").read_text(encoding="ascii").strip()
    page = somebody.open(path)
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    somebody.expect_faults("401")  # Chromium notes that down of a page, too
    return page


def run_row(page: Page, run_id: str) -> Locator:
    """A run in a list."""
    return page.locator(f"[id='r-{run_id}']")


def axe_findings(page: Page) -> list[str]:
    """What axe has to say against the page as it stands: WCAG 2.2 A and AA, and its own best practices."""
    if page.evaluate("typeof axe") == "undefined":  # half of the work of a look
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate("options => axe.run(options)", _AXE)["violations"]
    return [
        f"{rule['id']}: {', '.join(map(str, node['target']))}: {node['failureSummary']}"
        for rule in found
        for node in rule["nodes"]
    ]


def wider_than_its_window(page: Page) -> int:
    """By how many pixels the page must be scrolled sideways to be read; 0 where it need not be."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def take_picture(page: Page, name: str, *, shown_as: Mapping[str, str]) -> None:
    """Write a picture of the documentation, where `make pictures` has asked for them.

    Args:
        shown_as: What is to be read in place of what stands there, such as a folder of somebody's home in that of a
            scratch one.
    """
    if not os.environ.get("PICTURES"):
        return
    page.evaluate("window.scrollTo(0, 0)")
    for old, new in shown_as.items():
        page.evaluate(_REWORD, [old, new])
    picture = page.screenshot(clip=_written_on(page), animations="disabled", caret="hide")
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.png").write_bytes(small_png(picture))


def _written_on(page: Page) -> FloatRect:
    """The part of the window that has something on it."""
    size = page.viewport_size
    assert size is not None
    return {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], page.evaluate(_BOTTOM) + 24)}


_BOTTOM: Final = """
  Math.max(...[...document.querySelectorAll("main *")].map(one => one.getBoundingClientRect().bottom))
"""

_REWORD: Final = """([old, fresh]) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.nodeValue = texts.currentNode.nodeValue.replaceAll(old, fresh);
}"""
