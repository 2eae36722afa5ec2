"""Tells whether a script is module-style: whether it exports a function that the bootstrap calls.

Only code counts. The reference system also looked into comments and strings, and broke scripts that merely talked
about exporting.
"""

import ast
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from flowd.runners.inline_metadata import InlineMetadata, inline_metadata
from flowd.runners.javascript import code_of

_EXPORTS_DEFAULT = re.compile(r"(?<![\w$.])export\s+default\b(?!\s+interface\b)")
_EXPORT_LIST = re.compile(r"(?<![\w$.])export\s*\{([^{}]*)\}")
_DEFAULT_IN_LIST = re.compile(r"(?:^|\s)default\s*$")
_CALLS_DEFINE = re.compile(r"(?<![\w$.])(?<!function )define(?:Bun|Node)Flow\s*(?:<[^;()]*>)?\s*\(")
_PYTHON_RUN = re.compile(r"^(?:async\s+)?def\s+run\s*\(\s*[^\W\d]", re.MULTILINE)

_TOKEN = "FLOW_RESULT"  # noqa: S105 - what raw scripts print

MAX_SCRIPT_BYTES: Final = 64 * 1024 * 1024
"""A larger file is no script."""

_MAX_READ_BYTES: Final = 4 * 1024 * 1024
"""A larger script is raw: people do not write as much, and reading it would take seconds."""

_MAX_PARSED_BYTES: Final = 64 * 1024
"""Python's parser holds everybody else up, 60 ms for as much; a larger script is told by its text."""

MAX_CACHED: Final = 1024
"""Scripts whose style is remembered; each costs about 200 bytes."""


def javascript_is_module(source: str) -> bool:
    """Whether the source has a default export, or calls ``defineBunFlow`` or ``defineNodeFlow``.

    >>> javascript_is_module("export { main as default }")
    True
    >>> javascript_is_module("// export default\\nconsole.log('export default')")
    False
    """
    if "default" not in source and "Flow" not in source:
        return False
    code = code_of(source)
    if _EXPORTS_DEFAULT.search(code) or _CALLS_DEFINE.search(code):
        return True
    return any(
        _DEFAULT_IN_LIST.search(item) for names in _EXPORT_LIST.finditer(code) for item in names.group(1).split(",")
    )


def python_is_module(source: str | bytes) -> bool:
    """Whether the source defines ``run(context)`` at its top level, and neither reads its context by itself
    (``flowd_step.context()``) nor writes its FLOW_RESULT.

    A source that this Python cannot parse may be one for a newer Python, so it is then told by its text; if it is just
    wrong, either style ends with the same traceback.

    >>> python_is_module("async def run(context): ...")
    True
    >>> python_is_module("def run(context): print('FLOW_RESULT {}')")
    False
    """
    if len(source) > _MAX_PARSED_BYTES:
        return _has_run(source)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _has_run(source)
    if not any(_is_run(node) for node in tree.body) or any(_reads_context(node) for node in tree.body):
        return False
    return not any(_TOKEN in text for text in _strings(tree))


def _has_run(source: str | bytes) -> bool:
    text = source if isinstance(source, str) else source.decode("utf-8", "replace")
    return _PYTHON_RUN.search(text) is not None and _TOKEN not in text


def _is_run(node: ast.stmt) -> bool:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or node.name != "run":
        return False
    return bool(node.args.posonlyargs or node.args.args or node.args.vararg)


def _reads_context(statement: ast.stmt) -> bool:
    """Whether importing the source executes ``flowd_step.context()``: without an argument it reads standard input."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    if isinstance(statement, ast.If) and any(_is_name(node, "__name__") for node in ast.walk(statement.test)):
        return False
    calls = (node for node in ast.walk(statement) if isinstance(node, ast.Call) and not node.args and not node.keywords)
    functions = (call.func for call in calls)
    return any(
        isinstance(function, ast.Attribute) and function.attr == "context" and _is_name(function.value, "flowd_step")
        for function in functions
    )


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _strings(tree: ast.AST) -> Iterator[str]:
    """Every string constant that is no docstring and no other bare expression."""
    bare = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in bare:
            if isinstance(node.value, str):
                yield node.value
            elif isinstance(node.value, bytes):
                yield node.value.decode("latin-1")


@dataclass(frozen=True, slots=True)
class Style:
    """How a script wants to be run.

    Attributes:
        is_module: The bootstrap imports it and calls its function.
        metadata: A Python script's own requirements (PEP 723), None when it states none.
        uses_helpers: It may import the helpers of the packages that flows were written for.
    """

    is_module: bool
    metadata: InlineMetadata | None = None
    uses_helpers: bool = False


class Styles:
    """Remembers the style of each script until the file changes. Calls may come from several threads at once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int, int], Style] = {}

    def cached(self, script: str) -> Style | None:
        """The remembered style of the file as it is now, None when it has to be read.

        Raises:
            OSError: The file is not there.
        """
        return self._known.get(_identity(script))

    def of(self, script: str, *, is_python: bool) -> Style:
        """The style of a script. Reads the file unless it is known, so it does not belong on the event loop.

        Raises:
            OSError: It cannot be read, or is larger than `MAX_SCRIPT_BYTES`.
        """
        key = _identity(script)
        known = self._known.get(key)
        if known is not None:
            return known
        with open(script, "rb") as stream:
            source = stream.read(_MAX_READ_BYTES + 1)
            if os.fstat(stream.fileno()).st_size > MAX_SCRIPT_BYTES:
                raise OSError(errno.EFBIG, f"it is larger than {MAX_SCRIPT_BYTES} bytes, so it is no script", script)
        text = source.decode("utf-8", "replace")
        if len(source) > _MAX_READ_BYTES:
            style = Style(is_module=False)
        elif is_python:
            style = Style(python_is_module(source), inline_metadata(text))
        else:
            style = Style(javascript_is_module(text), uses_helpers="flow-runtime" in text)
        if len(self._known) >= MAX_CACHED:
            self._known.clear()  # so rare that remembering who came first is not worth its code
        self._known[key] = style
        return style


def _identity(script: str) -> tuple[str, int, int, int]:
    status = os.stat(script)
    return script, status.st_mtime_ns, status.st_size, status.st_ino
