"""The end of what a step printed, as its error shows it."""

import re
from typing import Literal

MAX_CHARS = 4_000

_COLOURS = re.compile(r"\x1b\[[0-9;:?]*[ -/]*[@-~]")
_FRAME = re.compile(r"\s+at \S")
"""A line of a stack, as JavaScript's interpreters print it: below what went wrong."""
_BEHIND_FRAMES = re.compile(r"(?:\s.*|[}\])]*|(?:Node\.js|Bun) v\d.*)")
"""What these interpreters print after a stack: members of the error, and their own version."""


def excerpt(stderr: str, stdout: str) -> str:
    """The last lines of both streams, labelled, in at most `MAX_CHARS` characters.

    Each stream may have half of them, and what the other one leaves. Cut at line starts; a single line that is longer
    than all there is room for keeps its end. Of a line that was drawn over itself (progress), the last drawing is kept.

    >>> print(excerpt("boom\\n", ""))
    stderr:
      boom
    stdout: nothing
    >>> excerpt("", " \\n")
    'It printed nothing on stdout or stderr.'
    """
    ends = {"stderr": _lines(stderr), "stdout": _lines(stdout)}
    if not any(ends.values()):
        return "It printed nothing on stdout or stderr."
    room = MAX_CHARS - sum(len(_label(name, 10**6, is_cut=True)) + 1 for name in ends)
    sizes = {name: _size(lines) for name, lines in ends.items()}
    half = room // 2
    shares = {
        "stderr": max(half, room - sizes["stdout"]),
        "stdout": max(room - half, room - sizes["stderr"]),
    }
    return "\n".join(_block(name, lines, shares[name]) for name, lines in ends.items())


def last_words(text: str, stream: Literal["stderr", "stdout"]) -> str | None:
    r"""The last line of a stream that says something, from an error that ends with an `excerpt`; None where none does.

    >>> failed = "It failed\n" + excerpt("a\n\x1b[31mboom\x1b[0m\n", 'no host\nFLOW_RESULT {"status":"changed"}\n')
    >>> last_words(failed, "stderr"), last_words(failed, "stdout"), last_words("It failed", "stderr")
    ('boom', 'no host', None)
    >>> stack = "Error: x\n    at f (a.js:1:2) {\n  code: 1\n}\n\nNode.js v22.1.0\n"
    >>> last_words("It failed\n" + excerpt(stack, ""), "stderr")
    'Error: x'
    """
    block = _block_of(text, stream)
    lines = [_COLOURS.sub("", line) for line in block] if "\x1b" in text else block
    said = _without_stack(lines) if " at " in text else lines
    return next((line.strip() for line in reversed(said) if _says_something(line)), None)


def _block_of(text: str, stream: str) -> list[str]:
    """The lines that an excerpt shows of a stream."""
    label = next((at for mark in (":\n", ", the ") if (at := text.find(f"\n{stream}{mark}")) >= 0), None)
    if label is None:
        return []
    begin = text.find("\n", label + 1)
    end = text.find("\nstdout", begin) if stream == "stderr" else -1  # its own lines are indented
    return [line[2:] for line in text[begin + 1 : end if end >= 0 else None].split("\n")] if begin >= 0 else []


def _without_stack(lines: list[str]) -> list[str]:
    last = next((n for n in reversed(range(len(lines))) if _FRAME.match(lines[n])), None)
    if last is None or not all(_BEHIND_FRAMES.fullmatch(line) for line in lines[last + 1 :]):
        return lines
    while last > 0 and _FRAME.match(lines[last - 1]):
        last -= 1
    return lines[:last]


def _says_something(line: str) -> bool:
    return any(map(str.isalnum, line)) and "FLOW_RESULT " not in line


def _lines(text: str) -> list[str]:
    lines = [line.rstrip().rpartition("\r")[2] for line in text.replace("\r\n", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    while lines and not lines[0]:
        lines.pop(0)
    return lines


def _size(lines: list[str]) -> int:
    return sum(len(line) + 3 for line in lines)  # indented by two, and its line feed


def _block(name: str, lines: list[str], room: int) -> str:
    if not lines:
        return f"{name}: nothing"
    kept: list[str] = []
    for line in reversed(lines):
        size = len(line) + 3
        if size > room:
            if not kept:
                kept.append("…" + line[len(line) - room + 4 :])
            break
        room -= size
        kept.append(line)
    label = _label(name, len(kept), is_cut=len(kept) < len(lines) or kept[-1] != lines[-len(kept)])
    return "\n".join([label, *(f"  {line}" for line in reversed(kept))])


def _label(name: str, count: int, *, is_cut: bool) -> str:
    if not is_cut:
        return f"{name}:"
    return f"{name}, the last {count} lines:" if count > 1 else f"{name}, the end of the last line:"
