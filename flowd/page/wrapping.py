"""What every page has in common: how it is rendered, packed and kept from harm, and how a refusal looks."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowd.api import json
from flowd.api.http.call import Call
from flowd.api.http.responses import HttpError, Response, failed, refused
from flowd.domain.errors import FlowdError
from flowd.page.assets import Assets, takes_gzip
from flowd.page.visit import Visit

if TYPE_CHECKING:
    from flowd.page.render import Renderer

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

_PACKED_AT_ONCE_BYTES = 256 * 1024
"""Takes two milliseconds."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A page to be rendered: a template, and what it shows."""

    template: str
    members: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200


class Wrapping:
    """Makes responses of pages."""

    def __init__(self, assets: Assets, base_path: str, asking: Callable[[], Awaitable[int]]) -> None:
        """``asking()`` is how many runs ask for a person, which every page tells."""
        self.base_path = base_path
        self._asking = asking
        self._assets = assets
        self._warming = asyncio.Lock()
        self._renderer: Renderer | None = None

    async def warm_up(self) -> None:
        """Make what the first page needs: a tenth of a second, which a daemon without visitors never pays."""
        async with self._warming:
            if self._renderer is None:
                self._renderer = await asyncio.to_thread(_make_renderer, self._assets)

    async def render(self, shown: Shown, visit: Visit | None) -> bytes:
        """The page's HTML; without a visit, as strangers may see it."""
        if self._renderer is None:
            await self.warm_up()
        assert self._renderer is not None
        asking = 0
        with suppress(FlowdError):  # a page that says what is wrong with the store is shown all the same
            asking = 0 if visit is None else await self._asking()
        members = {"asking": asking, **shown.members}
        return await self._renderer.page(shown.template, visit, members, base_path=self.base_path)

    async def show(self, call: Call, shown: Shown, visit: Visit | None) -> Response:
        """The page as a response."""
        return await self.html(call, await self.render(shown, visit), shown.status)

    async def problem(self, call: Call, problem: Exception, visit: Visit | None) -> Response:
        """A page that says what was refused; of what is flowd's own fault, only the id in the log."""
        plain = refused(problem) if isinstance(problem, HttpError) else failed(problem, route=f"{call.method} /ui/")
        said = json.decode(plain.body)
        members = {"problem": said["error"], "slug": said["slug"], "status": plain.status}
        return await self.show(call, Shown("problem.html", members, plain.status), visit)

    async def bounce(self, call: Call, url: str) -> Response:
        """A page that loads itself again. A browser sends no cookie with a link that was followed on another site; what
        our own page loads is ours."""
        return await self.show(call, Shown("bounce.html", {"url": url}), None)

    async def html(self, call: Call, body: bytes, status: int = 200) -> Response:
        """A response of HTML that is there. A large one is packed while others have their turn."""
        headers = {**SAFE, "vary": "accept-encoding, cookie"}
        if len(body) < _GZIP_FROM_BYTES or not takes_gzip(call):
            return Response(body, HTML, status, headers)
        is_large = len(body) > _PACKED_AT_ONCE_BYTES
        packed = await asyncio.to_thread(_pack, body) if is_large else _pack(body)
        return Response(packed, HTML, status, {**headers, "content-encoding": "gzip"})

    def redirect(self, path: str, headers: Mapping[str, str] | None = None) -> Response:
        """Leads to one of our pages, given without the base path."""
        return Response(b"", HTML, 303, {**SAFE, "location": self.base_path + path, **(headers or {})})


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, 1, mtime=0)


def _make_renderer(assets: Assets) -> "Renderer":
    from flowd.page.render import Renderer  # noqa: PLC0415 - a daemon that nobody looks at never loads jinja2

    return Renderer(assets)
