"""A method of the API as the dispatcher, the HTTP routes and the descriptions see it."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, get_args

from flowd.api.params import Params
from flowd.api.shapes import View
from flowd.domain.people import Person


class Method(NamedTuple):
    """A handler, and what it takes and gives.

    Attributes:
        params: The type that parameters are checked against.
        result: The type that the description of the result is made of.
        call: The handler. It gets the parameters, and the `flowd.api.subscriptions.Caller` if it ``needs_connection``,
            or the `flowd.domain.people.Person` who calls if it ``needs_person``.
        needs_connection: It pushes to the connection later on.
        needs_person: It records who called.
    """

    params: type[Params]
    result: Any
    call: Callable[..., Awaitable[Any]]
    needs_connection: bool = False
    needs_person: bool = False

    @property
    def view(self) -> type[View] | None:
        """The view that its result is; None where it is another kind of object."""
        for kind in (self.result, *get_args(self.result)):
            if isinstance(kind, type) and issubclass(kind, View):
                return kind
        return None


def method_of(handler: Callable[..., Awaitable[Any]]) -> Method:
    """The method that a handler's annotations describe: ``(given: Params) -> Result``, perhaps with a ``caller``, or
    with who it is called ``by``."""
    given, *_, result = handler.__annotations__.values()
    is_told = Person in handler.__annotations__.values()
    needs_connection = len(handler.__annotations__) > 2 and not is_told
    return Method(given, result, handler, needs_connection=needs_connection, needs_person=is_told)
