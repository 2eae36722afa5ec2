"""Decides which of the packages with the same name is in force. Pure: the first one found wins."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from flowd.domain.flow import BrokenPackage, Flow, ShadowedPackage, Snapshot


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in one place.

    Attributes:
        flow: As it is on disk, or as it last was when it was not broken.
        broken: What is wrong with it now.
        is_package: False for a whole root; it hides no package of its name.
    """

    flow: Flow | None = None
    broken: BrokenPackage | None = None
    is_package: bool = True


def assemble(found: Iterable[Found]) -> Snapshot:
    """The snapshot of packages in discovery order. A broken one hides its namesakes like any other.

    Otherwise a slip in an installed package would put an older source of the same name in charge.
    """
    flows: list[Flow] = []
    broken: list[BrokenPackage] = []
    shadowed: list[ShadowedPackage] = []
    owners: dict[str, str] = {}
    for item in found:
        is_in_force = item.flow is not None and item.flow.name not in owners
        if item.flow is not None and is_in_force:
            flows.append(item.flow)
            owners[item.flow.name] = item.flow.root
        elif item.flow is not None:
            shadowed.append(ShadowedPackage(item.flow.name, item.flow.root, by=owners[item.flow.name]))
        if item.broken is not None:
            broken.append(replace(item.broken, stale=is_in_force or item.broken.stale))
        if item.broken is not None and item.is_package:
            if item.flow is None and item.broken.name in owners:
                shadowed.append(ShadowedPackage(item.broken.name, item.broken.root, by=owners[item.broken.name]))
            owners.setdefault(item.broken.name, item.broken.root)
    return Snapshot(tuple(flows), tuple(broken), tuple(shadowed))
