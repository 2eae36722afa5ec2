"""Reads ``[host]``: what this host is called among those that share a store, and which labels it has."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from flowd.domain import hosts
from flowd.formats.typed import Struct

NAME_VARIABLE = "FLOWD_HOST"
LABELS_VARIABLE = "FLOWD_LABELS"


class HostTable(Struct, forbid_unknown_fields=True):
    """``[host]``."""

    name: str | None = None
    labels: tuple[str, ...] | None = None


def name(
    environ: Mapping[str, str], files: Sequence[tuple[Path, HostTable]], hostname: Callable[[], str]
) -> tuple[str, str]:
    """What this host is called, and where that is said: by default what the system calls it.

    Raises:
        ValueError: It is no name.
    """
    for said, origin in ((environ.get(NAME_VARIABLE), f"${NAME_VARIABLE}"), *_of_files(files, "name")):
        if said:
            if not hosts.is_name(said):
                raise ValueError(f"{origin}: [host] name must be {hosts.NAME_RULE}, got {said[:80]!r}.")
            return said, origin
    return hosts.name_from(hostname()), "default"


def labels(environ: Mapping[str, str], files: Sequence[tuple[Path, HostTable]]) -> tuple[tuple[str, ...], str]:
    """The labels of the strongest source that has some, without the one that every host has; and where they are from.

    Raises:
        ValueError: One is no label, or they are too many.
    """
    if (text := environ.get(LABELS_VARIABLE)) is not None:
        return _checked([label.strip() for label in text.split(",") if label.strip()], f"${LABELS_VARIABLE}")
    for said, origin in _of_files(files, "labels"):
        if said is not None:
            return _checked(list(said), origin)
    return (), "default"


def _of_files(files: Sequence[tuple[Path, HostTable]], member: str) -> list[tuple[str | None, str]]:
    return [(getattr(table, member), str(path)) for path, table in files]


def _checked(said: list[str], origin: str) -> tuple[tuple[str, ...], str]:
    for label in said:
        if not hosts.is_label(label):
            raise ValueError(f"{origin}: a label of [host] labels must be {hosts.LABEL_RULE}, got {label[:80]!r}.")
        if label.startswith(hosts.OWN_LABEL):
            raise ValueError(
                f"{origin}: [host] labels has {label!r}, and {hosts.OWN_LABEL}NAME is a label that the host of that "
                "name has by itself. Take it out."
            )
    if len(said) > hosts.MAX_LABELS:
        raise ValueError(f"{origin}: [host] labels has {len(said)} labels; a host has at most {hosts.MAX_LABELS}.")
    return tuple(dict.fromkeys(said)), origin
