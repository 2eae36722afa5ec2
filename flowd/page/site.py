"""The page as the HTTP server sees it: routes, and who may take them.

Looking is a GET. Doing is a POST below ``/ui/``: it takes a session that may do it, and a word from the browser that
its sender is this very page; it ends in a redirection to a page that shows what became of it.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from flowd.api.http.asgi import ClientGoneError
from flowd.api.http.auth import Sender
from flowd.api.http.call import Call
from flowd.api.http.config import Access, Scope
from flowd.api.http.guard import Headers, is_followed_link
from flowd.api.http.responses import HttpError, Response, Stream
from flowd.api.http.route import Route
from flowd.api.method import Method
from flowd.domain.people import Person
from flowd.domain.pulse import Minute
from flowd.engine.feed import Feed
from flowd.page.assets import Assets
from flowd.page.changes import Changes
from flowd.page.fragments import Fragments
from flowd.page.login import Login
from flowd.page.session import Sessions
from flowd.page.visit import Visit, given_back, mark_of, require_own_page, url_of
from flowd.page.wrapping import Shown, Wrapping

Look = Callable[[Visit], Awaitable[Shown]]
Act = Callable[[Visit, Mapping[str, str]], Awaitable[str | Shown]]
"""Does what a form asks for, by its fields; returns the path that shows it, with its query, without the base path; or
a page instead, where the form is to be looked at once more."""


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
        last_hour: Callable[[], Awaitable[Sequence[Minute]]],
        asking: Callable[[], Awaitable[int]],
        doubts: Callable[[Collection[str]], Mapping[str, Sequence[str]]],
        access: Access,
        base_path: str,
    ) -> None:
        self._table = table
        self._last_hour = last_hour
        self._doubts = doubts
        self._assets = Assets()
        self._wrapping = Wrapping(self._assets, base_path, asking)
        self._changes = Changes(feed, version=self._assets.version)
        self._fragments = Fragments(lambda: feed.rings)
        self._sessions = Sessions(access, feed.now_ms)
        self._now_ms = feed.now_ms
        self._login = Login(self._sessions, self._wrapping)
        self.routes: list[Route] = [
            Route("GET", "/", None, self._root, "The page, for browsers."),
            Route("GET", "/ui", None, self._root, "The page."),
            Route("GET", "/ui/static/{asset}", None, self._assets.respond, "What pages are made with."),
            Route("GET", "/ui/changes", None, self._follow, "Tells pages to look again."),
            Route("GET", "/ui/login", None, self._login.look, "Logs in by a link, or asks for the token."),
            Route("POST", "/ui/login", None, self._login.log_in, "Logs in by a token."),
            Route("POST", "/ui/logout", None, self._login.log_out, "Ends the session in this browser."),
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
        return await self._wrapping.problem(call, refusal, visit)

    async def warm_up(self) -> None:
        """See `flowd.page.wrapping.Wrapping.warm_up`."""
        await self._wrapping.warm_up()

    def link_for(self, person: Person) -> tuple[str, int]:
        """A path, with the base path, that logs ``person`` in once; and until when (Unix milliseconds)."""
        key, ends_at_ms = self._sessions.link_key(person)
        return f"{self._wrapping.base_path}/ui/login?key={key}", ends_at_ms

    # --- looking and doing -------------------------------------------------------------------------------------------

    async def _look(self, look: Looking, call: Call) -> Response | Stream:
        if is_followed_link(call.headers):
            return await self._wrapping.bounce(call, url_of(call, look.path))
        visit = self._visit(call, look.path)
        if visit is None:
            return await self._login.ask(call, url_of(call, look.path))
        try:
            visit.sender.demand("read")
            if visit.mark is None:
                return await self._wrapping.show(call, await look.show(visit), visit)
            sender = visit.sender.person, visit.sender.scopes
            body = await self._fragments.get((visit.url, sender), visit.mark, lambda: self._fragment(look, visit))
            return await self._wrapping.html(call, body)
        except ClientGoneError:
            raise
        except Exception as problem:  # noqa: BLE001 - every exception becomes a page, and none shows its text
            return await self._wrapping.problem(call, problem, visit)

    async def _fragment(self, look: Looking, visit: Visit) -> bytes:
        return await self._wrapping.render(await look.show(visit), visit)

    async def _act(self, act: Doing, call: Call) -> Response | Stream:
        visit = self._visit(call, act.path)
        try:
            require_own_page(call)
            if visit is None:
                raise HttpError("unauthorized", "You are not signed in any more.")
            visit.sender.demand(act.scope)
            fields = await visit.form()
            if act.question is not None and not fields.get("sure"):
                asked = {"question": act.question, "button": act.button, "fields": fields, "action": visit.url}
                asked["no"] = given_back(fields, visit.call.values.get("runId"))
                return await self._wrapping.show(call, Shown("sure.html", asked), visit)
            done = await act.do(visit, fields)
            return (
                self._wrapping.redirect(done) if isinstance(done, str) else await self._wrapping.show(call, done, visit)
            )
        except Exception as problem:  # noqa: BLE001 - as above
            return await self._wrapping.problem(call, problem, visit)

    def _visit(self, call: Call, path: str) -> Visit | None:
        sender = self._sessions.sender(call.headers)
        if sender is None:
            return None
        url, base_path, mark = url_of(call, path), self._wrapping.base_path, mark_of(call)
        return Visit(
            call,
            sender,
            url,
            base_path,
            mark,
            self._table,
            self._last_hour,
            self._now_ms(),
            self._changes.known,
            self._doubts,
        )

    async def _root(self, call: Call) -> Response | Stream:
        # Programs that ask for the root have always been told that there is nothing; who tries it by hand is told more.
        if "text/html" not in (call.header(b"accept") or ""):
            base = self._wrapping.base_path
            hint = f"This is flowd. Its page is at {base}/ui/, and {base}/openapi.json describes its API."
            raise HttpError("not_found", "not found", hint=hint)
        return self._wrapping.redirect("/ui/")

    async def _follow(self, call: Call) -> Response | Stream:
        sender = self._sessions.sender(call.headers)
        if sender is None:
            raise HttpError("unauthorized", "You are not signed in any more.")
        sender.demand("read")
        messages = self._changes.messages(lambda: self._sessions.sender(call.headers) is not None)
        reader = sender.person, None if call.ends is None else call.ends[1][0]
        return Stream(messages, "text/event-stream; charset=utf-8", is_live=True, is_endless=True, reader=reader)


_NOBODY = Sender(Person("http"), frozenset())


async def _nothing() -> Any:
    return {"type": "http.disconnect"}
