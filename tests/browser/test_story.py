"""The tutorial of the page (docs/page.md), done with nothing but a browser and an editor; its pictures, too."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_rig import PICTURES, Visits, sign_in, take_picture
from daemon_rig import until
from playwright.sync_api import Page, expect
from shop_rig import Shop, shop

DOCUMENT = Path(__file__).parents[2] / "docs" / "page.md"


@pytest.fixture
def broken() -> Iterator[Shop]:
    with shop(FLOWD_HTTP_OPEN="0") as it:
        yield it


def yes(page: Page) -> None:
    page.get_by_role("dialog").get_by_role("button", name="Yes").click()


def test_why_the_release_failed_is_found_mended_and_published(broken: Shop, visit: Visits) -> None:
    at_home = {str(broken.place.path): "/home/you/releases"}
    page = sign_in(visit(broken.web.url), broken.web)
    take_picture(page, "now", shown_as=at_home)

    page.get_by_role("link", name="Runs", exact=True).click()
    page.get_by_label("Status").select_option("failed")
    page.get_by_role("button", name="Show").click()
    rows = page.locator(".run")
    expect(rows).to_have_count(1)
    take_picture(page, "runs", shown_as=at_home)

    rows.get_by_role("link", name="release:v1.2.0").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("release:v1.2.0")
    take_picture(page, "event", shown_as=at_home)

    page.get_by_role("region", name="Runs").get_by_role("link", name="build").click()
    output = page.get_by_role("log", name="stderr")
    expect(output).to_contain_text("gti: not found")
    take_picture(page, "run", shown_as=at_home)

    broken.mend()
    page.get_by_role("button", name="Retry").click()
    take_picture(page, "retry", shown_as=at_home)
    yes(page)
    expect(page.get_by_role("heading", level=1)).to_contain_text("changed")

    page.get_by_role("link", name="release:v1.2.0").first.click()
    page.get_by_role("link", name="Now", exact=True).click()
    question = page.get_by_role("article", name="release ask asks")
    expect(question).to_contain_text("Publish v1.2.0?")
    question.get_by_role("textbox").fill("read the notes")
    take_picture(page, "question", shown_as=at_home)
    assert broken.published() == ["v1.0.0", "v1.1.0"]
    question.get_by_role("button", name="Approve").click()
    yes(page)
    expect(question).to_be_hidden()
    until(lambda: broken.published() == ["v1.0.0", "v1.1.0", "v1.2.0"], what="the publication")

    page.goto(f"{broken.web.url}/ui/events/release%3Av1.2.0")
    page.get_by_role("region", name="Runs").get_by_role("link", name="ask").click()
    expect(page.locator("main")).to_contain_text("read the notes")
    page.go_back()
    expect(page.get_by_role("region", name="Runs")).not_to_contain_text("failed")
    take_picture(page, "published", shown_as=at_home)


def test_the_document_shows_the_pictures_that_are_made_here_and_no_others() -> None:
    shown = re.findall(r"\]\(pictures/([a-z-]+)\.png\)", DOCUMENT.read_text(encoding="utf-8"))
    made = re.findall(r'take_picture\(page, "([a-z-]+)"', Path(__file__).read_text(encoding="utf-8"))
    assert shown == made
    assert sorted(path.stem for path in PICTURES.glob("*.png")) == sorted(made)
