"""Writes new flow packages for ``flowd new``, and finds the example packages."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from flowd import schemas
from flowd.runners import module_names
from flowd.runners.templates import SOURCES, Sketch

RUNNERS: Final = tuple(SOURCES)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_MAX_TYPE_CHARS: Final = 256
_MAX_STEPS: Final = 100

Stages = Sequence[Sequence[str]]
"""The steps of a flow in order: those of one stage run side by side, once all of the stage before have ended."""


class Steps(NamedTuple):
    """The steps of a flow, and which of them ask a person whether it may go on."""

    stages: Stages
    asking: Collection[str] = ()


@dataclass(frozen=True)
class Plan:
    """What a new package is to be.

    Attributes:
        name: The flow's and its folder's.
        runner: Of each step: one of `RUNNERS`.
        event_type: What starts it; may end in ``.*`` where neither cron nor files do.
        stages: Its steps.
        asking: Those of them that ask a person whether it may go on; not of the last stage.
        cron: When its event comes by itself, if it does.
        timezone: By whose clock; None for UTC.
        files: Of which files a change sends its event, as patterns of a watch.
        is_installed: Into ``.codex/flows`` rather than ``flows``.
    """

    name: str
    runner: str = "python"
    event_type: str = "demo.hello"
    stages: Stages = (("hello",),)
    asking: Collection[str] = ()
    cron: str | None = None
    timezone: str | None = None
    files: Sequence[str] = ()
    is_installed: bool = False

    @property
    def steps(self) -> list[tuple[str, Sequence[str]]]:
        """Each step's name, and the names of those that it needs."""
        return [
            (step, self.stages[number - 1] if number else ())
            for number, stage in enumerate(self.stages)
            for step in stage
        ]

    @property
    def package(self) -> Path:
        """Its folder, in the workspace."""
        return Path(".codex/flows" if self.is_installed else "flows", self.name)


_ARROW = re.compile(r"[-=]>|→")


def read_steps(text: str) -> Steps:
    """Steps in order as people write them: ``checkout > test, build > ask? > publish``; with ``?`` they ask a person.

    Raises:
        ValueError: There is a name missing, or one twice, or one that is none, or nothing waits for one that asks; a
            sentence for the user.
    """
    if _ARROW.search(text):
        raise ValueError(f"{text!r} has an arrow; between steps stands > alone: {_ARROW.sub('>', text)}")
    written = [[name.strip() for name in stage.split(",")] for stage in text.split(">")]
    stages = [[_bare(name) for name in stage] for stage in written]
    names = [name for stage in stages for name in stage]
    for name in names:
        if not name:
            raise ValueError(f"{text!r} lacks the name of a step; write them like: checkout > test, build > publish")
        check_name(name, "a step")
        if names.count(name) > 1:
            raise ValueError(f"{text!r} names the step {name!r} twice; the steps of a flow have different names")
    if len(names) > _MAX_STEPS:
        raise ValueError(f"these are {len(names)} steps; begin with {_MAX_STEPS} at most")
    asking = {_bare(name) for stage in written for name in stage if name.endswith("?")}
    for name in stages[-1]:
        if name in asking:
            raise ValueError(f"no step waits for what {name!r} asks; let one that asks come before it: ask? > {name}")
    return Steps(stages, asking)


def _bare(name: str) -> str:
    return name.removesuffix("?").rstrip()


def scaffold(workspace: Path, plan: Plan) -> list[Path]:
    """Write a package that works: manifest, schema, scripts, an event that starts it, and a test.

    The package appears whole, by a rename, so that a watching daemon never reads half of it. Nothing stays behind when
    writing fails. The workspace gets the JSON Schema that the manifest names, for editors.

    Returns:
        The files written, ``flow.toml`` first.

    Raises:
        ValueError: A bad name, runner or type, or the folder is there already; a sentence for the user.
        OSError: It cannot be written.
    """
    _check(plan)
    package = workspace / plan.package
    if os.path.lexists(package):
        raise ValueError(f"{package} exists already; choose another name or remove it first")
    root = package.parent
    root.mkdir(parents=True, exist_ok=True)
    schemas.install(workspace, "flow")
    directive = schemas.directive(package / "flow.toml", workspace, "flow")
    # Beside the root, not in it: folders with a dot at their front are packages too.
    holder = Path(tempfile.mkdtemp(prefix=".flowd-new-", dir=root.resolve().parent))
    try:
        written = [_write(holder / plan.name, path, text) for path, text in _files(plan, directive).items()]
        (holder / plan.name).rename(package)
    except FileExistsError as error:
        raise ValueError(f"{package} exists already; choose another name or remove it first") from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    return [package / path.relative_to(holder / plan.name) for path in written]


def examples_dir() -> Path:
    """The folder of the example packages: beside flowd in an installation, at the top of a checkout.

    Raises:
        FileNotFoundError: This installation has none.
    """
    here = Path(__file__).resolve().parents[1]
    for folder in (here / "_examples", here.parent / "examples"):
        if (folder / "flows").is_dir():
            return folder
    raise FileNotFoundError(f"flowd's examples are neither in {here / '_examples'} nor beside {here}; reinstall flowd")


