"""Reads what a step is given beside the event on its standard input: ``[steps.env]`` and ``args``."""

from typing import NoReturn

from flowd.catalog.step_shapes import InputTable
from flowd.catalog.table import Table, kind_of
from flowd.domain import pointer
from flowd.domain.inputs import MAX_ARGS, Input, text_of
from flowd.formats.typed import fields_of

_OWN_VARIABLES = ("FLOWD_", "CODEX_FLOW_")
_MEMBERS = tuple(fields_of(InputTable))
_REMEDY = 'Write text, { pointer = "/payload/tag" }, or { need = "STEP", pointer = "/artifacts/path" }.'


def read_env(table: Table) -> tuple[dict[str, str], dict[str, Input]]:
    """The variables of a step: those whose values are written there, and those that are looked up at each start.

    Raises:
        ManifestError: A name or a value cannot be used.
    """
    env = table.needed_table("env")
    if env is None:
        return {}, {}
    needs = _needs(table)
    fixed: dict[str, str] = {}
    inputs: dict[str, Input] = {}
    for name, value in env.values.items():
        if not name or "=" in name or "\0" in name:
            env.error(name, f"env has the invalid variable name {kind_of(name)}", "Rename or remove it.")
        if name.startswith(_OWN_VARIABLES):
            env.warn(name, f"env variable {name} may be set by flowd itself, which wins")
        if isinstance(value, dict):
            reader = _Reader(env, name, f"env variable {name}", needs)
            inputs[name] = env.tried(Input(), reader.read, value)
        elif not isinstance(value, str) or "\0" in value:
            remedy = f'Write it in quotes: {name} = "...".'
            env.error(name, f"env variable {name} must be a string", remedy, code="wrong-type")
        else:
            fixed[name] = value
    return fixed, inputs


def read_args(table: Table) -> tuple[str | Input, ...]:
    """What a step's script is called with.

    Raises:
        ManifestError: It is no list of text and of places to look in.
    """
    args = table.values.get("args", [])
    if not isinstance(args, list):
        table.fail("args", f"args must be a list, got {kind_of(args)}", 'Write args = ["--tag", "v1"].')
    if len(args) > MAX_ARGS:
        table.fail("args", f"args has more than {MAX_ARGS} members", "Put them into a file of the package.")
    return tuple(table.tried("", _arg, table, index, value) for index, value in enumerate(args))


def _arg(table: Table, index: int, value: object) -> str | Input:
    label = f"argument {index + 1}"
    if isinstance(value, str) and "\0" not in value:
        return value
    if not isinstance(value, dict):
        table.fail("args", f"{label} must be a string or a table, got {kind_of(value)}", _REMEDY, member=(index,))
    found = _Reader(table, "args", label, _needs(table), (index,)).read(value)
    if found.secret is not None:
        remedy = "Give it as a variable: everybody on the machine can read arguments."
        table.fail("args", f"{label} is a secret", remedy, member=(index,))
    return found


class _Reader:
    """Reads one value that is looked up."""

    def __init__(self, table: Table, key: str, label: str, needs: list[object], at: tuple[int, ...] = ()) -> None:
        self._table = table
        self._key = key
        self._label = label
        self._needs = needs
        self._at = at

    def read(self, value: dict[str, object]) -> Input:
        for member in value:
            if member not in _MEMBERS:
                self._fail(f"has the unknown member {kind_of(member)}")
        for member in ("pointer", "need", "secret"):
            if not isinstance(value.get(member, ""), str):
                self._fail(f"has a {member} that is no string")
        if "secret" in value:
            if len(value) > 1 or not value["secret"]:
                self._fail("has more than the name of a secret", 'Write { secret = "NAME" } alone.')
            return Input(secret=str(value["secret"]))
        return Input(pointer=self._pointer(value), need=self._need(value), default=self._default(value))

    def _pointer(self, value: dict[str, object]) -> str:
        found = value.get("pointer")
        if not isinstance(found, str):
            self._fail("has no pointer")
        try:
            pointer.parse(found)
        except ValueError as error:
            self._fail(f"has the pointer {kind_of(found)}, which {error}")
        return found

    def _need(self, value: dict[str, object]) -> str | None:
        need = value.get("need")
        if need is not None and need not in self._needs:
            self._fail(
                f"looks into the result of {kind_of(need)}, which the step does not need",
                f"Add it to the step's needs: needs = [{kind_of(need)}].",
            )
        return None if need is None else str(need)

    def _default(self, value: dict[str, object]) -> str | None:
        default = value.get("default")
        if default is None:
            return None
        if not isinstance(default, str | int | float) or "\0" in str(default):
            self._fail(f"has {kind_of(default)} as default", "Write text, a number or a boolean.")
        return text_of(default)

    def _fail(self, problem: str, remedy: str = _REMEDY) -> NoReturn:
        self._table.fail(self._key, f"{self._label} {problem}", remedy, member=self._at)


def _needs(step: Table) -> list[object]:
    needs = step.values.get("needs")
    return needs if isinstance(needs, list) else []
