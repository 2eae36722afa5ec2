"""Decides which of the packages with the same name is in force. Pure."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby

from flowd.catalog.concurrency import with_limit_warnings
from flowd.catalog.schedules import with_type_warnings
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


def assemble(found: Iterable[Found], in_force: Mapping[str, str] | None = None) -> Snapshot:
    """The snapshot of packages in discovery order.

    The first root that has a name decides, so a broken package hides those of its name in later roots: a slip in an
    installed package must not put an older source in charge. Within a root, what is
    whole comes before what is not. And a newcomer that is not whole, half copied perhaps, does not displace what is
    in force.

    Args:
        in_force: The folders of the flows that were in force before, by name.
    """
    items = list(found)
    owners = _owners(items, in_force or {})
    flows: list[Flow] = []
    broken: list[BrokenPackage] = []
    shadowed: list[ShadowedPackage] = []
    for item in items:
        root, name = _root(item), _name(item)
        is_in_force = item.flow is not None and owners[name] == root
        if item.flow is not None and is_in_force:
            flows.append(item.flow)
        elif item.is_package and owners.get(name, root) != root:
            shadowed.append(ShadowedPackage(name, root, by=owners[name]))
        if item.broken is not None:
            broken.append(replace(item.broken, stale=is_in_force or item.broken.stale))
    return Snapshot(with_type_warnings(with_limit_warnings(flows)), tuple(broken), tuple(shadowed))


def _owners(items: list[Found], in_force: Mapping[str, str]) -> Mapping[str, str]:
    """Which folder each name belongs to."""
    working = {_root(item) for item in items if item.flow is not None}
    owners: dict[str, str] = {}
    for _, group in groupby((item for item in items if item.is_package), key=lambda item: os.path.dirname(_root(item))):
        for item in sorted(group, key=lambda item: _rank(item, in_force)):
            name, before = _name(item), in_force.get(_name(item))
            if _rank(item, in_force) and before in working:
                continue
            owners.setdefault(name, _root(item))
    return owners


def _rank(item: Found, in_force: Mapping[str, str]) -> int:
    """0 for what may take its name; more for what is broken, or lacks scripts and was not in force before."""
    if item.flow is None:
        return 2
    return int(not item.flow.is_whole and in_force.get(item.flow.name) != item.flow.root)


def _root(item: Found) -> str:
    package = item.flow or item.broken
    assert package is not None
    return package.root


def _name(item: Found) -> str:
    package = item.flow or item.broken
    assert package is not None
    return package.name
