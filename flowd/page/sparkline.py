"""Small charts of the last hour, as SVG: a bar for each minute."""

from collections.abc import Sequence

from markupsafe import Markup

from flowd.domain.pulse import Minute, mean_ms
from flowd.page.words import took

_STEP = 4
_BAR = 3
_HEIGHT = 32
_LEAST = 1.5
"""What is there at all is seen."""


def throughput(minutes: Sequence[Minute]) -> Markup:
    """How much ended in each minute; what failed or was canceled lies at the foot, in another colour."""
    ended, bad = sum(minute.ended for minute in minutes), sum(minute.bad for minute in minutes)
    most = max((minute.ended for minute in minutes), default=0)
    bars = Markup()
    for place, minute in enumerate(minutes):
        whole, foot = _scaled(minute.ended, most), _scaled(minute.bad, most)
        bars += _bar("good", place, foot, max(0.0, whole - foot)) + _bar("bad", place, 0.0, foot)
    said = f"{ended} runs ended in the last hour, at most {most} in a minute; {bad} of them badly"
    return _chart(said, bars)


def failures(minutes: Sequence[Minute]) -> Markup:
    """Which part of what ended in each minute ended badly."""
    bars = Markup()
    for place, minute in enumerate(minutes):
        bars += _bar("bad", place, 0.0, _scaled(minute.bad, minute.ended))
    bad = sum(minute.bad for minute in minutes)
    return _chart(f"{bad} runs ended badly in the last hour; the bars are their part of each minute's", bars)


def durations(minutes: Sequence[Minute]) -> Markup:
    """How long on average that took which ended in each minute."""
    means = [mean_ms([minute]) or 0.0 for minute in minutes]
    longest = max(means, default=0.0)
    bars = Markup()
    for place, mean in enumerate(means):
        bars += _bar("plain", place, 0.0, _scaled(mean, longest))
    return _chart(f"How long runs took on average, minute by minute; at most {took(round(longest))}", bars)


def _scaled(value: float, most: float) -> float:
    """A height.

    >>> _scaled(5, 10), _scaled(0, 10), _scaled(1, 1000), _scaled(0, 0)
    (16.0, 0.0, 1.5, 0.0)
    """
    return max(_LEAST, value / most * _HEIGHT) if value > 0 else 0.0


def _bar(kind: str, place: int, foot: float, height: float) -> Markup:
    if not height:
        return Markup()
    return Markup('<rect class="bar-{}" x="{}" y="{:.1f}" width="{}" height="{:.1f}"/>').format(
        kind, place * _STEP, _HEIGHT - foot - height, _BAR, height
    )


def _chart(said: str, bars: Markup) -> Markup:
    head = Markup('<svg class="spark" viewBox="0 0 {} {}" role="img" aria-label="{}" preserveAspectRatio="none">')
    return head.format(60 * _STEP, _HEIGHT, said) + bars + Markup("</svg>")
