"""Reads the requirements that a Python script states in its comments (PEP 723)."""

import re
import tomllib
from dataclasses import dataclass

# The pattern that PEP 723 gives, for blocks of type "script".
_BLOCK = re.compile(r"(?m)^# /// script[ \t]*\r?$\s(?P<content>(?:^#(?:| .*)$\s)+)^# ///[ \t]*\r?$")


@dataclass(frozen=True, slots=True)
class InlineMetadata:
    """The block's two standard members.

    Attributes:
        dependencies: As requirement strings.
        requires_python: A version range, None when any will do.
    """

    dependencies: tuple[str, ...] = ()
    requires_python: str | None = None


def inline_metadata(source: str) -> InlineMetadata | None:
    """The script's metadata block, or None. A block that is no TOML counts as none: the tool that reads it complains.

    >>> inline_metadata('# /// script\\n# dependencies = ["rich"]\\n# ///\\n')
    InlineMetadata(dependencies=('rich',), requires_python=None)
    """
    found = _BLOCK.search(source)
    if found is None:
        return None
    lines = (line[2:] if line.startswith("# ") else line[1:] for line in found["content"].splitlines())
    try:
        members = tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None
    dependencies = members.get("dependencies", [])
    requires_python = members.get("requires-python")
    return InlineMetadata(
        tuple(item for item in dependencies if isinstance(item, str)) if isinstance(dependencies, list) else (),
        requires_python if isinstance(requires_python, str) else None,
    )
