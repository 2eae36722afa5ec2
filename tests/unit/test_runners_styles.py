"""Telling module-style scripts from raw ones, by their code alone."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowd.runners.inline_metadata import InlineMetadata, inline_metadata
from flowd.runners.javascript import code_of
from flowd.runners.styles import Styles, javascript_is_module, python_is_module


@pytest.mark.parametrize(
    "source",
    [
        "export default function run(context) {}",
        "export default async (c) => ({status: 'completed'})",
        "const a = 1;export\n\tdefault a",
        "export { main as default };",
        "export { other, main as default, }",
        "export { default } from './impl'",
        "module.x = defineBunFlow(async () => {})",
        "defineNodeFlow<Config>((c) => c)",
        "const r = /[`'\"]/; export default r",
        "const half = total / 2; // it's\nexport default half / 2",
        "const t = `a ${`b ${'}'}`} c`; export default t",
        "if (a) { x /= 2 } export default x /* ' */",
        "#!/usr/bin/env bun 'it\nexport default 1",
        "const s = 'it\\'s'; export default s",
        "const s = 'it\\\n is'; export default s",
        "<p>don't</p>; export default 1",
    ],
)
def test_a_default_export_or_a_define_call_in_code_is_module_style(source: str) -> None:
    assert javascript_is_module(source)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "console.log('hello')",
        "// export default\nconsole.log(1)",
        "/* export default\n defineBunFlow( */ 1",
        "console.log('export default x')",
        'console.log("defineBunFlow(")',
        "console.log(`export default ${1} defineBunFlow(`)",
        "const x = /export default/; x.test(y)",
        "return /defineBunFlow(/",
        "export const defaults = 1; export { defaults as fallback }",
        "export { default as helper } from './helper'",
        "function defineBunFlow(f) { return f }",
        "export default interface Options { a: 1 }",
        "a.defineBunFlow(1)",
        "export function run() {}",
        "/* never closed: export default",
        "`never closed: export default",
    ],
)
def test_talk_about_exporting_is_not_module_style(source: str) -> None:
    assert not javascript_is_module(source)


def test_code_keeps_what_stands_between_strings_and_comments() -> None:
    assert code_of("a/*x*/b") == "a b"
    assert code_of("f('x', \"y\", `z`)") == 'f("", "", "")'
    assert code_of("`${ {a: `${1}`}.a }` + b") == '"" {a: ""1""}.a "" + b'


@given(st.text(alphabet="ab/*'\"`${}\\\n ()[]export default", max_size=80))
def test_no_source_makes_the_reader_fail(source: str) -> None:
    code_of(source)
    javascript_is_module(source)
    python_is_module(source)
    inline_metadata(source)


@given(st.text(alphabet="ab/'\"\\\n $export{}", max_size=60))
def test_what_stands_in_a_template_never_counts(text: str) -> None:
    escaped = text.replace("\\", "\\\\").replace("`", "\\`").replace("${", "\\${")
    assert not javascript_is_module(f"const t = `{escaped} export default `;")


@pytest.mark.parametrize(
    "unit", ["`", "'", "\\", "`${", "/*", "/", '"\\', "'\\", "a/", "=/[", "=/\\", "`\\", 'x\\"\\\n']
)
def test_hostile_sources_take_linear_time(unit: str) -> None:
    javascript_is_module("default " + unit * 200_000)  # at the square of it, for hours


@pytest.mark.parametrize(
    "source",
    [
        "def run(context):\n    return {}",
        "async def run(ctx): ...",
        "def run(context, /): ...",
        "def run(*args): ...",
        '"""Prints no FLOW_RESULT itself."""\ndef run(context):\n    """Nor FLOW_RESULT here."""\n',
        "# FLOW_RESULT\ndef run(context): ...",
        "def run(context):\n    step = flowd_step.context(context)",
        "def run(context): ...\nif __name__ == '__main__':\n    run(flowd_step.context().raw)",
        "def run(context): ...\nstep = flowd_step.context({'id': 'e', 'type': 't'})",
    ],
)
def test_a_python_run_function_is_module_style(source: str) -> None:
    assert python_is_module(source)


@pytest.mark.parametrize(
    "source",
    [
        "",
        "print('hi')",
        "def run(): ...",
        "def run(*, context): ...",
        "class A:\n    def run(self): ...",
        "def other(context): ...",
        "def run(context): ...\nprint('FLOW_RESULT ' + x)",
        "def run(context): ...\nprint(f'FLOW_RESULT {x}')",
        "def run(context): ...\nout.write(b'FLOW_RESULT {}')",
        "with flowd_step.context() as step:\n    run('make')\ndef run(command): ...",
        "def run(command): ...\nstep = flowd_step.context()",
        "def run(command): ...\nif True:\n    print(flowd_step.context().name)",
        "this is not python",
        "\0",
    ],
)
def test_other_python_is_raw(source: str) -> None:
    assert not python_is_module(source)


def test_python_too_new_for_flowd_is_told_by_its_text() -> None:
    assert python_is_module("soft keyword of 2040\n\ndef run(context):\n    return {}\n")
    assert not python_is_module("soft keyword of 2040\n\ndef run(context):\n    print('FLOW_RESULT {}')\n")


def test_a_style_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    script = tmp_path / "s.py"
    script.write_text("def run(context): ...")
    styles = Styles()
    assert styles.cached(str(script)) is None
    assert styles.of(str(script), is_python=True).is_module
    remembered = styles.cached(str(script))
    assert remembered is not None
    assert styles.of(str(script), is_python=True) is remembered

    other = tmp_path / "other"
    other.write_text("print('a longer one')")
    os.replace(other, script)
    assert styles.cached(str(script)) is None
    assert not styles.of(str(script), is_python=True).is_module


def test_inline_metadata_is_read_as_the_specification_says() -> None:
    source = (
        "#!/usr/bin/env python3\n# /// script\n# requires-python = '>=3.12'\n#\n"
        "# dependencies = [\n#   'rich',\n#   'httpx<1',\n# ]\n# ///\nimport rich\n"
    )
    assert inline_metadata(source) == InlineMetadata(("rich", "httpx<1"), ">=3.12")
    assert inline_metadata("# /// script\n# x = 1\n# ///\n") == InlineMetadata()
    assert inline_metadata("# /// other\n# x = 1\n# ///\n") is None
    assert inline_metadata("# /// script\n# not toml\n# ///\n") is None
    assert inline_metadata("# /// script\n# x = 1\n") is None
