"""Which steps any host can run, as it was known last."""

from collections.abc import Mapping


class Served:
    """How many hosts that live can run each step. Told by whoever asks the store."""

    def __init__(self) -> None:
        self._counts: Mapping[tuple[str, str], int] | None = None

    def tell(self, counts: Mapping[tuple[str, str], int]) -> None:
        """These are all steps that any host can run, by flow and step, with how many hosts do: 0 where those that could
        are draining."""
        self._counts = counts

    def is_draining(self, flow_name: str, step_name: str) -> bool:
        """Whether some hosts could run a step, but start nothing."""
        return self._counts is not None and self._counts.get((flow_name, step_name)) == 0

    def hosts(self, flow_name: str, step_name: str) -> int | None:
        """How many hosts can run a step; None where that is not known yet."""
        return None if self._counts is None else self._counts.get((flow_name, step_name), 0)
