"""A route as the application serves it and the description tells of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from flowd.api.http.call import Call
from flowd.api.http.config import Scope
from flowd.api.http.guard import Headers
from flowd.api.http.responses import JSON, Response, Stream
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
    admit: Admit | None = None

    @property
    def name(self) -> str:
        """For the log and the metrics."""
        return f"{self.verb} {self.path}"
