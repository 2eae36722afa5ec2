"""A route as the application serves it and the description tells of it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from flowd.api.http.auth import Sender
from flowd.api.http.call import Call
from flowd.api.http.config import Access, Scope
from flowd.api.http.guard import Headers
from flowd.api.http.responses import JSON, HttpError, Response, Stream
from flowd.api.params import Params
from flowd.api.shapes import View

Respond = Callable[[Call], Awaitable[Response | Stream]]
Admit = Callable[[Mapping[str, str], Headers], None]


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. What is not said here is as in `flowd_client.methods.Route`.

    Attributes:
        scope: What a token must allow; None is open to everybody who is let in at all (probes, and webhooks, which
            prove themselves in their own way).
        is_repeatable: A second request like the first does nothing more, so that a signature that is sent again is
            harmless.
        takes_session: The cookie of a browser that has logged in is as good as the token that it logged in with.
        admit: Refuses, by the path's values and the headers, what need not be read any further.
        takes: The type whose fields are the parameters; None has none.
        gives: What the response is in JSON; None where that is another object, or no JSON at all.
    """

    verb: Literal["GET", "POST"]
    path: str
    scope: Scope | None
    respond: Respond
    summary: str
    takes: type[Params] | None = None
    gives: type[View] | None = None
    status: int = 200
    media: str = JSON
    note: str = ""
    is_repeatable: bool = True
    takes_session: bool = False
    admit: Admit | None = None

    @property
    def name(self) -> str:
        """For the log and the metrics."""
        return f"{self.verb} {self.path}"


class Site(Protocol):
    """What a server serves to browsers beside the API."""

    @property
    def routes(self) -> Sequence[Route]:
        """Its routes. They let in whom they let in by themselves."""

    def sender(self, headers: Headers) -> Sender | None:
        """Whose session a request's cookie is; None without one that counts."""

    async def refused(self, refusal: HttpError, headers: Headers) -> Response:
        """A page that says that there is no such page, or that it takes no such request."""

    def take(self, access: Access) -> None:
        """Let in whom this lets in from now on. Sessions of tokens that are gone end."""
