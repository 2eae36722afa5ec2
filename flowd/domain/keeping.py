"""What is said of steps between the engine and whoever keeps their processes."""

from typing import Literal, NotRequired, TypedDict


class KeeperRecord(TypedDict):
    """What a keeper knew of an attempt when it was last connected to."""

    id: str
    state: Literal["running", "exited"]
    pid: NotRequired[int]
