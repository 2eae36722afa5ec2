"""A method of the API as the dispatcher, the HTTP routes and the descriptions see it."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, get_args

from flowd.api.params import Params
from flowd.api.shapes import View


class Method(NamedTuple):
    """A handler, and what it takes and gives.

    Attributes:
        params: The type that parameters are checked against.
        result: The type that the description of the result is made of.
        call: The handler. It gets the parameters, and the `flowd.api.subscriptions.Caller` if it ``needs_connection``.
        needs_connection: It pushes to the connection later on.
    """

    params: type[Params]
    result: Any
    call: Callable[..., Awaitable[Any]]
    needs_connection: bool = False

    @property
    def view(self) -> type[View] | None:
        """The view that its result is; None where it is another kind of object."""
        for kind in (self.result, *get_args(self.result)):
            if isinstance(kind, type) and issubclass(kind, View):
                return kind
        return None


def method_of(handler: Callable[..., Awaitable[Any]]) -> Method:
    """The method that a handler's annotations describe: ``(given: Params) -> Result``, perhaps with a ``caller``."""
    given, *caller, result = handler.__annotations__.values()
    return Method(given, result, handler, needs_connection=bool(caller))
