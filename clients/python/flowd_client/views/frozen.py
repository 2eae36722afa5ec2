"""The decorator of every view."""

from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from functools import cache
from inspect import Parameter, Signature
from reprlib import recursive_repr
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(view: type[T]) -> type[T]:
    """Make a class what ``dataclass(frozen=True)`` makes of it, with methods that all views share.

    That one writes the source of six methods for each class, and compiles it wherever the class is imported: for the
    views of a run alone a fifteenth of what `flowd runs` takes, which calls none of them.

    >>> @frozen
    ... class Step:
    ...     name: str
    ...     timeout_ms: int | None = None
    >>> Step("build"), Step("build") == Step(name="build", timeout_ms=None), hash(Step("a")) == hash(Step("a"))
    (Step(name='build', timeout_ms=None), True, True)
    """
    made: Any = dataclass(init=False, repr=False, eq=False)(view)
    made.__dataclass_params__.frozen = True  # which dataclasses that inherit from it ask for
    for name, shared in _SHARED.items():
        setattr(made, name, shared)
    return view


def _init(view: Any, /, *args: Any, **given: Any) -> None:
    bound = view.__signature__.bind(*args, **given)
    bound.apply_defaults()
    view.__dict__.update(bound.arguments)


@cache
def _signature(view: type) -> Signature:
    return Signature(
        Parameter(
            one.name,
            Parameter.POSITIONAL_OR_KEYWORD,
            default=Parameter.empty if one.default is MISSING else one.default,
            annotation=one.type,
        )
        for one in fields(view)  # type: ignore[arg-type]
    )


class _Signature:
    """What `inspect.signature` looks at."""

    def __get__(self, _: object, view: type) -> Signature:
        return _signature(view)


@recursive_repr()
def _repr(view: Any) -> str:
    shown = (f"{one.name}={getattr(view, one.name)!r}" for one in fields(view) if one.repr)
    return f"{type(view).__qualname__}({', '.join(shown)})"


def _eq(view: Any, other: object) -> Any:
    if type(other) is not type(view):
        return NotImplemented
    return _compared(view) == _compared(other)


def _compared(view: Any) -> tuple[Any, ...]:
    return tuple(getattr(view, one.name) for one in fields(view) if one.compare)


def _hash(view: Any) -> int:
    return hash(
        tuple(getattr(view, one.name) for one in fields(view) if (one.compare if one.hash is None else one.hash))
    )


def _set(view: Any, name: str, value: object) -> None:
    if _is_frozen(view, name):
        raise FrozenInstanceError(f"cannot assign to field {name!r}")
    object.__setattr__(view, name, value)


def _delete(view: Any, name: str) -> None:
    if _is_frozen(view, name):
        raise FrozenInstanceError(f"cannot delete field {name!r}")
    object.__delattr__(view, name)


def _is_frozen(view: Any, name: str) -> bool:
    """A subclass that is no dataclass itself may have attributes of its own."""
    return "__dataclass_fields__" in vars(type(view)) or name in view.__dataclass_fields__


_SHARED: dict[str, Any] = {
    "__signature__": _Signature(),
    "__init__": _init,
    "__repr__": _repr,
    "__eq__": _eq,
    "__hash__": _hash,
    "__setattr__": _set,
    "__delattr__": _delete,
}
