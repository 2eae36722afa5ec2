"""What is generated of the client library is what its sources say now."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "clients/python/generate.py"


@pytest.fixture
def generate() -> ModuleType:
    module = ModuleType("generate")
    module.__file__ = str(SCRIPT)
    exec(compile(SCRIPT.read_text(encoding="utf-8"), SCRIPT, "exec"), module.__dict__)
    return module


def test_the_generated_files_are_current() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_file_that_was_changed_is_outdated(generate: ModuleType, tmp_path: Path) -> None:
    for name in ("_async", "_sync"):
        (tmp_path / name).mkdir()
    (tmp_path / "requests.py").write_text("")
    generate.PACKAGE, generate.VERBS_PATH = tmp_path, tmp_path / "_async/verbs.py"
    (tmp_path / "_async/thing.py").write_text("async def go() -> None:\n    await there()\n")
    (tmp_path / "_sync/orphan.py").write_text("")
    found = generate.outdated()
    assert found[tmp_path / "_sync/thing.py"].endswith("def go() -> None:\n    there()\n")
    assert found[tmp_path / "_sync/orphan.py"] is None


@pytest.mark.parametrize(
    ("source", "blocking"),
    [
        ("async with AsyncThing() as thing:\n", "with Thing() as thing:\n"),
        ("return [item async for item in await aiter_of()]\n", "return [item for item in aiter_of()]\n"),
        ("import asyncio  # async only\n", ""),
        ("    # sync only: go()\n", "    go()\n"),
        ("from flowd_client._async.net import x\n", "from flowd_client._sync.net import x\n"),
        ("async def __anext__(self): raise StopAsyncIteration\n", "def __next__(self): raise StopIteration\n"),
    ],
)
def test_the_translation_takes_away_what_is_asynchronous(generate: ModuleType, source: str, blocking: str) -> None:
    assert generate.translated(source) == blocking


def test_every_rule_of_the_translation_is_of_use(generate: ModuleType) -> None:
    sources = [path.read_text(encoding="utf-8") for path in (generate.PACKAGE / "_async").glob("*.py")]
    unused = [rule.pattern for rule, _ in generate.WORDS if not any(rule.search(source) for source in sources)]
    assert unused == []


def test_a_request_becomes_a_verb_with_its_parameters_and_its_docstring(generate: ModuleType) -> None:
    source = (
        'def get(run_id: str, *, n: int | None = None) -> Request[Page[RunView]]:\n    """One.\n\n    Two.\n    """\n'
    )
    verb = generate.verbs(f"def _hidden() -> Request[int]: ...\n{source}").removeprefix(generate.VERBS)
    assert verb == (
        "\n    async def get(self, run_id: str, *, n: int | None=None) -> Page[RunView]:\n"
        '        """One.\n\n        Two.\n        """\n'
        "        return await self._do(requests.get(run_id, n=n))\n"
    )
