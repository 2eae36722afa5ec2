"""What a pool of connections is tried with."""


class Kept:
    """A connection that notes what becomes of it."""

    def __init__(self, *, is_quiet: bool = True) -> None:
        self.is_closed = False
        self._is_quiet = is_quiet

    def is_quiet(self) -> bool:
        return self._is_quiet

    def close(self) -> None:
        self.is_closed = True
