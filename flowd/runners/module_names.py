"""Names that a Python file beside a step's script should not have: Python looks there first, and so the file would take
the place of the module that a step, or what it imports, asks for."""

import os
import sys
from collections.abc import Iterator

_FLOWDS = ("flowd_client", "flowd_step")


def owner(name: str) -> str | None:
    """Whose module has that name: ``flowd`` or ``Python``; None where nobody's has.

    >>> owner("flowd_step"), owner("copy"), owner("sys"), owner("build")
    ('flowd', 'Python', None, None)
    """
    if name in _FLOWDS:
        return "flowd"
    # What is built in is found before any folder is looked into.
    return "Python" if name in sys.stdlib_module_names and name not in sys.builtin_module_names else None


def hidden_by(folder: str) -> Iterator[tuple[str, str, str]]:
    """What hides modules in a folder, in order of names: its path, the module, and whose that is."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        path = os.path.join(folder, name)
        module = name.removesuffix(".py")
        whose = owner(module)
        if whose is not None and (module != name or os.path.isfile(os.path.join(path, "__init__.py"))):
            yield path, module, whose
