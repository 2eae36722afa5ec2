"""The page as the HTTP server sees it: routes, who may take them, and what every response has in common.

Looking is a GET. Doing is a POST below ``/ui/``: it takes a session that may do it, and a word from the browser that
its sender is this very page; it ends in a redirection to a page that shows what became of it.
"""

import asyncio
import gzip
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from flowd.api import json
from flowd.api.http.auth import Sender
from flowd.api.http.call import Call
from flowd.api.http.config import Access, Scope
from flowd.api.http.guard import Headers, is_followed_link
from flowd.api.http.refusals import Refusals
from flowd.api.http.responses import HttpError, Response, Stream, failed, refused
from flowd.api.http.route import Route
from flowd.api.method import Method
from flowd.domain.people import Person
from flowd.domain.pulse import Minute
from flowd.engine.feed import Feed
from flowd.observe import tcp_users
from flowd.page.assets import Assets, takes_gzip
from flowd.page.changes import Changes
from flowd.page.fragments import Fragments
from flowd.page.session import Sessions, set_cookie
from flowd.page.visit import Visit, own_path, segment

if TYPE_CHECKING:
    from flowd.page.render import Renderer

log = logging.getLogger("flowd.page")

HTML = "text/html; charset=utf-8"

SAFE = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    # Not no-referrer: with that, browsers send `Origin: null` with a form, and the guard lets no such request in.
    "referrer-policy": "same-origin",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}
"""On every page."""

_GZIP_FROM_BYTES = 1400
"""What fits in one packet is not packed."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A page to be rendered: a template, and what it shows."""

    template: str
    members: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


Look = Callable[[Visit], Awaitable[Shown]]
Act = Callable[[Visit, Mapping[str, str]], Awaitable[str]]
"""Does what a form asks for, by its fields; returns the path that shows it, with its query, without the base path."""


@dataclass(frozen=True, slots=True)
class Looking:
    """A page at a path."""

    path: str
    show: Look


@dataclass(frozen=True, slots=True)
class Doing:
    """Something that a page can do.

    Attributes:
        question: What a person is asked before: where the script did not ask, a page does. None asks nothing.
    """

    path: str
    scope: Scope
    do: Act
    question: str | None = None
    button: str = "Yes"


