"""The page about steps: its package does what the page says of it, and so do its tests."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from flowd.domain import progress, result

PAGE = (Path(__file__).parents[2] / "docs" / "steps.md").read_text(encoding="utf-8")
FILES = re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
RUNS = dict(re.findall(r"<!-- run: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL))


def test_the_package_of_the_page_passes_its_tests_side_by_side(tmp_path: Path) -> None:
    """Warnings are errors in them, so the engine leaves nothing open."""
    for name, text in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    command = RUNS["tests"].replace("python3", sys.executable).strip()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FLOWD_", "PYTEST_"))}
    done = subprocess.run(
        ["sh", "-c", f"{command} -n 2 -W error -p no:cacheprovider -p no:schemathesis --basetemp={tmp_path}/tests"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert "3 passed" in done.stdout, done.stdout + done.stderr
    assert list(tmp_path.glob("**/.codex")) == []


def test_what_the_page_shows_a_step_to_read_and_to_say_is_that() -> None:
    context = next(text for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if '"flow": {' in text)
    assert json.loads(context)["flow"]["needs"]["write"]["result"]["path"] == "NOTES.md"
    lines = [text.encode() for text in re.findall(r"```text\n(FLOW_.*?\n)```", PAGE, re.DOTALL)]
    said = [result.find(lambda at, count, line=line: line[at : at + count], len(line)) for line in lines]  # type: ignore[misc]
    assert [isinstance(found, result.FlowResult) for found in said] == [True, False]
    assert progress.last(lines[1]) == progress.Progress(40, "layer 3 of 7")
