"""Masks secrets in what is shown. Payloads and output are stored exact; a run's error is masked before it is stored.

A byte is masked exactly if some secret covers it, whatever chunks a stream is read in. Forms of a secret that a step
computes (base64, a hash, every second letter) are not recognised, but its JSON string form is, as the usual writers of
JSON make it.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence

MASK = "***"
MIN_LENGTH = 4
"""A shorter value would be masked in the middle of ordinary words."""

_MIN_LINE_LENGTH = 8
"""Of a secret of several lines (a PEM key), each line this long is masked by itself, for steps print lines."""

_ESCAPES = (
    str.maketrans({"/": "\\/"}),  # PHP
    str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"}),  # Go
    str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&='"}),  # Gson
    str.maketrans({char: f"\\u{ord(char):04X}" for char in "<>&'+`"}),  # .NET
)
"""What writers of JSON escape beside what they must. A reader takes the value out of that as it was."""

_LEAD_BYTES = 16
"""By so many of its first bytes the beginning of a secret is searched for."""

_MAX_HELD_BYTES = 64 * 1024
"""Of what is known to be secret, and held back only so that it becomes one mask with what may follow."""

Spans = list[tuple[int, int]]


class Redactor:
    """Knows the values of the secret variables, and masks them. Grows as definitions with more values become known."""

    def __init__(self, names: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> None:
        """Secrets are the values of the variables ``names`` in ``environ``, and in what `learn` is given."""
        self._names = frozenset(names)
        self._needles: tuple[bytes, ...] = ()
        self.longest = 0
        self.learn(environ or {})

    @property
    def is_wanted(self) -> bool:
        """Whether any variable is named as secret, so that there may be something to mask."""
        return bool(self._names)

    def learn(self, environ: Mapping[str, str]) -> None:
        """Also mask the values that the secret variables have here."""
        values = [value for name in self._names & environ.keys() for value in _forms(environ[name])]
        self._add({os.fsencode(value) for value in values})

    def _add(self, found: set[bytes]) -> None:
        if not found <= set(self._needles):
            self._needles = tuple(sorted({*self._needles, *found}))
            self.longest = max(map(len, self._needles))

    def learn_values(self, values: Iterable[str]) -> None:
        """Also mask these. They are no step's, so that `is_wanted` says the same as before."""
        self._add({os.fsencode(form) for value in values for form in _forms(value)})

    def text(self, text: str) -> str:
        """The text with every secret masked."""
        if not self._needles:
            return text
        data = text.encode("utf-8", "surrogateescape" if _has_only_escapes(text) else "surrogatepass")
        masked = _masked(data, _spans(data, self._needles), 0, len(data))
        return text if masked == data else masked.decode("utf-8", "replace")

    def json(self, text: str) -> str:
        """A JSON text with every secret masked that is in one of its strings, names or numbers. Stays JSON."""
        if not self._needles:
            return text
        value = json.loads(text)
        masked = self._value(value)
        return text if masked == value else json.dumps(masked, ensure_ascii=False, separators=(",", ":"))

    def part(self, before: bytes, data: bytes, after: bytes, *, is_end: bool) -> tuple[bytes, int]:
        """Mask a part of a stream.

        Args:
            before: Up to ``longest`` bytes that stand before the part.
            data: The part.
            after: Up to ``longest`` bytes that follow it, as far as they are written.
            is_end: Nothing will ever follow ``after``.

        Returns:
            The masked part, and how many bytes of the stream it stands for. These may be more than ``data`` has, where
            a secret begins in it and ends beyond; or fewer, even none, where what may become a secret is not yet
            written to its end: that is held back.
        """
        if not self._needles:
            return data, len(data)
        whole = before + data + after
        spans = _spans(whole, self._needles)
        begin, end = len(before), len(before) + len(data)
        for first, last in spans:
            if first < end < last:
                end = last
        if not is_end and end > len(whole) - self.longest:
            end = min(end, _held_back_from(whole, spans, self._needles))
        if end <= begin:
            return b"", 0
        return _masked(whole, spans, begin, end), end - begin

    def _value(self, value: object) -> object:
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(name): self._value(member) for name, member in value.items()}
            case list():
                return [self._value(item) for item in value]
            case bool() | None:
                return value
            case _:
                plain = json.dumps(value)
                return value if self.text(plain) == plain else self.text(plain)


def looks_secret(name: str) -> bool:
    """Whether a variable's name says that its value is a secret.

    >>> [looks_secret(name) for name in ("NPM_TOKEN", "DB_PASSWORD_FILE", "MONKEY", "API_KEY", "SECRET")]
    [True, True, False, True, True]
    """
    upper = name.upper()
    return "PASSWORD" in upper or f"_{upper}".endswith(("_TOKEN", "_SECRET", "_KEY"))


def _forms(value: str) -> Iterable[str]:
    """A secret as it may be printed: whole, line by line, and inside a JSON string."""
    bare = value.strip()
    lines = bare.splitlines()
    whole = [bare] if len(bare) >= MIN_LENGTH else []
    parts = [line.strip() for line in lines if len(line.strip()) >= _MIN_LINE_LENGTH] if len(lines) > 1 else []
    for form in (*whole, *parts):
        yield form
        for text in (json.dumps(form, ensure_ascii=False)[1:-1], json.dumps(form)[1:-1]):
            yield text
            yield from map(text.translate, _ESCAPES)


def _has_only_escapes(text: str) -> bool:
    """Whether every lone surrogate stands for a byte that was no UTF-8."""
    return not any("\ud800" <= char <= "\udc7f" or "\udd00" <= char <= "\udfff" for char in text)


def _spans(data: bytes, needles: Sequence[bytes]) -> Spans:
    """What is covered by the needles, overlapping ones as one span, in order."""
    found: Spans = []
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            found.append((at, at + len(needle)))
            at = data.find(needle, at + 1)
    found.sort()
    merged: Spans = []
    for first, last in found:
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def _masked(data: bytes, spans: Spans, begin: int, end: int) -> bytes:
    pieces: list[bytes] = []
    at = begin
    for first, last in spans:
        if last <= begin or first >= end:
            continue
        pieces += [data[at : max(at, first)], MASK.encode()]
        at = last
    pieces.append(data[at:end])
    return b"".join(pieces)


def _held_back_from(data: bytes, spans: Spans, needles: Sequence[bytes]) -> int:
    """Where the longest beginning of a secret stands that the data ends with; the data's length if there is none."""
    start = min((_beginning(data, needle) for needle in needles), default=len(data))
    # A secret that is whole already may overlap with one to come; both become one mask when that has come.
    return min([start, *(first for first, last in spans if first < start < last and start - first < _MAX_HELD_BYTES)])


def _beginning(data: bytes, needle: bytes) -> int:
    """Where the longest beginning of this secret stands that the data ends with; the data's length if there is none."""
    lead = needle[: min(_LEAD_BYTES, len(needle) - 1)]
    at = data.find(lead, max(0, len(data) - len(needle) + 1))
    while at >= 0:
        if needle.startswith(data[at:]):
            return at
        at = data.find(lead, at + 1)
    shorter = range(min(len(lead), len(data)), 0, -1)
    return next((len(data) - length for length in shorter if data.endswith(needle[:length])), len(data))
