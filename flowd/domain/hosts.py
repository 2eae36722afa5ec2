"""What tells hosts apart that share a store: their names, their labels, and which steps they can run."""

import re
from collections.abc import Collection, Iterable

MAX_LABELS = 64
NAME_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$"
NAME_RULE = "a name like a hostname's: at most 63 letters, digits, '.', '_' and '-'"
LABEL_PATTERN = r"^[A-Za-z0-9._:-]{1,64}$"
LABEL_RULE = "at most 64 letters, digits, '.', '_', ':' and '-'"

OWN_LABEL = "host:"
"""With its name behind it, a label that every host has, and no other."""

_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_is_name = re.compile(NAME_PATTERN).match
_is_label = re.compile(LABEL_PATTERN).match


def is_name(text: str) -> bool:
    """Whether a host may be called so.

    >>> [is_name(text) for text in ("box-1.example.org", "box_1", "-box", "", "a" * 64)]
    [True, True, False, False, False]
    """
    return _is_name(text) is not None and not text.endswith("\n")


def is_label(text: str) -> bool:
    """Whether a label may be written so.

    >>> [is_label(text) for text in ("gpu", "host:box", "cuda-12.4", "a b", "", "a" * 65)]
    [True, True, True, False, False, False]
    """
    return _is_label(text) is not None and not text.endswith("\n")


def name_from(hostname: str) -> str:
    """A name made of what the system calls this machine, which may be anything.

    >>> name_from("box.example.org"), name_from("Anna's box"), name_from("…"), name_from("a" * 80) == "a" * 63
    ('box.example.org', 'Anna-s-box', 'localhost', True)
    """
    return _UNFIT.sub("-", hostname).strip("._-")[:63].rstrip("._-") or "localhost"


def labels_of(name: str, labels: Iterable[str]) -> frozenset[str]:
    """All labels of a host.

    >>> sorted(labels_of("box", ["gpu"]))
    ['gpu', 'host:box']
    """
    return frozenset((*labels, f"{OWN_LABEL}{name}"))


def missing(runs_on: Iterable[str], labels: Collection[str]) -> list[str]:
    """The labels that a step requires and a host does not have, sorted: none where it can run there.

    >>> missing(["gpu", "big"], {"gpu", "host:box"})
    ['big']
    """
    return sorted(set(runs_on).difference(labels))


def requirement(flow: str, step: str, runs_on: Iterable[str]) -> str:
    """What a host must have to run a step, as one text: equal for steps that the same hosts can run.

    >>> requirement("rel", "build", ["gpu", "big"]), requirement("rel", "note", [])
    ('rel/build:big,gpu', 'rel/note:')
    """
    return f"{flow}/{step}:{','.join(sorted(set(runs_on)))}"
