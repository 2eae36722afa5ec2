"""The flow packages in force, and what is asked about them."""

from collections.abc import Sequence
from typing import Protocol

from flowd.domain.flow import Snapshot
from flowd.domain.matching import Answers
from flowd.domain.payload_check import SchemaSource


class Catalog(Protocol):
    """The flow packages in force."""

    @property
    def snapshot(self) -> Snapshot:
        """The catalog now. Never touches the disk."""
        ...

    async def reload(self) -> Snapshot:
        """Look at the disk now and return the snapshot that came of it."""
        ...


class PayloadChecks(Protocol):
    """Makes the checks that may take long, where they hold nobody up and can be ended."""

    async def check(self, sources: Sequence[SchemaSource], body: bytes) -> Answers:
        """The answers to these checks of the payload of an event, each of them once.

        Args:
            body: The event as JSON.
        """
        ...


class PackageHashes(Protocol):
    """What packages are like now."""

    async def now(self, root: str, script: str) -> str | None:
        """A hash over all files of the package in this folder; None where it is gone."""
        ...

    async def whole(self, root: str, scripts: Sequence[str]) -> str | None:
        """The same with all of its scripts, and the same in every checkout: by contents alone."""
        ...
