"""What the engine needs from the outside, as protocols. Adapters implement them; the composition root chooses."""

from flowd.ports.catalog import Catalog, PackageHashes, PayloadChecks
from flowd.ports.clock import Clock
from flowd.ports.journal import Journal, Nonces
from flowd.ports.output_shelf import OutputShelf
from flowd.ports.people import PauseStore, QuestionStore
from flowd.ports.schedules import ScheduleStore
from flowd.ports.steps import Keeper, Runners
from flowd.ports.store import OpenStore, Store
from flowd.ports.trees import TreeStore

__all__ = [
    "Catalog",
    "Clock",
    "Journal",
    "Keeper",
    "Nonces",
    "OpenStore",
    "OutputShelf",
    "PackageHashes",
    "PauseStore",
    "PayloadChecks",
    "QuestionStore",
    "Runners",
    "ScheduleStore",
    "Store",
    "TreeStore",
]