class BrowserSite:
    """All pages."""

    def __init__(
        self,
        table: Mapping[str, Method],
        *,
        looks: Sequence[Looking],
        acts: Sequence[Doing],
        feed: Feed,
        last_hour: Callable[[], Sequence[Minute]],
        access: Access,
        base_path: str,
    ) -> None:
        self._table = table
        self._last_hour = last_hour
        self._base_path = base_path
        self._assets = Assets()
        self._warming = asyncio.Lock()
        self._renderer: Renderer | None = None
        self._changes = Changes(feed, version=self._assets.version)
        self._fragments = Fragments(lambda: feed.rings)
        self._sessions = Sessions(access, feed.now_ms)
        self._refusals = Refusals(log, "login refused")
        self.routes: list[Route] = [
            Route("GET", "/", None, self._root, "The page, for browsers."),
            Route("GET", "/ui", None, self._root, "The page."),
            Route("GET", "/ui/static/{asset}", None, self._assets.respond, "What pages are made with."),
            Route("GET", "/ui/changes", None, self._follow, "Tells pages to look again."),
            Route("GET", "/ui/login", None, self._login, "Logs in by a link, or asks for the token."),
            Route("POST", "/ui/login", None, self._log_in, "Logs in by a token."),
            Route("POST", "/ui/logout", None, self._log_out, "Ends the session in this browser."),
            *(Route("GET", look.path, None, partial(self._look, look), "A page.") for look in looks),
            *(Route("POST", act.path, None, partial(self._act, act), "Does what a page asks for.") for act in acts),
        ]

    def sender(self, headers: Headers) -> Sender | None:
        """See `flowd.api.http.route.Site`."""
        return self._sessions.sender(headers)

    def take(self, access: Access) -> None:
        """See `flowd.api.http.route.Site`."""
        self._sessions.take(access)
        self._changes.wake()

    async def refused(self, refusal: HttpError, headers: Headers) -> Response:
        """See `flowd.api.http.route.Site`."""
        call = Call("GET", {}, {}, headers, b"", _nothing, self._sessions.sender(headers) or _NOBODY)
        visit = None if call.sender is _NOBODY else self._visit(call, "/ui/-")
        return await self._problem(call, refusal, visit)

    def link_for(self, person: Person) -> tuple[str, int]:
        """A path, with the base path, that logs ``person`` in once; and until when (Unix milliseconds)."""
        key, ends_at_ms = self._sessions.link_key(person)
        return f"{self._base_path}/ui/login?key={key}", ends_at_ms

    # --- looking and doing -------------------------------------------------------------------------------------------

    async def _look(self, look: Looking, call: Call) -> Response | Stream:
        if is_followed_link(call.headers):
            return await self._bounce(call, _url(call, look.path))
        visit = self._visit(call, look.path)
        if visit is None:
            return await self._ask_to_log_in(call, _url(call, look.path))
        try:
            visit.sender.demand("read")
            if visit.mark is None:
                return self._html(call, *await self._rendered(look, visit))
            sender = visit.sender.person, visit.sender.scopes
            body = await self._fragments.get((visit.url, sender), visit.mark, lambda: self._fragment(look, visit))
            return self._html(call, body)
        except Exception as problem:  # noqa: BLE001 - every exception becomes a page, and none shows its text
            return await self._problem(call, problem, visit)

    async def _rendered(self, look: Looking, visit: Visit) -> tuple[bytes, int]:
        shown = await look.show(visit)
        return await self._render(shown, visit), shown.status

    async def _fragment(self, look: Looking, visit: Visit) -> bytes:
        body, _ = await self._rendered(look, visit)
        return body

    async def _act(self, act: Doing, call: Call) -> Response | Stream:
        visit = self._visit(call, act.path)
        try:
            _require_own_page(call)
            if visit is None:
                raise HttpError("unauthorized", "You are not signed in any more.")
            visit.sender.demand(act.scope)
            fields = visit.form()
            if act.question is not None and not fields.get("sure"):
                asked = {"question": act.question, "button": act.button, "fields": fields, "action": visit.url}
                return self._html(call, await self._render(Shown("sure.html", asked), visit))
            return self._redirect(await act.do(visit, fields))
        except Exception as problem:  # noqa: BLE001 - as above
            return await self._problem(call, problem, visit)

    def _visit(self, call: Call, path: str) -> Visit | None:
        sender = self._sessions.sender(call.headers)
        if sender is None:
            return None
        return Visit(call, sender, _url(call, path), self._base_path, _mark(call), self._table, self._last_hour)

    # --- logging in and out ------------------------------------------------------------------------------------------

    async def _root(self, call: Call) -> Response | Stream:
        # Programs that ask for the root have always been told that there is nothing.
        if "text/html" not in (call.header(b"accept") or ""):
            raise HttpError("not_found", "not found")
        return self._redirect("/ui/")

    async def _login(self, call: Call) -> Response | Stream:
        if is_followed_link(call.headers):
            return await self._bounce(call, _url(call, "/ui/login"))
        key = call.query.get("key")
        if key is None:
            return await self._ask_to_log_in(call, call.query.get("next") or "/ui/", 200)
        uid = None if call.ends is None else await asyncio.to_thread(tcp_users.owner, *call.ends)
        if not self._sessions.is_for(key, uid):
            self._refusals.note("unauthorized", reason="another user followed the link")
            return await self._ask_to_log_in(call, "/ui/", 403, "This link is for another user of this machine.")
        cookie = self._sessions.cookie_of(key)
        if cookie is None:
            if self._sessions.sender(call.headers) is not None:
                return self._redirect("/ui/")  # the link was followed again, by whoever it has logged in
            problem = "This link has been used, or is older than five minutes. Make another one: flowd ui"
            return await self._ask_to_log_in(call, "/ui/", 401, problem)
        return self._redirect("/ui/", self._cookie(call, cookie))

    async def _log_in(self, call: Call) -> Response | Stream:
        try:
            _require_own_page(call)
            fields = Visit(call, _NOBODY, "", self._base_path, None, {}, list).form()
        except HttpError as problem:
            return await self._problem(call, problem, None)
        cookie = self._sessions.cookie_for(fields.get("token", "").strip())
        if cookie is None:
            self._refusals.note("unauthorized")
            return await self._ask_to_log_in(call, fields.get("next", ""), 401, "No token of this daemon is like that.")
        return self._redirect(own_path(fields.get("next")), self._cookie(call, cookie))

    async def _log_out(self, call: Call) -> Response | Stream:
        try:
            _require_own_page(call)
        except HttpError as problem:
            return await self._problem(call, problem, None)
        return self._redirect("/ui/login", self._cookie(call, ""))

    async def _ask_to_log_in(self, call: Call, wanted: str, status: int = 401, problem: str = "") -> Response:
        if _mark(call) is not None:
            return self._html(call, b"", 401)
        shown = Shown("login.html", {"next": own_path(wanted), "problem": problem})
        return self._html(call, await self._render(shown, None), status)

    def _cookie(self, call: Call, value: str) -> dict[str, str]:
        is_secure = (call.header(b"x-forwarded-proto") or "").lower() == "https"
        return {
            "set-cookie": set_cookie(self._sessions.cookie_name, value, base_path=self._base_path, is_secure=is_secure)
        }

    # --- responses ---------------------------------------------------------------------------------------------------

    async def _follow(self, call: Call) -> Response | Stream:
        sender = self._sessions.sender(call.headers)
        if sender is None:
            raise HttpError("unauthorized", "You are not signed in any more.")
        sender.demand("read")
        messages = self._changes.messages(lambda: self._sessions.sender(call.headers) is not None)
        return Stream(messages, "text/event-stream; charset=utf-8", is_live=True, is_endless=True)

    async def _bounce(self, call: Call, url: str) -> Response:
        """A page that loads itself again. A browser sends no cookie with a link that was followed on another site; what
        our own page loads is ours."""
        return self._html(call, await self._render(Shown("bounce.html", {"url": url}), None))

    async def _problem(self, call: Call, problem: Exception, visit: Visit | None) -> Response:
        plain = refused(problem) if isinstance(problem, HttpError) else failed(problem, route=f"{call.method} /ui/")
        said = json.decode(plain.body)
        members = {"problem": said["error"], "slug": said["slug"], "status": plain.status}
        shown = Shown("problem.html", members)
        return self._html(call, await self._render(shown, visit), plain.status)

    async def warm_up(self) -> None:
        """Make what the first page needs: a tenth of a second, which a daemon without visitors never pays."""
        async with self._warming:
            if self._renderer is None:
                self._renderer = await asyncio.to_thread(_make_renderer, self._assets)

    async def _render(self, shown: Shown, visit: Visit | None) -> bytes:
        if self._renderer is None:
            await self.warm_up()
        assert self._renderer is not None
        return await self._renderer.page(shown.template, visit, shown.members, base_path=self._base_path)

    def _html(self, call: Call, body: bytes, status: int = 200) -> Response:
        headers = {**SAFE, "vary": "accept-encoding, cookie"}
        if len(body) < _GZIP_FROM_BYTES or not takes_gzip(call):
            return Response(body, HTML, status, headers)
        return Response(gzip.compress(body, 1, mtime=0), HTML, status, {**headers, "content-encoding": "gzip"})

    def _redirect(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        return Response(b"", HTML, 303, {**SAFE, "location": self._base_path + path, **(headers or {})})


_NOW = 2**63
_NOBODY = Sender(Person("http"), frozenset())


def _make_renderer(assets: Assets) -> "Renderer":
    from flowd.page.render import Renderer  # noqa: PLC0415 - a daemon that nobody looks at never loads jinja2

    return Renderer(assets)


async def _nothing() -> Any:
    return {"type": "http.disconnect"}


def _require_own_page(call: Call) -> None:
    """Refuse what no page of this very origin has sent. What comes from another one, the guard has refused."""
    if call.header(b"sec-fetch-site") == "same-origin" or call.header(b"origin") is not None:
        return
    raise HttpError("cross_origin", "Only flowd's own page may send this; programs have the API.")


def _mark(call: Call) -> int | None:
    """What an open page has heard of; more than there ever was where it wants what is so now."""
    given = call.header(b"x-flowd-part")
    if given is None:
        return None
    return int(given) if given.isascii() and given.isdigit() and len(given) < 16 else _NOW


def _url(call: Call, template: str) -> str:
    path = template
    for name, value in call.values.items():
        path = path.replace("{" + name + "}", segment(value))
    return f"{path}?{urlencode(call.query)}" if call.query else path
