"""Every code block of the documentation is executed, compared or checked, or says why it is not."""

import configparser
import importlib
import json
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import documentation
import pytest
from documentation import CHECKOUT, Block

from flowd.catalog.manifest import parse
from flowd.catalog.table import ManifestError
from flowd.cli.main import cli
from flowd.formats import toml
from flowd.settings.sources import load
from flowd.settings.values import SettingsError

yaml = pytest.importorskip("yaml", reason="NOT TESTED: the blocks of the documentation, because PyYAML is not here")

ALL = [block for page in documentation.pages() for block in documentation.blocks(page)]


def checked_by(language: str) -> Callable[[Block], None] | None:
    return {
        "toml": check_toml,
        "json": check_json,
        "python": check_python,
        "py": check_python,
        "sh": check_shell,
        "bash": check_shell,
        "console": check_console,
        "yaml": check_yaml,
        "ini": check_ini,
        "js": check_script,
        "text": check_said,
        "": check_said,
    }.get(language)


def test_every_fence_is_read() -> None:
    for page in documentation.pages():
        name = page.relative_to(CHECKOUT).as_posix()
        assert documentation.fences(page) == len([block for block in ALL if block.page == name]), name


@pytest.mark.parametrize("block", [block for block in ALL if not block.kind], ids=str)
def test_a_block_without_a_mark_is_right(block: Block) -> None:
    check = checked_by(block.language)
    assert check is not None, (
        f"{block}: nothing checks a block of {block.language or 'no language'}. Mark it, on the line above, as "
        "`<!-- run: NAME -->`, `<!-- file: PATH -->`, `<!-- output: NAME -->`, or `<!-- shown: why no test does -->`."
    )
    check(block)


@pytest.mark.parametrize("block", [block for block in ALL if block.kind == "run"], ids=str)
def test_a_block_with_commands_is_executed_by_a_test(block: Block) -> None:
    own = documentation.readers(block.page)
    # Either by its name, or with all of its page.
    assert not own or any(f'"{block.name}"' in text or 'case "run"' in text for text in own), (
        f"{block}: no test executes {block.name}"
    )


@pytest.mark.parametrize("block", [block for block in ALL if block.kind == "shown"], ids=str)
def test_a_block_that_is_only_shown_says_why(block: Block) -> None:
    assert len(block.name.split()) >= 3, f"{block}: say why in some words"


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("toml", "max_paralel = 4\n"),
        ("toml", '[[steps]]\nname = "x"\nrunner = "exec"\nscript = "x"\nneed = ["y"]\n'),
        ("json", "{'a': 1}\n"),
        ("python", "from flowd_client import create_flow_klient\n"),
        ("sh", "flowd dispatsh event.json\n"),
        ("sh", "flowd dispatch event.json --wiat\n"),
        ("sh", "true && flowd runs --event e extra\n"),
        ("sh", "for x in a b; do\n"),
        ("console", "$ flowd servise\n"),
        ("yaml", "a: [\n"),
        ("ini", "a\n"),
    ],
)
def test_a_block_that_is_wrong_is_found(language: str, text: str) -> None:
    check = checked_by(language)
    assert check is not None
    with pytest.raises((AssertionError, SyntaxError, ValueError, yaml.YAMLError)):
        check(Block("page.md", 1, "", "", language, text))


def check_toml(block: Block) -> None:
    """It is part of a flow.toml, or of the settings, in which nothing is wrong or unknown."""
    problems = [_wrong_in_a_package(block.text), _wrong_in_settings(block.text)]
    assert None in problems, f"{block}: as a package: {problems[0]}; as settings: {problems[1]}"


def _wrong_in_a_package(text: str) -> str | None:
    values = toml.parse(text)
    steps = values.get("steps")
    head = "" if "name" in values else 'name = "x"\n'
    head += "" if "version" in values else "version = 1\n"
    if isinstance(steps, dict):
        head += _STEP
    elif not isinstance(steps, list):
        text += _STEP
    else:
        for step in steps:
            missing = [f'{key} = "{value}"\n' for key, value in _LEAST.items() if key not in step]
            text = text.replace("[[steps]]\n", f"[[steps]]\n{''.join(missing)}", 1) if missing else text
    try:
        return "; ".join(parse((head + text).encode()).warnings) or None
    except ManifestError as error:
        needs = re.search(r'needs "(\w+)", which is no step', str(error))
        if needs is None:
            return str(error)
        needed = _STEP.replace('"x"', f'"{needs[1]}"', 1)
        return _wrong_in_a_package(f'{text}{needed}\n[steps.trigger]\ntype = "x"\n')


_STEP = '\n[[steps]]\nname = "x"\nrunner = "exec"\nscript = "x"\n'
_LEAST = {"name": "x", "runner": "exec", "script": "x"}


