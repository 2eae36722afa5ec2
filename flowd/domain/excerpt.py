"""The end of what a step printed, as its error shows it."""

MAX_CHARS = 4_000


def excerpt(stderr: str, stdout: str, *, max_chars: int = MAX_CHARS) -> str:
    """The last lines of both streams, labelled, in at most ``max_chars`` characters.

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
    room = max_chars - sum(len(_label(name, 10**6, is_cut=True)) + 1 for name in ends)
    sizes = {name: _size(lines) for name, lines in ends.items()}
    half = room // 2
    shares = {
        "stderr": max(half, room - sizes["stdout"]),
        "stdout": max(room - half, room - sizes["stderr"]),
    }
    return "\n".join(_block(name, lines, shares[name]) for name, lines in ends.items())


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
