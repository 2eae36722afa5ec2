"""Every link of the documentation leads to a page, a section or a file that is there."""

import re
from pathlib import Path

import documentation
import pytest
from documentation import CHECKOUT

_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)")


def prose(page: Path) -> str:
    """A page's text without its code."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`]*`", "code", text)


def anchors(page: Path) -> set[str]:
    """The fragments that lead to a section of a page, as GitHub and the site make them."""
    text = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "") for title in titles)
    slugs = {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in plain}
    return slugs | set(re.findall(r'<a id="([^"]+)"', text))


@pytest.mark.parametrize("page", documentation.pages(), ids=lambda page: page.relative_to(CHECKOUT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert file.is_relative_to(CHECKOUT), f"{page.name}: {target}"
        assert not fragment or fragment in anchors(file), f"{page.name}: {target}"


def test_the_readme_is_short_and_shows_one_picture() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert len(re.findall(r"!\[", text)) == 1


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, left = set(), [CHECKOUT / "README.md"]
    while left:
        page = left.pop()
        reached.add(page)
        for target in _LINK.findall(prose(page)):
            file = (page.parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file.exists() and file not in reached:
                left.append(file)
    lost = [page.relative_to(CHECKOUT).as_posix() for page in (CHECKOUT / "docs").rglob("*.md") if page not in reached]
    assert lost == []


def test_nothing_says_that_flowd_is_on_an_index_where_it_is_not() -> None:
    files = [*documentation.pages(), *CHECKOUT.glob("flowd/**/*.py"), *CHECKOUT.glob("clients/python/**/*.py")]
    wrong = re.compile(r"(?:pip|pipx|uv)(?: tool)? install (?:--?\w+ )*'?codex-flowd")
    assert [str(file) for file in files if wrong.search(file.read_text(encoding="utf-8"))] == []
