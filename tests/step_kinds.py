"""Ways to write a step: as a module or as a script, in each language; and a step of each, run."""

from dataclasses import dataclass
from pathlib import Path

from runner_rig import Done, Rig, interpreter, run


@dataclass(frozen=True)
class Kind:
    """A runner with a style, and each behaviour written in its language."""

    runner: str
    script: str
    sources: dict[str, str]


PYTHON_MODULE = Kind(
    "python",
    "exec/step.py",
    {
        "echo": "import os\nasync def run(context):\n    return {'status': 'changed', 'context': context,"
        " 'cwd': os.getcwd(), 'env': {k: v for k, v in os.environ.items() if 'FLOW' in k}}",
        "throw": "def run(context):\n    raise RuntimeError('boom')",
        "broken": "import nowhere_to_be_found\ndef run(context): ...",
        "list": "def run(context):\n    return [1]",
        "status": "def run(context):\n    return {'status': 'fine'}",
        "nothing": "def run(context):\n    pass",
        "timer": "import threading, time\ndef run(context):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n    return {'status': 'completed'}",
        "large": "def run(context):\n    print('x' * 300_000, end='')\n"
        "    return {'status': 'completed', 'big': 'ü' * 100_000}",
        "huge": "def run(context):\n    return {'status': 'completed', 'big': 'x' * 1_100_000}",
        "sibling": "import sibling\ndef run(context):\n    return {'status': 'completed', 'message': sibling.NAME}",
        "comment": "# FLOW_RESULT is printed for us\ndef run(context):\n    print('no newline', end='')\n"
        "    return {'status': 'skipped'}",
        "exit": "import sys\ndef run(context):\n    sys.exit(7)",
    },
)
JAVASCRIPT_MODULE = {
    "echo": "export default async (context) => ({status: 'changed', context, cwd: process.cwd(),"
    " env: Object.fromEntries(Object.entries(process.env).filter(([k]) => k.includes('FLOW')))})",
    "throw": "export default () => { throw new Error('boom') }",
    "broken": "import './nowhere_to_be_found.mjs'; export default () => {}",
    "list": "export default () => [1]",
    "status": "export default () => ({status: 'fine'})",
    "nothing": "export default () => {}",
    "timer": "export default () => { setInterval(() => {}, 60_000); return {status: 'completed'} }",
    "large": "export default () => { process.stdout.write('x'.repeat(300_000));"
    " return {status: 'completed', big: 'ü'.repeat(100_000)} }",
    "huge": "export default () => ({status: 'completed', big: 'x'.repeat(1_100_000)})",
    "sibling": "import { NAME } from './sibling.mjs'; export default () => ({status: 'completed', message: NAME})",
    "comment": "// FLOW_RESULT is printed for us\nexport default () => {"
    " process.stdout.write('no newline'); return {status: 'skipped'} }",
    "exit": "export default () => process.exit(7)",
}
MODULES = [
    PYTHON_MODULE,
    Kind("node", "exec/step.mjs", JAVASCRIPT_MODULE),
    Kind("bun", "exec/step.ts", JAVASCRIPT_MODULE),
]
RAWS = [
    Kind(
        "python",
        "exec/raw.py",
        {
            "echo": "import json, os, sys\nprint('log FLOW_RESULT ' + json.dumps({'status': 'changed',"
            " 'context': json.load(sys.stdin), 'cwd': os.getcwd(), 'argv': sys.argv}))",
        },
    ),
    Kind(
        "node",
        "exec/raw.mjs",
        {
            "echo": "import fs from 'node:fs';\n// export default is only mentioned\n"
            "console.log('log FLOW_RESULT ' + JSON.stringify({status: 'changed',"
            " context: JSON.parse(fs.readFileSync(0)), cwd: process.cwd(), argv: process.argv.slice(1)}))",
        },
    ),
    Kind(
        "bun",
        "exec/raw.ts",
        {
            "echo": "const context: unknown = await Bun.stdin.json();\nconst s: string = 'export default';\n"
            "console.log('log FLOW_RESULT ' + JSON.stringify({status: 'changed',"
            " context, cwd: process.cwd(), argv: process.argv.slice(1)}))",
        },
    ),
    Kind(
        "exec",
        "exec/raw.sh",
        {
            "echo": r"""#!/bin/sh
printf 'FLOW_RESULT {"status":"changed","cwd":"%s","argv":["%s"],"context":' "$PWD" "$0"
tr -d '\n'
echo '}'
"""
        },
    ),
]


def made(tmp_path: Path, kind: Kind) -> Rig:
    rig = Rig(tmp_path / "ws")
    rig.root.mkdir(parents=True)
    if kind.runner != "exec":
        rig.interpreters = {kind.runner: interpreter(kind.runner)}
    return rig


def done(tmp_path: Path, kind: Kind, behaviour: str) -> Done:
    rig = made(tmp_path, kind)
    rig.write(kind.script, kind.sources[behaviour], mode=0o755)
    return run(rig.command(kind.runner, kind.script), rig.environ, tmp_path)


def ids(kind: Kind) -> str:
    return kind.script.rpartition("/")[2]
