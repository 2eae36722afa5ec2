"""The documentation as a web site: it is built without a warning, is whole, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import documentation
import pytest
from documentation import CHECKOUT

pytest.importorskip("material", reason="NOT TESTED: the site, because mkdocs-material is not here")


@dataclass
class Found(HTMLParser):
    """What a page of the site has in it."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    text: str = ""
    is_in_paragraph: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if "src" in values:
            self.loads.append(values["src"])
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.loads.append(values["href"])
        if tag == "p":
            self.is_in_paragraph = True
            self.paragraphs.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self.is_in_paragraph = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.is_in_paragraph:
            self.paragraphs[-1] += data


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Found]:
    """The pages of the site, by their files."""
    folder = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(argv, cwd=CHECKOUT, env=environ, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stdout + done.stderr
    pages = {}
    for file in folder.rglob("*.html"):
        pages[file.relative_to(folder)] = found = Found()
        found.feed(file.read_text(encoding="utf-8"))
    return pages


def test_every_page_is_in_it_and_in_its_navigation(site: dict[Path, Found]) -> None:
    home = site[Path("index.html")]
    for page in (CHECKOUT / "docs").rglob("*.md"):
        file = page.relative_to(CHECKOUT / "docs").with_suffix(".html")
        assert file in site
        assert file.as_posix() in home.links
    for name in ("systemd.html", "examples.html", "contributing.html", "changelog.html"):
        assert name in home.links


def test_the_page_of_examples_leads_to_all_files_of_each(site: dict[Path, Found]) -> None:
    for folder in (CHECKOUT / "examples/flows").iterdir():
        page = Path(f"examples/{folder.name}.html")
        assert page.as_posix() in site[Path("examples.html")].links
        manifest = (folder / "flow.toml").read_text(encoding="utf-8")
        assert manifest.splitlines()[0] in site[page].text


def test_the_first_page_has_a_title_of_its_own(site: dict[Path, Found]) -> None:
    assert "What flowd is - flowd" in site[Path("index.html")].text


def test_every_link_leads_to_a_page_and_to_a_place_on_it(site: dict[Path, Found]) -> None:
    for file, page in site.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link) or file.name == "404.html":
                continue
            name, _, fragment = link.partition("#")
            target = Path(os.path.normpath(file.parent / name)) if name else file
            target = Path("index.html") if target == Path() else target
            assert target in site, f"{file}: {link}"
            assert not fragment or fragment in site[target].ids, f"{file}: {link}"


def test_nothing_is_loaded_from_elsewhere(site: dict[Path, Found]) -> None:
    for file, page in site.items():
        assert [target for target in page.loads if re.match(r"(https?:)?//", target)] == [], file


def test_a_list_is_a_list_and_a_table_is_a_table(site: dict[Path, Found]) -> None:
    for file, page in site.items():
        for text in page.paragraphs:
            assert not re.search(r"^ *(?:[-*]|\d+\.) |^\|.*\|$|```", text, re.MULTILINE), f"{file}: {text}"


def test_no_mark_of_a_block_is_seen(site: dict[Path, Found]) -> None:
    assert documentation.tutorials()
    for file, page in site.items():
        assert not any(re.search(r"<!--|-->", text) for text in page.paragraphs), file
