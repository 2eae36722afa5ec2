"""What attempts are made with."""

from collections.abc import Callable
from dataclasses import dataclass

from flowd.engine.completions import Completions
from flowd.engine.follows import Follows
from flowd.engine.outputs import OutputFiles
from flowd.engine.round_folders import RoundFolders
from flowd.engine.shelving import Shelving
from flowd.engine.storage_waits import StorageWaits
from flowd.engine.tallies import Tallies
from flowd.ports import Clock, Keeper, PackageHashes, Runners, Store


@dataclass(frozen=True, slots=True)
class Tools:
    """What every attempt needs.

    Attributes:
        mask: Takes secrets out of a text.
        shelving: Tells other hosts what is printed.
    """

    store: Store
    keeper: Keeper
    runners: Runners
    packages: PackageHashes
    outputs: OutputFiles
    round_folders: RoundFolders
    completions: Completions
    clock: Clock
    waits: StorageWaits
    follows: Follows
    tallies: Tallies
    max_output_bytes: int
    mask: Callable[[str], str]
    shelving: Shelving
