"""One Chromium for the tests of a file, and whoever looks through it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from browser_rig import CHROMIUM, WITHOUT_CHROMIUM, Visitor, Visits, chromium, visitor
from playwright.sync_api import Browser


# Not for the session: while Playwright's blocking half is started, no other test of this process can run an event loop.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running Chromium."""
    if CHROMIUM is None:
        pytest.skip(f"NOT TESTED: flowd's page in a browser, {WITHOUT_CHROMIUM}")
    with chromium() as it:
        yield it


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visits]:
    """Lets somebody visit an address; all of them leave at the test's end, and none may have met a fault."""
    with ExitStack() as leaving:

        def come(home: str, **more: Any) -> Visitor:
            return leaving.enter_context(visitor(browser, home, **more))

        yield come