def _check(plan: Plan) -> None:
    check_name(plan.name, "a package")
    if plan.runner not in SOURCES:
        raise ValueError(f"{plan.runner!r} is not a runner that a package can be made for; use {', '.join(SOURCES)}")
    kind = check_type(plan.event_type)
    if kind.endswith("*") and (plan.cron or plan.files):
        raise ValueError(f"{kind!r} stands for many types; name the one that the event is to have")
    if plan.cron and plan.files:
        raise ValueError("the clock and saved files send events of different payloads; write a package for each")


def check_name(name: str, what: str) -> str:
    """The name, where it can be one of a folder and a file on every system.

    Raises:
        ValueError: It cannot be; a sentence for the user.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"{name[:100]!r} is not {what} name; use up to 100 letters, digits, dots, dashes and underscores,"
            " beginning with a letter or digit"
        )
    return name


def check_type(event_type: str) -> str:
    """The type, where events can have it.

    Raises:
        ValueError: They cannot; a sentence for the user.
    """
    if not event_type.strip() or len(event_type) > _MAX_TYPE_CHARS or _CONTROL.search(event_type):
        raise ValueError(f"{event_type[:100]!r} is not an event type; use 1 to {_MAX_TYPE_CHARS} printable characters")
    return event_type


def _files(plan: Plan, directive: str) -> dict[str, str]:
    source = SOURCES[plan.runner][1]
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["count"] if plan.files else ["name"],
        "properties": {"count": {"type": "integer"}} if plan.files else {"name": {"type": "string", "minLength": 1}},
    }
    texts = {"flow.toml": "\n".join([directive, *_manifest(plan), ""]), _SCHEMA: _json(schema)}
    for step, needs in plan.steps:
        says = None if needs else "count" if plan.files else "name"
        greeting = "Changed files: {}" if plan.files else "Hello, {}!"
        question = _question(plan, step) if step in plan.asking else None
        texts[_script(plan, step)] = source(Sketch(step, plan.event_type, says, greeting, question))
    return {**texts, _EVENT: _json(_event(plan)), f"test_{re.sub(r'[^A-Za-z0-9]', '_', plan.name)}.py": _test(plan)}


_SCHEMA, _EVENT = "schemas/event.schema.json", "event.json"


def _question(plan: Plan, step: str) -> str:
    """What a step asks: whether what waits for it may run."""
    after = [name for name, needs in plan.steps if step in needs]
    return f"Go on with {' and '.join(after)}?"


def _test(plan: Plan) -> str:
    statuses = "".join(f'        {json.dumps(step)}: "completed",\n' for step, _ in plan.steps)
    approve = f"approve={json.dumps(sorted(plan.asking))}" if plan.asking else ""
    return _TEST.replace("{statuses}", statuses).replace("{approve}", approve)


_TEST: Final = '''"""Run it with `python3 -m pytest`, where flowd and pytest are installed together."""


def test_its_example_runs_through(flow_package):
    assert flow_package.round({approve}).statuses == {
{statuses}    }
'''


def _script(plan: Plan, step: str) -> str:
    stem = step
    names = [name for name, _ in plan.steps]
    while plan.runner == "python" and (module_names.owner(stem) or (stem != step and stem in names)):
        stem += "_step"
    return f"exec/{stem}{SOURCES[plan.runner][0]}"


def _description(plan: Plan) -> str:
    if plan.cron:
        return f"Runs by the clock: {plan.cron}, {plan.timezone or 'UTC'}"
    return f"Runs when files change: {', '.join(plan.files)}" if plan.files else f"Answers {plan.event_type}"


def _manifest(plan: Plan) -> Iterator[str]:
    yield f"name = {_toml(plan.name)}"
    yield "version = 1"
    yield f"description = {_toml(_description(plan))}"
    if plan.cron:
        yield from ("", "[[schedules]]", 'name = "clock"', f"cron = {_toml(plan.cron)}")
        if plan.timezone:
            yield f"timezone = {_toml(plan.timezone)}"
        yield f"type = {_toml(plan.event_type)}"
        yield f"payload = {{ name = {_toml(_WORLD)} }}"
    if plan.files:
        yield from ("", "[[watches]]", 'name = "files"', f"paths = {_toml(list(plan.files))}")
        yield f"type = {_toml(plan.event_type)}"
    for step, needs in plan.steps:
        yield from ("", "[[steps]]", f"name = {_toml(step)}", f"runner = {_toml(plan.runner)}")
        yield f"script = {_toml(_script(plan, step))}"
        yield "timeout_ms = 60000"
        if needs:
            yield f"needs = {_toml(list(needs))}"
        else:
            yield from ("", "[steps.trigger]", f"type = {_toml(plan.event_type)}", f"schema = {_toml(_SCHEMA)}")


_WORLD: Final = "world"


def _event(plan: Plan) -> dict[str, Any]:
    """One that starts it. It has no id, so each time that it is sent it is a new one."""
    kind = plan.event_type
    change = {"path": "example.txt", "change": "modified"}
    watched = {"flow": plan.name, "watch": "files", "count": 1, "changes": [change]}
    return {
        "type": f"{kind[:-1]}example" if kind.endswith(".*") else kind,
        "source": "flowd new",
        "payload": watched if plan.files else {"name": _WORLD},
    }


def _toml(value: object) -> str:
    # What JSON makes of strings without control characters, and of lists of these, is TOML as well.
    return json.dumps(value, ensure_ascii=False)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def _write(folder: Path, path: str, text: str) -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    if text.startswith("#!"):
        # Whoever may read it may run it.
        mode = file.stat().st_mode
        file.chmod(mode | ((mode & 0o444) >> 2))
    return file
