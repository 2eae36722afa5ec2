"""Reads TOML, and says where it is wrong. The one owner of `tomli`."""

import tomli


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
