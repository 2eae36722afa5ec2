"""Figures in the formats that Prometheus reads. The one owner of `prometheus_client`.

Its registries and counters are left alone: flowd counts by itself, for less, and writes with it.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from flowd.api.metrics.family import Family, Measured, Sample

if TYPE_CHECKING:
    from prometheus_client import Metric

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPEN_METRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

SAMPLES_AT_ONCE = 100
"""Numbers that are written before others get their turn in the loop: half a millisecond."""

_END = b"# EOF\n"

Encode = Callable[["_One"], bytes]


class Exposition:
    """Writes figures."""

    def __init__(self) -> None:
        self._formats: dict[str, Encode] | None = None

    async def text(self, measured: Iterable[Measured], *, accept: str) -> tuple[bytes, str]:
        """Figures as text, and its content type.

        Others have their turns in the loop after every `SAMPLES_AT_ONCE` numbers.

        Args:
            accept: What the reader's header of this name says.
        """
        if self._formats is None:
            # The library takes a while to load, and few daemons are asked for this.
            self._formats = await asyncio.to_thread(_load)
        kind = OPEN_METRICS if "application/openmetrics-text" in accept else TEXT
        encode, written = self._formats[kind], []
        for family, samples, is_first in slices(measured):
            part = encode(_One(family, samples)).removesuffix(_END)
            written.append(part if is_first else _without_head(part))
            await asyncio.sleep(0)
        if kind == OPEN_METRICS:
            written.append(_END)
        return b"".join(written), kind


def slices(measured: Iterable[Measured]) -> Iterator[tuple[Family, Sequence[Sample], bool]]:
    """The families in parts of at most `SAMPLES_AT_ONCE`; the last member is whether it is the family's first part."""
    for each in measured:
        samples, is_first = each.samples(), True
        while part := list(islice(samples, SAMPLES_AT_ONCE)):
            yield each.family, part, is_first
            is_first = False
        if is_first:
            yield each.family, (), True  # what there is of it is worth its line: nothing yet


class _One:
    """What the library takes for a registry."""

    def __init__(self, family: Family, samples: Sequence[Sample]) -> None:
        self._family = family
        self._samples = samples

    def collect(self) -> "Iterator[Metric]":
        """The only one."""
        from prometheus_client import Metric  # noqa: PLC0415 - see `Exposition.text`

        family = self._family
        metric = Metric(family.name.removesuffix("_total"), family.about, family.kind)
        for sample in self._samples:
            metric.add_sample(sample.name, dict(sample.labels), sample.value)
        yield metric


def _load() -> dict[str, Encode]:
    from prometheus_client import exposition  # noqa: PLC0415 - see `Exposition.text`
    from prometheus_client.openmetrics import exposition as open_metrics  # noqa: PLC0415

    formats: dict[str, Any] = {TEXT: exposition.generate_latest, OPEN_METRICS: open_metrics.generate_latest}
    return formats


def _without_head(part: bytes) -> bytes:
    """Without the lines that say what the family is."""
    return b"".join(line for line in part.splitlines(keepends=True) if not line.startswith(b"# "))
