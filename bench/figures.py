"""What a bench measures, and what rounds of it come to: medians with their spread."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.subjects import Subject

TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Figure:
    """One measured value.

    Attributes:
        name: What was measured, the same in each round.
        value: How much.
        unit: Of the value, and of the rivals'.
        rivals: By name, what another program needed in the same round; `None` if it is not installed.
    """

    name: str
    value: float
    unit: str
    rivals: Mapping[str, float | None] = field(default_factory=dict)


Bench = Callable[[Subject], Iterable[Figure]]
"""Measures one round of one checkout."""


@dataclass
class Samples:
    """The rounds of one figure, of one checkout, in order."""

    unit: str
    values: list[float] = field(default_factory=list)
    rivals: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, figure: Figure) -> None:
        """Take in a round."""
        self.values.append(figure.value)
        for name, value in figure.rivals.items():
            self.rivals.setdefault(name, []).append(value)

    def ratios(self, rival: str) -> list[float]:
        """The value as a multiple of the rival's, round by round; empty if the rival is missing."""
        return [value / other for value, other in zip(self.values, self.rivals[rival], strict=True) if other]


class Results:
    """All samples: by figure, then by checkout."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self._samples: dict[str, dict[str, Samples]] = {}

    def add(self, label: str, figure: Figure) -> None:
        """Take in what a round measured."""
        by_label = self._samples.setdefault(figure.name, {})
        by_label.setdefault(label, Samples(figure.unit)).add(figure)

    def header(self) -> list[str]:
        """The columns' names."""
        first, *others = self.labels
        columns = ["", first, "rival", f"{first} / rival"]
        for other in others:
            columns += [other, f"{other} / rival", f"{first} / {other}"]
        return columns

    def rows(self) -> list[list[str]]:
        """One row a figure, and one more for each further rival."""
        return [row for name, by_label in self._samples.items() for row in self._rows(name, by_label)]

    def _rows(self, name: str, by_label: dict[str, Samples]) -> Iterable[list[str]]:
        first, *others = (by_label.get(label, Samples("")) for label in self.labels)
        for number, rival in enumerate(list(first.rivals) or [""]):
            is_first = number == 0
            row = [name if is_first else "", _value(first) if is_first else "", _rival(first, rival)]
            row.append(_ratio(first, rival))
            for other in others:
                row += [_value(other) if is_first else "", _ratio(other, rival)]
                row.append(_change(first, other) if is_first else "")
            yield row


def _value(samples: Samples) -> str:
    return _spread(samples.values, samples.unit) if samples.values else "not measured"


def _rival(samples: Samples, rival: str) -> str:
    if not rival:
        return ""
    there = [value for value in samples.rivals[rival] if value is not None]
    return f"{rival}: {_number(median(there))} {samples.unit}" if there else f"{rival}: not installed"


def _ratio(samples: Samples, rival: str) -> str:
    ratios = samples.ratios(rival) if rival in samples.rivals else []
    return _spread(ratios, TIMES, digits=2) if ratios else ""


def _change(first: Samples, other: Samples) -> str:
    # Round by round, as both of a round were measured one after the other.
    changes = [ours / theirs for ours, theirs in zip(first.values, other.values, strict=False) if theirs]
    return _spread(changes, TIMES, digits=2) if changes else ""


def _spread(values: Sequence[float], unit: str, digits: int | None = None) -> str:
    middle, low, high = (_number(value, digits) for value in (median(values), min(values), max(values)))
    return f"{middle} {unit} ({low} to {high})" if low != high else f"{middle} {unit}"


def _number(value: float, digits: int | None = None) -> str:
    """
    >>> [_number(value) for value in (1423.4, 55.41, 1.618, 0.0312)]
    ['1,423', '55.4', '1.62', '0.031']
    """
    if digits is None:
        digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 0.1 else 3
    return f"{value:,.{digits}f}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table to paste."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table to read in a terminal."""
    widths = [max(len(line[column]) for line in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (header, *rows)
    )
