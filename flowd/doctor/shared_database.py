"""Checks the database that hosts share: whether it is reached, and does what flowd relies on. Changes nothing."""

from collections.abc import Iterator

from flowd.doctor.finding import Finding, Level
from flowd.doctor.scene import Scene
from flowd.domain.errors import StateError
from flowd.wiring.store import shared_address


def check(scene: Scene) -> Iterator[Finding]:
    """A finding for each thing that was looked at."""
    try:
        address = shared_address(scene.settings)
    except StateError as error:
        yield Finding("database", Level.FAIL, error.message)
        return
    from flowd.store.postgres import inspection  # noqa: PLC0415 - an extra, which few have

    for seen in inspection.look(address):
        yield Finding(f"database.{seen.what}", Level(seen.level), seen.found, seen.remedy or None)
