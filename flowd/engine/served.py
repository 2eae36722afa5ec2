"""Which hosts can run which steps, as it was known last."""

from collections.abc import Mapping

Hosts = Mapping[tuple[str, str], tuple[str, ...]]


class Served:
    """Which hosts that live can run each step. Told by whoever asks the store."""

    def __init__(self) -> None:
        self._hosts: Hosts | None = None
        self._draining: Hosts = {}

    def tell(self, hosts: Hosts, draining: Hosts) -> None:
        """These are all steps that any host can run, by flow and step: the names of the hosts that start runs of it,
        and of those that could, but are draining."""
        self._hosts, self._draining = hosts, draining

    def is_draining(self, flow_name: str, step_name: str, bound_to: str | None = None) -> bool:
        """Whether some hosts could run a step, or the one that its run is bound to could, but start nothing."""
        if self.count(flow_name, step_name, bound_to) != 0:
            return False
        draining = self._draining.get((flow_name, step_name), ())
        return bool(draining) if bound_to is None else bound_to in draining

    def names(self, flow_name: str, step_name: str) -> tuple[str, ...]:
        """The hosts that can run a step; none where that is not known yet."""
        return () if self._hosts is None else self._hosts.get((flow_name, step_name), ())

    def count(self, flow_name: str, step_name: str, bound_to: str | None = None) -> int | None:
        """How many hosts can run a step, of all, or of the one that its run is bound to; None where that is not known
        yet."""
        if self._hosts is None:
            return None
        names = self._hosts.get((flow_name, step_name), ())
        return len(names) if bound_to is None else int(bound_to in names)
