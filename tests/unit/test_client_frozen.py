"""Views are what `dataclass(frozen=True)` would have made of them."""

import copy
import dataclasses
import doctest
import inspect
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from flowd_client import views
from flowd_client.views import frozen as module
from flowd_client.views.frozen import frozen


@frozen
class Ours:
    """Ours."""

    name: str
    secret: str = dataclasses.field(repr=False)
    seen: int = dataclasses.field(default=0, compare=False)
    raw: Any = dataclasses.field(default=None, hash=False)


@dataclasses.dataclass(frozen=True)
class Theirs:
    """The standard library's."""

    name: str
    secret: str = dataclasses.field(repr=False)
    seen: int = dataclasses.field(default=0, compare=False)
    raw: Any = dataclasses.field(default=None, hash=False)


def all_views() -> list[type]:
    modules = [import_module(f"{views.__name__}.{path.stem}") for path in Path(views.__path__[0]).glob("[a-z]*.py")]
    found = {kind for one in modules for kind in vars(one).values() if isinstance(kind, type)}
    return sorted((kind for kind in found if dataclasses.is_dataclass(kind)), key=lambda kind: kind.__name__)


def test_doctests() -> None:
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("view", all_views(), ids=lambda view: view.__name__)
def test_each_view_is_made_of_what_a_dataclass_would_be(view: type) -> None:
    made: Any = view
    parts = [(one.name, one.type, _anew(one)) for one in dataclasses.fields(made)]
    twin: Any = dataclasses.make_dataclass(view.__name__, parts, frozen=True)
    assert inspect.signature(made).parameters == inspect.signature(twin).parameters
    assert made.__match_args__ == twin.__match_args__
    assert made.__dataclass_params__.frozen


def _anew(field: "dataclasses.Field[Any]") -> Any:
    return dataclasses.field(
        default=field.default, repr=field.repr, hash=field.hash, compare=field.compare, metadata=field.metadata
    )


class AnyOne:
    def __eq__(self, _: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def _within_itself(kind: Any) -> str:
    raw: list[Any] = []
    raw.append(kind("a", "b", 0, raw))
    return repr(raw[0])


def _inherited(kind: Any) -> Any:
    @dataclasses.dataclass(frozen=True)
    class Longer(kind):  # type: ignore[misc]
        more: int = 1

    return Longer


def _plain(kind: Any) -> Any:
    class Own(kind):  # type: ignore[misc]
        def __init__(self, *args: str) -> None:
            super().__init__(*args)
            self.own = 1

    return Own


DOINGS: dict[str, Callable[[Any], Any]] = {
    "by place": lambda kind: kind("a", "b", 1, [2]),
    "by name": lambda kind: kind(secret="b", name="a"),
    "shown": lambda kind: repr(kind("a", "b", 1, [2])),
    "shown within itself": _within_itself,
    "equal": lambda kind: [kind("a", "b") == kind(*words) for words in (("a", "b", 1), ("a", "c"), ("a", "b", 0, 1))],
    "equal to another": lambda kind: [
        kind("a", "b") == ("a", "b"),
        kind("a", "b").__eq__(1),
        kind("a", "b") == AnyOne(),
    ],
    "hashed": lambda kind: hash(kind("a", "b", 1, [2])),
    "not hashed": lambda kind: hash(kind(["a"], "b")),
    "one too few": lambda kind: kind("a"),
    "one too many": lambda kind: kind("a", "b", 1, 2, 3),
    "twice": lambda kind: kind("a", "b", name="a"),
    "unknown": lambda kind: kind("a", "b", other=1),
    "assigned": lambda kind: setattr(kind("a", "b"), "name", "c"),
    "assigned anew": lambda kind: setattr(kind("a", "b"), "other", "c"),
    "deleted": lambda kind: delattr(kind("a", "b"), "name"),
    "deleted anew": lambda kind: delattr(kind("a", "b"), "other"),
    "replaced": lambda kind: dataclasses.replace(kind("a", "b", 1), name="c"),
    "as a dict": lambda kind: dataclasses.asdict(kind("a", "b", 1, [kind("c", "d")])),
    "as a tuple": lambda kind: dataclasses.astuple(kind("a", "b", 1, [kind("c", "d")])),
    "pickled": lambda kind: pickle.loads(pickle.dumps(kind("a", "b", 1, [2]))),
    "copied": lambda kind: copy.deepcopy(kind("a", "b", 1, [2])),
    "inherited": lambda kind: _inherited(kind)("a", "b", more=2),
    "inherited, assigned": lambda kind: setattr(_inherited(kind)("a", "b"), "name", "c"),
    "plainly inherited": lambda kind: _plain(kind)("a", "b").own,
    "plainly inherited, assigned": lambda kind: setattr(_plain(kind)("a", "b"), "name", "c"),
    "plainly inherited, deleted": lambda kind: delattr(_plain(kind)("a", "b"), "own"),
}


@pytest.mark.parametrize("doing", DOINGS.values(), ids=DOINGS)
def test_it_behaves_as_a_frozen_dataclass(doing: Callable[[Any], Any]) -> None:
    assert _outcome(doing, Ours) == _outcome(doing, Theirs)


def _outcome(doing: Callable[[Any], Any], kind: type) -> tuple[object, ...]:
    """What it gives, or how it fails; the words of a `TypeError` are each one's own."""
    try:
        given = doing(kind)
    except dataclasses.FrozenInstanceError as error:
        return type(error), str(error)
    except (TypeError, AttributeError) as error:
        return (type(error),)
    shown = repr(given).replace(kind.__qualname__, "View")
    return vars(given) if isinstance(given, kind) else None, shown
