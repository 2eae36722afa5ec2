"""Writes refused requests into the log: each of the first few, and then how many more there were."""

import asyncio
import logging
from collections import Counter

_WINDOW_S = 10.0
_LINES = 5
"""Of one window. Who guesses tokens is seen in the log, and cannot fill the disk with it."""


class Refusals:
    """Refusals that somebody who guards this daemon should know of."""

    def __init__(self, log: logging.Logger, message: str, **about: object) -> None:
        """``message`` is the log's; ``about`` says of all of them what they have in common."""
        self._log = log
        self._message = message
        self._about = about
        self._lines = 0
        self._untold: Counter[str] = Counter()
        self._window: asyncio.TimerHandle | None = None

    def note(self, slug: str, **details: object) -> None:
        """A request was refused. ``details`` go into its line."""
        if self._window is None:
            self._window = asyncio.get_running_loop().call_later(_WINDOW_S, self._end_window)
        if self._lines < _LINES:
            self._lines += 1
            self._log.warning(self._message, extra={**self._about, "slug": slug, **details})
        else:
            self._untold[slug] += 1

    def _end_window(self) -> None:
        self._window = None
        self._lines = 0
        if self._untold:
            told = {"count": self._untold.total(), "slugs": ",".join(sorted(self._untold)), "within_s": _WINDOW_S}
            self._untold.clear()
            self._log.warning("%s: more", self._message, extra={**self._about, **told})
