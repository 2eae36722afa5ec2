"""Logging in, by a token or by a link, and out."""

import asyncio
import logging

from flowd.api.http import peer
from flowd.api.http.call import Call
from flowd.api.http.guard import is_followed_link
from flowd.api.http.refusals import Refusals
from flowd.api.http.responses import HttpError, Response, Stream
from flowd.observe import tcp_users
from flowd.page.session import Sessions, set_cookie
from flowd.page.visit import form_of, mark_of, own_path, require_own_page, url_of
from flowd.page.wrapping import Shown, Wrapping

log = logging.getLogger("flowd.page")

_NOT_FOR_THEM = (
    "This link is for the user who made it, in a browser on this machine, and not through a proxy. "
    "Elsewhere, sign in with a token."
)


class Login:
    """The page that asks who somebody is, and what it sends."""

    def __init__(self, sessions: Sessions, wrapping: Wrapping) -> None:
        self._sessions = sessions
        self._wrapping = wrapping
        self._refusals = Refusals(log, "login refused")

    async def look(self, call: Call) -> Response | Stream:
        """Log in whoever follows a link, or show the form."""
        if is_followed_link(call.headers):
            return await self._wrapping.bounce(call, url_of(call, "/ui/login"))
        key = call.query.get("key")
        if key is None or call.method == "HEAD":
            return await self.ask(call, call.query.get("next") or "/ui/", 200)
        if not await _is_for(call, self._sessions.uid_of(key)):
            self._refusals.note("unauthorized", reason="somebody else followed the link")
            return await self.ask(call, "/ui/", 403, _NOT_FOR_THEM)
        cookie = self._sessions.cookie_of(key)
        if cookie is None:
            if self._sessions.sender(call.headers) is not None:
                return self._wrapping.redirect("/ui/")  # the link was followed again, by whoever it has logged in
            problem = "This link has been used, or is older than five minutes. Make another one: flowd ui"
            return await self.ask(call, "/ui/", 401, problem)
        return self._wrapping.redirect("/ui/", self._cookie(call, cookie))

    async def log_in(self, call: Call) -> Response | Stream:
        """Log in whoever gives a token."""
        try:
            require_own_page(call)
            fields = form_of(call)
        except HttpError as problem:
            return await self._wrapping.problem(call, problem, None)
        cookie = self._sessions.cookie_for(fields.get("token", "").strip())
        if cookie is None:
            self._refusals.note("unauthorized")
            return await self.ask(call, fields.get("next", ""), 401, "No token of this daemon is like that.")
        return self._wrapping.redirect(own_path(fields.get("next")), self._cookie(call, cookie))

    async def log_out(self, call: Call) -> Response | Stream:
        """End the session in this browser."""
        try:
            require_own_page(call)
        except HttpError as problem:
            return await self._wrapping.problem(call, problem, None)
        return self._wrapping.redirect("/ui/login", self._cookie(call, ""))

    async def ask(self, call: Call, wanted: str, status: int = 401, problem: str = "") -> Response:
        """The form, which leads on to the page that was ``wanted``; nothing for the script, which tells by itself."""
        if mark_of(call) is not None:
            return await self._wrapping.html(call, b"", 401)
        shown = Shown("login.html", {"next": own_path(wanted), "problem": problem}, status)
        return await self._wrapping.show(call, shown, None)

    def _cookie(self, call: Call, value: str) -> dict[str, str]:
        is_secure = (call.header(b"x-forwarded-proto") or "").lower() == "https"
        name, base_path = self._sessions.cookie_name, self._wrapping.base_path
        return {"set-cookie": set_cookie(name, value, base_path=base_path, is_secure=is_secure)}


async def _is_for(call: Call, uid: int | None) -> bool:
    """Whether a link for this user may be followed by whoever sends a request.

    Who made it starts a browser with it, and for a moment every user of the machine can see it in the list of
    processes. So it is for connections that this user has opened. Root may follow any: programs that pass connections
    on are root's. For whom a proxy speaks nobody can tell, and everybody can write a proxy's headers. One that root
    made is for the browser of an administrator, whoever that is.
    """
    if not uid:
        return True
    if peer.is_forwarded(call.headers):
        return False
    if call.ends is None:
        return True
    found = await asyncio.to_thread(tcp_users.owner, *call.ends)
    # Not every system tells whose connections are. One from another machine is in no table of this one.
    return peer.is_loopback(call.ends[1][0]) if found is None else found in (uid, 0)
