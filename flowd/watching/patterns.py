"""Patterns for paths, as git has them in a ``.gitignore``."""

import re
from collections.abc import Iterable, Sequence
from fnmatch import translate

_GLOB = re.compile(r"[*?\[\\]")
_NAMED = re.compile(r"\(\?P<\w+>")


class Patterns:
    """Patterns in their order: the last one that fits a path decides.

    Args:
        lines: One pattern each. What is none fits nothing.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._each: list[tuple[bool, re.Pattern[str]]] = []
        for line in lines:
            pattern = _compiled(line)
            if pattern is not None:
                self._each.append(pattern)
        # Most files fit none of the many lines of a .gitignore, which one search of all tells in a tenth of the time.
        together = "|".join(f"(?:{_NAMED.sub('(?:', pattern.pattern)})" for _, pattern in self._each)
        self._any = re.compile(together).match if self._each else None

    def verdict(self, path: str) -> bool | None:
        """What the last pattern that fits says to a path: True takes it, False (``!``) leaves it out; None where none
        fits. A folder's path ends with ``/``.

        >>> patterns = Patterns(["src/**", "!src/gen/**", "*.py"])
        >>> [patterns.verdict(path) for path in ("src/a.c", "src/gen/a.c", "src/gen/a.py", "README")]
        [True, False, True, None]
        """
        if self._any is None or self._any(path) is None:
            return None
        for is_taken, pattern in reversed(self._each):
            if pattern.match(path) is not None:
                return is_taken
        return None


class Selection:
    """The files that a watch is about, and where to look for them.

    Args:
        lines: Patterns relative to a folder, at least one of which takes something.
    """

    def __init__(self, lines: Sequence[str]) -> None:
        self._patterns = Patterns(lines)
        takes = [index for index, line in enumerate(lines) if not line.startswith("!")]
        self._ways = [way for index in takes if (way := _way(lines[index])) is not None]
        self._is_anywhere = len(self._ways) < len(takes)
        last = max(takes, default=-1)
        # What nothing can take again, so that whole folders of it need no look.
        self._never = Patterns(_as_folder(line[1:]) for line in lines[last + 1 :] if not line.endswith("/*"))

    def takes(self, path: str) -> bool:
        """Whether a file is meant."""
        return self._patterns.verdict(path) is True

    def may_be_in(self, folder: str) -> bool:
        """Whether a file that is meant can lie somewhere in a folder.

        >>> selection = Selection(["src/**", "!src/gen/**"])
        >>> [selection.may_be_in(folder) for folder in ("src", "src/lib", "src/gen", "docs")]
        [True, True, False, False]
        """
        if self._never.verdict(f"{folder}/"):
            return False
        return self._is_anywhere or any(_leads(way, folder.split("/")) for way in self._ways)

    def is_named(self, folder: str) -> bool:
        """Whether a pattern names a folder, letter by letter, as the way to its files.

        >>> [Selection(["src/lib/*.c"]).is_named(folder) for folder in ("src", "src/lib", "src/lib/x")]
        [True, True, False]
        """
        parts = folder.split("/")
        return any(way[: len(parts)] == parts and not any(map(_GLOB.search, way[: len(parts)])) for way in self._ways)


def problem_of(line: str) -> str | None:
    """Why a text is no pattern for paths below a folder; the rest of a sentence. None where it is one.

    >>> problem_of("src/**"), problem_of("../other/*.c"), problem_of("/etc/**")
    (None, 'leads out of the workspace', 'begins with /, and paths are relative to the workspace')
    """
    bare = line.removeprefix("!")
    if bare.startswith("/"):
        return "begins with /, and paths are relative to the workspace"
    if ".." in bare.split("/"):
        return "leads out of the workspace"
    if bare.startswith(("./", "~/")) or bare in (".", "~"):
        return f"begins with {bare[0]}, which is the name of no file here"
    return "is no pattern" if _compiled(line) is None else None


def _compiled(line: str) -> tuple[bool, re.Pattern[str]] | None:
    # The library's own name of the pattern that knows no files, only the text of paths. It takes 40 ms to import, and
    # most have no patterns.
    from pathspec.patterns.gitignore.basic import GitIgnoreBasicPattern  # noqa: PLC0415

    try:
        pattern = GitIgnoreBasicPattern(line)
    except (ValueError, re.error):
        return None
    if pattern.include is None or pattern.regex is None:
        return None
    return pattern.include, pattern.regex


def _way(line: str) -> list[str] | None:
    """The parts of a pattern that begins at the top; None for one that fits at any depth."""
    parts = line.rstrip("/").split("/")
    if len(parts) == 1:
        return None
    return [*parts, "**"] if line.endswith("/") else parts


def _leads(way: Sequence[str], folder: Sequence[str]) -> bool:
    """Whether the parts of a pattern can fit something below a folder."""
    if way[-1] == "*" and "**" not in way and len(folder) >= len(way):
        return False
    for part, name in zip(way, folder, strict=False):
        if part == "**":
            return True
        if _GLOB.search(part) and _any_of(part).match(name) is None:
            return False
        if not _GLOB.search(part) and part != name:
            return False
    return True


def _any_of(part: str) -> re.Pattern[str]:
    """A regular expression that fits at least what a part of a pattern fits."""
    return re.compile(translate(part) if "\\" not in part else ".*", re.DOTALL)


def _as_folder(line: str) -> str:
    """A pattern for the folders of which another one leaves out everything.

    >>> [_as_folder(line) for line in ("src/gen/**", "gen/**", "*.o", "build/")]
    ['src/gen/', '/gen/', '*.o', 'build/']
    """
    if not line.endswith("/**"):
        return line
    whole = line.removesuffix("**")
    # With a slash at its end alone, the pattern would fit at any depth.
    return whole if "/" in whole[:-1] else f"/{whole}"
