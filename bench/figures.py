"""What a bench measures, and what rounds of it come to: medians with their spread."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median

from bench.subjects import Subject


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


Rounds = dict[int, Figure]
"""The rounds of one figure of one checkout, by number; a round whose bench failed is missing."""


class Results:
    """All that was measured: by the figure's name, then by checkout."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self._rounds: dict[str, dict[str, Rounds]] = {}

    def add(self, label: str, number: int, figure: Figure) -> None:
        """Take in what a round measured."""
        self._rounds.setdefault(figure.name, {}).setdefault(label, {})[number] = figure

    def header(self) -> list[str]:
        """The columns' names."""
        first, *others = self.labels
        columns = ["", first, "rival", f"{first} / rival"]
        for other in others:
            columns += [other, f"{other} / rival", f"{first} / {other}"]
        return columns

    def rows(self) -> list[list[str]]:
        """One row a figure, and one more for each further rival."""
        return [row for name, by_label in self._rounds.items() for row in self._rows(name, by_label)]

    def _rows(self, name: str, by_label: dict[str, Rounds]) -> Iterable[list[str]]:
        first, *others = (by_label.get(label, {}) for label in self.labels)
        every = [figure for rounds in (first, *others) for figure in rounds.values()]
        for number, rival in enumerate(list(every[0].rivals) or [""]):
            is_first = number == 0
            row = [name if is_first else "", _value(first) if is_first else "", _rival(every, rival)]
            row.append(_ratio(first, rival))
            for other in others:
                row += [_value(other) if is_first else "", _ratio(other, rival)]
                row.append(_change(first, other) if is_first else "")
            yield row


def _value(rounds: Rounds) -> str:
    figures = list(rounds.values())
    return _spread([figure.value for figure in figures], figures[0].unit) if figures else "failed"


def _rival(figures: Sequence[Figure], rival: str) -> str:
    if not rival:
        return ""
    values = [value for figure in figures if (value := figure.rivals[rival]) is not None]
    return f"{rival}: {_number(median(values))} {figures[0].unit}" if values else f"{rival}: not installed"


def _ratio(rounds: Rounds, rival: str) -> str:
    return _ratios([(figure.value, figure.rivals.get(rival)) for figure in rounds.values()])


def _change(first: Rounds, other: Rounds) -> str:
    # Round by round, as both of a round were measured one after the other.
    return _ratios([(first[number].value, other[number].value) for number in first if number in other])


def _ratios(pairs: Sequence[tuple[float, float | None]]) -> str:
    ratios = [value / other for value, other in pairs if other]
    return _spread(ratios, "x", digits=2) if ratios else ""


def _spread(values: Sequence[float], unit: str, digits: int | None = None) -> str:
    middle, low, high = (_number(value, digits) for value in (median(values), min(values), max(values)))
    return f"{middle} {unit} ({low} to {high})" if low != high else f"{middle} {unit}"


def _number(value: float, digits: int | None = None) -> str:
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
