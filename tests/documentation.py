"""The documentation's pages and their code blocks, as the tests read them.

A block has a mark, a comment on the line above it, or none:

- ``<!-- file: PATH -->`` is written to the workspace;
- ``<!-- run: NAME -->`` is executed there, and ``<!-- output: NAME -->`` is what the block of that name has said;
- ``<!-- shown: REASON -->`` is for people alone, and says why;
- one without a mark is checked by its language.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]

_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<kind>file|run|output|shown): (?P<name>.+?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>[\w+-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A code block.

    Attributes:
        page: Its page, relative to the checkout.
        line: Of its fence, from 1.
        kind: ``file``, ``run``, ``output``, ``shown``, or empty where it has no mark.
        name: What the mark says after its kind.
        language: As the fence names it, or empty.
        text: Its lines.
    """

    page: str
    line: int
    kind: str
    name: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page that is for users or for those who work on flowd."""
    found = [CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md", "systemd/README.md", "examples/README.md")]
    clients = [path for path in CHECKOUT.glob("clients/*/README.md") if "node_modules" not in path.parts]
    return [*found, *sorted(clients), *sorted(CHECKOUT.glob("docs/**/*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The code blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    name = page.relative_to(CHECKOUT).as_posix()
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("indent")) + 1
        yield Block(
            name, line, match["kind"] or "", match["name"] or "", match["language"], textwrap.dedent(match["text"])
        )


def readers(page: str) -> list[str]:
    """The sources of tests that read the marked blocks of this page by themselves; others are done as tutorials."""
    name = Path(page).name
    named = re.compile(rf"""["/ ]{re.escape(name)}["']""")
    paths = [path for path in (CHECKOUT / "tests").rglob("test_*.py") if path.name != "test_tutorial.py"]
    sources = [path.read_text(encoding="utf-8") for path in paths]
    return [text for text in sources if named.search(text) and ("<!-- " in text or "documentation.blocks" in text)]


def tutorials() -> list[str]:
    """The pages with marked blocks that no test reads by itself."""
    marked = {block.page for page in pages() for block in blocks(page) if block.kind in ("file", "run", "output")}
    return sorted(page for page in marked if not readers(page))


def fences(page: Path) -> int:
    """How many blocks a page has, whatever they look like."""
    return len(re.findall(r"^ *```", page.read_text(encoding="utf-8"), re.MULTILINE)) // 2