def _wrong_in_settings(text: str) -> str | None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, ".codex", "flowd.toml")
        file.parent.mkdir(mode=0o700)
        for name in re.findall(r'_?file = "([^"/.][^"]*|\.codex/[^"]*)"', text):
            Path(folder, name).write_text("s" * 64, encoding="ascii")
        file.write_text(text, encoding="utf-8")
        try:
            load(Path(folder), {}, {}, Path(folder))
        except SettingsError as error:
            return str(error)
    return None


def check_json(block: Block) -> None:
    """It is JSON, or one JSON value a line."""
    try:
        json.loads(block.text)
    except ValueError:
        for line in block.text.splitlines():
            json.loads(line)


def check_python(block: Block) -> None:
    """It compiles, and what it imports is there."""
    compile(block.text, str(block), "exec")
    for module, names in re.findall(r"^\s*from (flowd\w*(?:\.\w+)*) import ([\w, ]+)", block.text, re.MULTILINE):
        for name in re.split(r",\s*", names.strip()):
            assert hasattr(importlib.import_module(module), name.split()[0]), f"{block}: {module} has no {name}"


def check_console(block: Block) -> None:
    """What is typed in it is right; what is printed is not looked at."""
    typed = [line[2:] for line in block.text.splitlines() if line.startswith("$ ")]
    assert typed, f"{block}: nothing is typed in it"
    check_commands("\n".join(typed), block)


def check_shell(block: Block) -> None:
    """A shell takes it, and flowd takes the command lines of flowd in it."""
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{block}: {done.stderr}"
    check_commands(block.text, block)


def check_commands(text: str, block: Block) -> None:
    """Each call of flowd names a verb and options that there are, and no argument too many."""
    for words in _calls(text):
        try:
            _parse(words)
        except click.ClickException as error:
            raise ValueError(f"{block}: flowd {shlex.join(words)}: {error.format_message()}") from None


_ENDS = {"|", "||", "&", "&&", ";", ";;", "(", ")", "<", ">", ">>", "2>", "2>>", "}", "{", "|&", ">&", "&>"}
_BEFORE = {"sudo", "exec", "until", "while", "if", "then", "do", "else", "!", "(", "{", "time"}


def _calls(text: str) -> Iterator[list[str]]:
    """The words after ``flowd`` of each call of it."""
    text = re.sub(r"\\\n", " ", text)
    for line in text.splitlines():
        inner = re.findall(r"\$\((flowd [^()]*)\)|`(flowd [^`]*)`|'((?:exec )?flowd [^']*)'", line)
        for part in (line, *(words for found in inner for words in found if words)):
            yield from _calls_of_line(part)


def _calls_of_line(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = "#"
    try:
        words = list(lexer)
    except ValueError:  # a quotation that goes on in the next line
        return
    begin = True
    for index, word in enumerate(words):
        if begin and word == "flowd":
            end = next((i for i in range(index, len(words)) if words[i] in _ENDS), len(words))
            call = words[index + 1 : end]
            yield call[:-1] if end < len(words) and words[end][0] in "<>" and call[-1:] in (["2"], ["1"]) else call
        begin = word in _ENDS or word in _BEFORE or (begin and re.fullmatch(r"\w+=\S*", word) is not None)


def _parse(words: list[str]) -> None:
    """As click does, but for what options and arguments mean: a file need not be there."""
    command: click.Command = cli
    context = click.Context(cli, info_name="flowd", **cli.context_settings)
    left = words
    while isinstance(command, click.Group):
        _, left, _ = command.make_parser(context).parse_args(left)
        if not left:
            return
        name, inner, left = command.resolve_command(context, left)
        assert inner is not None, name
        command, context = inner, click.Context(inner, info_name=name, parent=context)
    _, left, _ = command.make_parser(context).parse_args(left)
    if left:
        raise click.UsageError(f"{left[0]!r} is one argument too many")


def check_said(block: Block) -> None:
    """What a step says to flowd."""
    for line in block.text.splitlines():
        word, _, value = line.partition(" ")
        assert word in ("FLOW_RESULT", "FLOW_PROGRESS"), f"{block}: mark it as output, or as shown"
        assert isinstance(json.loads(value), dict), block


def check_yaml(block: Block) -> None:
    yaml.safe_load(block.text)


def check_ini(block: Block) -> None:
    """A unit file of systemd."""
    reader = configparser.RawConfigParser(strict=False, comment_prefixes=("#", ";"))
    reader.optionxform = str  # type: ignore[assignment, method-assign]
    try:
        reader.read_string(block.text)
    except configparser.Error as error:
        raise ValueError(f"{block}: {error}") from None
    assert reader.sections(), block


def check_script(block: Block) -> None:
    """Node takes it."""
    node = shutil.which("node")
    if node is None:
        pytest.skip(f"NOT TESTED: {block}, because node is not here")
    done = subprocess.run(
        [node, "--check", "--input-type=module", "-"], input=block.text, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"
