"""Finds the route of a path: segment by segment on the raw bytes, because an id may hold an encoded ``/``."""

import re
from collections.abc import Iterable, Mapping
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from flowd.api.http.responses import HttpError

T = TypeVar("T")
OPEN_ID = "eventId"
"""The placeholder whose value senders choose, slashes included."""

_BAD_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")


class Found(NamedTuple, Generic[T]):
    """A route and the values of its placeholders, decoded."""

    route: T
    values: Mapping[str, str]


class PathTable(Generic[T]):
    """Routes by HTTP method and template, like ``/events/{eventId}/replay``."""

    def __init__(self, routes: Iterable[tuple[str, str, T]]) -> None:
        self._by_path: dict[tuple[int, tuple[tuple[int, bytes], ...]], tuple[list[str], dict[str, T]]] = {}
        for method, template, route in routes:
            segments = template.encode().split(b"/")[1:]
            fixed = tuple((n, s) for n, s in enumerate(segments) if not s.startswith(b"{"))
            names = [s[1:-1].decode() for s in segments if s.startswith(b"{")]
            self._by_path.setdefault((len(segments), fixed), (names, {}))[1][method] = route
        # The most fixed segments first: /events/x/replay is never taken for another template of three segments.
        self._shapes = sorted(self._by_path.items(), key=lambda item: -len(item[0][1]))

    def find(self, method: str, raw_path: bytes) -> Found[T]:
        """The route for a request.

        Raises:
            HttpError: ``not_found``, ``method_not_allowed`` or, for percent-encoding that is none, ``bad_request``.
        """
        segments = raw_path.split(b"/")[1:]
        if segments[-1:] == [b""] and method == "POST" and (found := self._match(method, segments[:-1])):
            return found  # a trailing slash, with which a POST can mean nothing else
        found = self._match(method, segments) or self._match_open(method, segments)
        if found is None:
            raise HttpError("not_found", "not found", hint="No route has this path. /openapi.json lists them.")
        return found

    def _match(self, method: str, segments: list[bytes]) -> Found[T] | None:
        for (count, fixed), (names, routes) in self._shapes:
            if count != len(segments) or any(segments[n] != text for n, text in fixed):
                continue
            places = {n for n, _ in fixed}
            values = [decode(segment) for n, segment in enumerate(segments) if n not in places]
            if not all(values):
                return None  # an empty id: a trailing slash
            return Found(_for(method, routes), dict(zip(names, values, strict=True)))
        return None

    def _match_open(self, method: str, segments: list[bytes]) -> Found[T] | None:
        """The route of an id that a proxy has decoded on the way, so that its slashes look like the path's."""
        for (count, fixed), (names, routes) in self._shapes:
            extra = len(segments) - count
            if names != [OPEN_ID] or extra < 0:
                continue
            (place,) = set(range(count)) - {n for n, _ in fixed}
            joined = [*segments[:place], b"/".join(segments[place : place + extra + 1]), *segments[place + extra + 1 :]]
            if all(joined[n] == text for n, text in fixed) and joined[place].strip(b"/"):
                return Found(_for(method, routes), {OPEN_ID: decode(joined[place])})
        return None


def _for(method: str, routes: dict[str, T]) -> T:
    """The route for a method; a HEAD is a GET whose body is not sent."""
    found = routes.get("GET" if method == "HEAD" else method)
    if found is None:
        allowed = ", ".join(sorted([*routes, "HEAD"] if "GET" in routes else routes))
        message = f"This path takes {allowed}, not {method[:20]}."
        raise HttpError("method_not_allowed", message, headers={"allow": allowed})
    return found


def decode(text: bytes) -> str:
    """Percent-decoding that refuses what it cannot read.

    >>> decode(b"a%2Fb%3Ac")
    'a/b:c'
    """
    if b"%" not in text:
        raw = text
    elif _BAD_ESCAPE.search(text):
        raise HttpError("bad_request", "The URL has a % without two hex digits after it.")
    else:
        raw = unquote_to_bytes(text)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise HttpError("bad_request", "The URL is not UTF-8 once it is decoded.") from None


def query(raw: bytes) -> dict[str, list[str]]:
    """The query's values by name.

    >>> query(b"a=1&b=%20x+y&a=2&c")
    {'a': ['1', '2'], 'b': [' x y'], 'c': ['']}
    """
    values: dict[str, list[str]] = {}
    if raw:
        for pair in raw.replace(b"+", b" ").split(b"&"):
            name, _, value = pair.partition(b"=")
            if name:
                values.setdefault(decode(name), []).append(decode(value))
    return values
