"""Reads ``[host]``: what this host is called among those that share a store, and which labels it has."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

from flowd.domain import hosts
from flowd.formats.typed import About, Problem, Rule, Struct

NAME_VARIABLE = "FLOWD_HOST"
LABELS_VARIABLE = "FLOWD_LABELS"


def _name_problems(said: str) -> Iterator[Problem]:
    if said and not hosts.is_name(said):
        yield Problem(f"must be {hosts.NAME_RULE}, got {said[:80]!r}")


def _label_problems(said: Sequence[str]) -> Iterator[Problem]:
    for index, label in enumerate(said):
        if not hosts.is_label(label):
            yield Problem(f": a label must be {hosts.LABEL_RULE}, got {label[:80]!r}", (index,))
        elif label.startswith(hosts.OWN_LABEL):
            yield Problem(
                f"has {label!r}, and {hosts.OWN_LABEL}NAME is a label that the host of that name has by itself",
                (index,),
                "Take it out.",
            )
    if len(said) > hosts.MAX_LABELS:
        yield Problem(f"has {len(said)} labels; a host has at most {hosts.MAX_LABELS}")


class HostTable(Struct, forbid_unknown_fields=True):
    """``[host]``."""

    name: Annotated[
        str | None,
        About(
            "What this host is called among those that share a store.",
            default="the hostname",
            example='"builder-1"',
            variables=(NAME_VARIABLE,),
        ),
        Rule(_name_problems),
    ] = None
    labels: Annotated[
        tuple[str, ...] | None,
        About(
            "Which steps it can run, beside those for `host:NAME`, which is its alone. In the variable: "
            f"`{LABELS_VARIABLE}=gpu,big`.",
            default="none",
            example='["gpu", "big"]',
            variables=(LABELS_VARIABLE,),
        ),
        Rule(_label_problems),
    ] = None


def name(
    environ: Mapping[str, str], files: Sequence[tuple[Path, HostTable]], hostname: Callable[[], str]
) -> tuple[str, str]:
    """What this host is called, and where that is said: by default what the system calls it.

    Raises:
        ValueError: It is no name.
    """
    for said, origin in ((environ.get(NAME_VARIABLE), f"${NAME_VARIABLE}"), *_of_files(files, "name")):
        if said:
            _refuse(_name_problems(said), f"{origin}: [host] name")
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
    _refuse(_label_problems(said), f"{origin}: [host] labels")
    return tuple(dict.fromkeys(said)), origin


def _refuse(problems: Iterator[Problem], where: str) -> None:
    for problem in problems:
        text = problem.text if problem.text.startswith(":") else f" {problem.text}"
        raise ValueError(f"{where}{text}." + (f" {problem.remedy}" if problem.remedy else ""))
