"""Removes the files of steps that ran here and were forgotten by another host of the same store."""

import asyncio
import logging

from flowd.domain.errors import RefusedError
from flowd.engine.outputs import OutputFiles
from flowd.ports import OutputShelf

log = logging.getLogger("flowd.engine")

LOOK_EVERY_S = 60.0


class ForgottenOutput:
    """Looks for such files now and then."""

    def __init__(self, shelf: OutputShelf, outputs: OutputFiles) -> None:
        self._shelf = shelf
        self._outputs = outputs

    async def look_for_ever(self) -> None:
        """Look at once, and then again and again. Without end."""
        while True:
            try:
                await self._shelf.remove_forgotten(self._remove)
            except RefusedError:
                pass  # who writes tells it
            except Exception:
                log.exception("output of forgotten runs could not be removed")
            await asyncio.sleep(LOOK_EVERY_S)

    def _remove(self, attempt_id: str) -> None:
        try:
            self._outputs.remove_all(attempt_id)
        except OSError as error:
            log.warning("output not removed", extra={"attempt_id": attempt_id, "problem": str(error)})
