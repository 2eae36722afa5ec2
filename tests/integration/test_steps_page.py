"""The page about steps: its package does what the page says of it."""

import json
import re
from pathlib import Path

from flowd import embedded
from flowd.domain import progress, result

PAGE = (Path(__file__).parents[2] / "docs" / "steps.md").read_text(encoding="utf-8")
EVENT = {"id": "v2.0", "type": "release.tagged", "payload": {"tag": "v2.0", "commits": ["4f1c2aa", "9d07e55"]}}


def test_the_package_of_the_page_works(tmp_path: Path) -> None:
    for name, text in re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    wrote, checked = embedded.fire(tmp_path, EVENT)
    assert wrote.result == {
        "status": "changed",
        "message": "2 commits",
        "path": "NOTES.md",
        "style": "short",
        "next": [{"type": "notes.written", "payload": {"tag": "v2.0"}}],
    }
    assert checked.result == {"status": "completed", "message": "attempt 1 found what write has changed"}


def test_what_the_page_shows_a_step_to_read_and_to_say_is_that() -> None:
    (context,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    assert json.loads(context)["flow"]["needs"]["write"]["result"]["path"] == "NOTES.md"
    lines = [text.encode() for text in re.findall(r"```text\n(FLOW_.*?\n)```", PAGE, re.DOTALL)]
    said = [result.find(lambda at, count, line=line: line[at : at + count], len(line)) for line in lines]  # type: ignore[misc]
    assert [isinstance(found, result.FlowResult) for found in said] == [True, False]
    assert progress.last(lines[1]) == progress.Progress(40, "layer 3 of 7")
