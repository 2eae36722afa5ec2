"""A browser's request for a page, and what a page may ask of the daemon for it."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from flowd.api import json, params
from flowd.api.http.auth import Sender
from flowd.api.http.call import Call
from flowd.api.http.config import Scope
from flowd.api.http.responses import HttpError
from flowd.api.method import Method
from flowd.domain.pulse import Minute
from flowd_client.methods import METHODS

_MAX_FIELDS = 200
STRANGERS_BYTES = 16 * 1024
"""Of a form that anybody may send: more than a token and an address have."""
_NOW = 2**63
_TYPED, _TYPED_FOR = "typed", "typedFor"
_MAX_TYPED = 4_000
"""Characters of an address; a longer text is in the browser's history alone."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A request of somebody who may look.

    Attributes:
        url: The page, with its query, without the base path: ``/ui/runs?flow=rel``.
        last_hour: What ended in it, minute by minute.
        base_path: In front of every path that a page links to.
        mark: Where the page is open already and wants to know what is new: what it has heard of. See
            `flowd.page.changes`. None for a page that is opened.
        now_ms: Unix time.
        doubts: What ``flowd validate`` doubts of the flows with these names, in sentences.
        known: All that happened before this is in the page: a daemon's name and its mark. See `flowd.page.changes`.
    """

    call: Call
    sender: Sender
    url: str
    base_path: str
    mark: int | None
    table: Mapping[str, Method]
    last_hour: Callable[[], Awaitable[Sequence[Minute]]]
    now_ms: int = 0
    known: str = ""
    doubts: Callable[[Collection[str]], Mapping[str, Sequence[str]]] = lambda _: {}

    def may(self, scope: Scope) -> bool:
        """Whether a button for this is of any use."""
        return scope in self.sender.scopes

    async def ask(self, name: str, members: Mapping[str, object] | None = None) -> Any:
        """What a method gives, as plain objects with the members that JSON has. Empty members count as absent.

        Raises:
            FlowdError: As the method refuses it.
            HttpError: ``missing_scope``.
        """
        return plain(await self.view(name, members))

    async def view(self, name: str, members: Mapping[str, object] | None = None) -> Any:
        """The same in the shape that the method gives it."""
        method = self.table[name]
        self.sender.demand(METHODS[name].routes[0].scope)
        present = {key: value for key, value in (members or {}).items() if value not in (None, "")}
        given = params.convert(present, method.params, is_text=True)
        return await (method.call(given, self.sender.person) if method.needs_person else method.call(given))

    def link(self, path: str, **query: object) -> str:
        """The address of a page: ``link("/ui/runs", flow="rel")``. What is None or empty is left out."""
        asked = [(name, str(value)) for name, value in query.items() if value not in (None, "")]
        return self.base_path + path + (f"?{urlencode(asked)}" if asked else "")

    def typed(self, run_id: str) -> str:
        """What somebody had typed as the answer to a run when they said No. See `given_back`."""
        query = self.call.query
        return query.get(_TYPED, "") if query.get(_TYPED_FOR) == run_id else ""

    async def form(self) -> dict[str, str]:
        """See `form_of`. A large one takes long to read, and others have their turn meanwhile."""
        if len(self.call.body) <= STRANGERS_BYTES:
            return form_of(self.call, max_bytes=STRANGERS_BYTES)
        return await asyncio.to_thread(form_of, self.call, max_bytes=len(self.call.body))


def plain(view: object) -> Any:
    """A view as plain objects with the members that JSON has."""
    return json.decode(json.encode(view))


def form_of(call: Call, *, max_bytes: int = STRANGERS_BYTES) -> dict[str, str]:
    """The fields of the form that was sent; the first of each name counts.

    Raises:
        HttpError: ``unsupported_media_type``, ``body_too_large`` or ``bad_request``.
    """
    if call.media_type != "application/x-www-form-urlencoded":
        raise HttpError("unsupported_media_type", "This takes a form's fields.")
    if len(call.body) > max_bytes:
        raise HttpError("body_too_large", f"This form has at most {max_bytes} bytes.")
    fields: dict[str, str] = {}
    try:
        text = call.body.decode()
        for name, value in parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict"):
            fields.setdefault(name, value)
    except ValueError as error:
        raise HttpError("bad_request", f"The form cannot be read: {error}.") from None
    return fields


def require_own_page(call: Call) -> None:
    """Refuse what no page of this very origin has sent. What comes from another one, the guard has refused."""
    if call.header(b"sec-fetch-site") == "same-origin" or call.header(b"origin") is not None:
        return
    raise HttpError("cross_origin", "Only flowd's own page may send this; programs have the API.")


def mark_of(call: Call) -> int | None:
    """What an open page has heard of; more than there ever was where it wants what is so now."""
    given = call.header(b"x-flowd-part")
    if given is None:
        return None
    return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else _NOW


def url_of(call: Call, template: str) -> str:
    """The page that a request asks for, with its query, without the base path; ``template`` is its route's."""
    path = template
    for name, value in call.values.items():
        path = path.replace("{" + name + "}", segment(value))
    query = {name: value for name, value in call.query.items() if name not in (_TYPED, _TYPED_FOR)}
    return f"{path}?{urlencode(query)}" if query else path


def given_back(fields: Mapping[str, str], run_id: str | None) -> str:
    """Where somebody goes who says No: to the page with the form, which has what they had typed as the answer to a run.

    >>> given_back({"back": "/ui/?a=1", "text": "no, 1.2"}, "run_1"), given_back({"text": "x"}, None)
    ('/ui/?a=1&typed=no%2C+1.2&typedFor=run_1#q-run_1', '/ui/')
    """
    path = own_path(fields.get("back"))
    text = fields.get("text", "")
    if run_id is None or not text or len(text) > _MAX_TYPED:
        return path
    between = "&" if "?" in path else "?"
    return f"{path}{between}{urlencode({_TYPED: text, _TYPED_FOR: run_id})}#q-{segment(run_id)}"


def segment(text: str) -> str:
    """A text as one segment of a path: ids may have slashes in them.

    >>> segment("a/b ä")
    'a%2Fb%20%C3%A4'
    """
    return quote(text, safe="")


def own_path(path: str | None, otherwise: str = "/ui/") -> str:
    r"""A page to go to, if it is one of ours.

    >>> own_path("/ui/runs?flow=a"), own_path("//evil/ui/"), own_path("/ui/../x"), own_path("/ui/\r\nx: y")
    ('/ui/runs?flow=a', '/ui/', '/ui/', '/ui/')
    >>> own_path("/ui/%2e%2E/x"), own_path("/ui/events/a%2F.b")
    ('/ui/', '/ui/events/a%2F.b')
    """
    if path is None or not path.startswith("/ui/") or not path.isascii() or not path.isprintable():
        return otherwise
    # A browser takes a dot that is escaped for one that is not.
    is_up = ".." in path.partition("?")[0].lower().replace("%2e", ".")
    return otherwise if is_up or "\\" in path else path
