"""Reads TOML, and says where it is wrong; spells values of it. The one owner of `tomli`."""

import json
import re

import tomli

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class TomlError(ValueError):
    """A text that cannot be used as TOML.

    Attributes:
        line: Where it is wrong, from 1; None where no one line is.
        column: The column there, from 1.
        is_nested: It is nested too deeply, and may be good TOML otherwise.
    """

    def __init__(
        self, message: str, line: int | None = None, column: int | None = None, *, is_nested: bool = False
    ) -> None:
        super().__init__(message)
        self.line = line
        self.column = column
        self.is_nested = is_nested


def parse(text: str) -> dict[str, object]:
    """A text's members.

    Raises:
        TomlError: It is not TOML, or has a value that cannot be read.
    """
    try:
        return tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        message = f"not valid TOML: {error.msg[:200]} (column {error.colno})"
        raise TomlError(message, error.lineno, error.colno) from None
    except RecursionError:
        raise TomlError("not usable TOML: it is nested too deeply", is_nested=True) from None
    except ValueError as error:  # a number of thousands of digits, an impossible date
        raise TomlError(f"not usable TOML: {str(error)[:200]}") from None


def key(name: str) -> str:
    """A key as it is written.

    >>> key("max_parallel"), key("my hook")
    ('max_parallel', '"my hook"')
    """
    return name if _BARE.fullmatch(name) else _text(name)


def spelled(value: object) -> str:
    """A value of TOML as it is written, on one line.

    >>> spelled(["a", 'b"', True, {"c": 1.5}])
    '["a", "b\\\\"", true, { c = 1.5 }]'
    """
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return _text(value)
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(map(spelled, value))}]"
        case dict():
            members = ", ".join(f"{key(name)} = {spelled(member)}" for name, member in value.items())
            return f"{{ {members} }}" if members else "{}"
        case _:
            return str(value)  # dates and times


def _text(text: str) -> str:
    # A JSON string is a TOML basic string as well, but for one character that JSON leaves as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
