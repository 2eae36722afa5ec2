"""What a figure is, and how a measured one is taken apart into samples."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from flowd.domain.tallies import Histogram

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Family:
    """Figures of one name.

    Attributes:
        name: As in the text format; a counter's ends with ``_total``.
        about: What it counts, as a sentence.
        labels: What its figures differ in.
    """

    name: str
    kind: Kind
    about: str
    labels: Labels = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """One number as it is told."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Measured:
    """A family with its figures as they are now, by the values of its labels."""

    family: Family
    figures: Sequence[tuple[Labels, "float | Histogram"]]

    def samples(self) -> Iterator[Sample]:
        """All its numbers.

        >>> lag = Histogram((0.5,))
        >>> lag.add(0.25)
        >>> [(s.name, s.labels, s.value) for s in Measured(Family("x", "histogram", ""), [((), lag)]).samples()]
        [('x_bucket', {'le': '0.5'}, 1), ('x_bucket', {'le': '+Inf'}, 1), ('x_count', {}, 1), ('x_sum', {}, 0.25)]
        """
        name = self.family.name
        for values, figure in self.figures:
            labels = dict(zip(self.family.labels, values, strict=True))
            if isinstance(figure, Histogram):
                yield from _of_histogram(name, labels, figure)
            else:
                yield Sample(name, labels, figure)


def one(family: Family, value: float | Histogram | None) -> Measured:
    """A family without labels; None is a figure that is not there."""
    return Measured(family, [] if value is None else [((), value)])


def each(family: Family, values: Mapping[str, "float | Histogram"]) -> Measured:
    """A family with one label, sorted by it."""
    return Measured(family, [((label,), value) for label, value in sorted(values.items())])


def _of_histogram(name: str, labels: Mapping[str, str], figure: Histogram) -> Iterator[Sample]:
    counts = figure.up_to()
    for bound, count in zip((*map(str, map(float, figure.bounds)), "+Inf"), counts, strict=True):
        yield Sample(f"{name}_bucket", {**labels, "le": bound}, count)
    yield Sample(f"{name}_count", labels, counts[-1])
    yield Sample(f"{name}_sum", labels, figure.total)
