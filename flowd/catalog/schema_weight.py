"""Tells from a schema's text alone whether checking by it is always cheap, and how cheap.

The weight is the number of single checks that one value of a payload can go through, as if every reference were
written out in its place; so time is at most the weight times the payload's size. Only what is surely bounded gets a
weight. Everything else is costly: it is compiled and checked in a process that can be killed.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flowd.catalog.subschemas import DATA, MAPS, children

MAX_WEIGHT = 20_000
"""A heavier schema is costly: not one of its checks would fit into what may be done in place."""

MAX_CHEAP_BYTES = 256 * 1024
"""Of all the files of a schema. Compiling them takes 40 ms, which nothing can interrupt."""

_MAX_PATTERNS = 50_000
_MAX_DEPTH = 100
# Properties that no keyword has looked at: the checker goes through all of the schema's parts again for each of them.
_UNEVALUATED = frozenset({"unevaluatedItems", "unevaluatedProperties"})
_UNEVALUATED_FACTOR = 4
_NOT_FOLLOWED = frozenset({"$dynamicRef", "$recursiveRef"})
_NEW_BASES = frozenset({"$id", "id"})
_COUNTED = re.compile(r"\{(\d*),?(\d*)\}")
_CLASS_WEIGHT = 8
_CLASSES = re.compile(r"\\[pPwWdDsS]")

_KNOWN_DRAFTS = re.compile(r"https?://json-schema\.org/(draft-0[467]|draft/20(19-09|20-12))/schema#?")


@dataclass(frozen=True, slots=True)
class Weight:
    """What checking by a schema costs.

    Attributes:
        why_costly: The rest of a sentence on the schema; None where ``units`` holds.
    """

    units: int = 0
    why_costly: str | None = None


Load = Callable[[str, str], tuple[str, object]]
"""The name and the content of the document that a relative reference in a document leads to."""


def weigh(name: str, schema: Mapping[str, object], load: Load) -> Weight:
    """The weight of a schema.

    Args:
        name: Of the schema's own document, as ``load`` takes it.
        load: Called for references to other documents. What it raises passes through.

    >>> weigh("a", {"properties": {"n": {"type": "integer", "minimum": 1}}}, lambda *_: ("", {}))
    Weight(units=5, why_costly=None)
    >>> weigh("a", {"items": {"$ref": "#"}}, lambda *_: ("", {})).why_costly
    'refers to itself'
    """
    try:
        scales = _Scales(load, {name: schema})
        units = scales.schema(name, schema, 0)
        for document in scales.documents.values():
            _check_patterns(document)
    except _CostlyError as error:
        return Weight(why_costly=str(error))
    return Weight(units) if units <= MAX_WEIGHT else Weight(why_costly="asks for very many checks of one value")


class _CostlyError(Exception):
    pass


class _Scales:
    def __init__(self, load: Load, documents: dict[str, Mapping[str, object]]) -> None:
        self.documents = documents
        self._load = load
        self._known: dict[tuple[str, str], int] = {}
        self._under_way: set[tuple[str, str]] = set()

    def schema(self, document: str, schema: object, depth: int) -> int:
        if not isinstance(schema, dict):
            return 1
        if depth > _MAX_DEPTH:
            raise _CostlyError("is nested deeply")
        units = 1
        for keyword in schema:
            units += self._keyword(document, schema, keyword, depth)
        for _ in _UNEVALUATED & schema.keys():
            units *= _UNEVALUATED_FACTOR
        # Without a bound, references that double each time would make a number of a million digits.
        return min(units, MAX_WEIGHT + 1)

    def _keyword(self, document: str, schema: Mapping[str, object], keyword: str, depth: int) -> int:
        value = schema[keyword]
        if isinstance(value, str) and (keyword in _NOT_FOLLOWED or (keyword in _NEW_BASES and depth)):
            raise _CostlyError(f"uses {keyword}")
        if keyword == "$schema" and not (isinstance(value, str) and _KNOWN_DRAFTS.fullmatch(value)):
            raise _CostlyError("is written in a dialect of its own")
        if keyword in ("$defs", "definitions"):
            return 0
        if keyword == "$ref":
            return self._reference(document, value, depth)
        if keyword == "format" and value == "regex":
            raise _CostlyError('takes patterns from payloads (format "regex")')
        names = sum(map(pattern_weight, value)) if keyword == "patternProperties" and isinstance(value, dict) else 0
        own = pattern_weight(value) if keyword == "pattern" and isinstance(value, str) else _count(keyword, value)
        below = [self.schema(document, child, depth + 1) for child in children(schema, keyword)]
        # A member of an object is looked at by one of its properties, which are looked up one by one.
        return names + own + (len(below) + max(below, default=0) if keyword == "properties" else sum(below))

    def _reference(self, document: str, reference: object, depth: int) -> int:
        if not isinstance(reference, str):
            return 1
        file, _, pointer = reference.partition("#")
        if file:
            if ":" in file or file.startswith("//") or not _NEW_BASES.isdisjoint(self.documents[document]):
                raise _CostlyError("refers to schemas by their addresses")
            document, content = self._load(document, file)
            if not isinstance(content, dict):
                return 1
            self.documents[document] = content
        key = document, pointer
        if key in self._under_way:
            raise _CostlyError("refers to itself")
        if key not in self._known:
            self._under_way.add(key)
            self._known[key] = self.schema(document, _target(self.documents[document], pointer), depth + 1)
            self._under_way.discard(key)
        return self._known[key]


def _target(document: object, pointer: str) -> object:
    found = document
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, dict) else None
    if found is None or (pointer and not pointer.startswith("/")) or "%" in pointer:
        raise _CostlyError(f"refers to #{pointer[:100]}, which flowd does not follow by itself")
    return found


def _count(keyword: str, value: object) -> int:
    """The single checks of a keyword without a subschema: one, or more by what a payload is compared with."""
    if keyword in DATA or keyword in ("required", "dependentRequired", "dependencies"):
        return 1 + (len(json.dumps(value)) // 16 if isinstance(value, dict | list) else 0)
    return 0 if keyword in MAPS else 1


def pattern_weight(pattern: str) -> int:
    """The size of the machine that runs a pattern, counted repetitions written out.

    >>> pattern_weight("^[a-z]+$"), pattern_weight("^(?:[a-z]{1,20}-){3}$")
    (8, 1260)
    """
    units = len(pattern) + _CLASS_WEIGHT * len(_CLASSES.findall(pattern))
    for low, high in _COUNTED.findall(pattern):
        units *= max(int(low or 1), int(high or 1), 1)
        if units > MAX_WEIGHT:
            return MAX_WEIGHT + 1
    return units


def _check_patterns(document: object) -> None:
    """Refuse what takes long to compile: patterns count wherever they stand, for all of them are compiled."""
    units = 0
    left = [document]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            names = value.get("patternProperties")
            texts = [value.get("pattern"), *(names if isinstance(names, dict) else ())]
            units += sum(pattern_weight(text) for text in texts if isinstance(text, str))
            left += value.values()
        elif isinstance(value, list):
            left += value
        if units > _MAX_PATTERNS:
            raise _CostlyError("has large patterns")
