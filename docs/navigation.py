"""What ``make site`` does beside mkdocs: it makes the navigation, and takes pages from outside of docs/ into the site.

A page that the navigation does not know comes under "More", so that none is lost.
"""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]

TAKEN = {
    "README.md": "index.md",
    "systemd/README.md": "systemd.md",
    "examples/README.md": "examples.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Where pages from outside of docs/ are in the site."""

PACKAGES = {
    f"examples/flows/{folder.name}": f"examples/{folder.name}.md" for folder in (ROOT / "examples/flows").iterdir()
}
"""Folders of the example packages; each is a page of the site, to which the page about all of them leads."""

_LANGUAGES = {".toml": "toml", ".sh": "sh", ".py": "python", ".ts": "typescript", ".json": "json"}

NAVIGATION: dict[str, dict[str, str]] = {
    "Begin": {
        "What flowd is": "index.md",
        "Install": "install.md",
        "Tutorial: one event": "tutorial.md",
        "Tutorial: a release in order": "tutorial-order.md",
        "Examples": "examples.md",
        "Coming from cron, make, pueue, TypeScript": "coming-from.md",
    },
    "Write flows": {
        "Write a package": "authoring.md",
        "Develop a flow": "dev.md",
        "Write a step": "steps.md",
        "Put steps in order": "order.md",
        "Ask a person": "people.md",
        "Every night, later, on save": "time.md",
        "In an editor": "editors.md",
    },
    "Use it": {
        "On the command line": "cli.md",
        "Read what flowd shows": "reading.md",
        "In the browser": "page.md",
        "On a terminal": "top.md",
        "From a program": "clients.md",
        "Over HTTP": "http.md",
    },
    "Operate it": {
        "Operate flowd": "operating.md",
        "Under systemd": "systemd.md",
        "Be told of failures": "notices.md",
        "Keep, back up, restore": "keeping.md",
        "Several hosts": "hosts.md",
        "Metrics": "metrics.md",
        "Security": "security.md",
    },
    "Reference": {
        "Commands": "reference/cli.md",
        "All keys of flow.toml": "reference/keys.md",
        "flow.toml in depth": "reference/packages.md",
        "How runs end": "reference/runs.md",
        "Settings": "settings.md",
        "API": "reference/api.md",
    },
    "Inside": {
        "How flowd works": "architecture.md",
        "Working on flowd": "contributing.md",
        "Changes": "changelog.md",
    },
}

_LINK = re.compile(r"(?<=\])\(([^()\s:#]+)((?:#[^()\s]*)?)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the navigation of the pages that are there."""
    docs = Path(config.docs_dir)
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")} | set(TAKEN.values())
    groups = {
        title: [{name.strip(): path} for name, path in pages.items() if path in there]
        for title, pages in NAVIGATION.items()
    }
    more = sorted(there - {path for pages in NAVIGATION.values() for path in pages.values()})
    config.nav = [{title: pages} for title, pages in [*groups.items(), ("More", more)] if pages]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the pages from outside in."""
    for source, target in TAKEN.items():
        files.append(File.generated(config, target, abs_src_path=str(ROOT / source)))
    for folder, target in PACKAGES.items():
        files.append(File.generated(config, target, content=_package_page(ROOT / folder)))
    return files


def _package_page(folder: Path) -> str:
    """A package with all of its files, the manifest first."""
    paths = sorted((path for path in folder.rglob("*") if path.suffix in _LANGUAGES), key=lambda path: path.parts)
    paths.sort(key=lambda path: path.name != "flow.toml")
    parts = [f"# {folder.name}", "One of the [examples](../examples.md)."]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        parts.append(f"## {path.relative_to(folder).as_posix()}\n\n```` {_LANGUAGES[path.suffix]}\n{text}````")
    return "\n\n".join(parts) + "\n"


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Let links lead to where pages are in the site; one to what is no page of it stays as it is."""
    here = page.file.src_uri
    if here in PACKAGES.values():
        return markdown
    source = next((ROOT / name for name, target in TAKEN.items() if target == here), ROOT / "docs" / here)

    def moved(link: re.Match[str]) -> str:
        path = (source.parent / link[1]).resolve().relative_to(ROOT).as_posix()
        target = {**TAKEN, **PACKAGES}.get(path, path.removeprefix("docs/") if path.startswith("docs/") else None)
        if target is None:
            return link[0]
        return f"({os.path.relpath(target, Path(here).parent)}{link[2]})"

    return _outside_code(markdown, lambda text: _LINK.sub(moved, text))


def _outside_code(markdown: str, change: Any) -> str:
    parts = re.split(r"(^ *```.*?^ *```$|`[^`\n]+`)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if index % 2 else change(part) for index, part in enumerate(parts))
