"""That steps of the runner code-mode never run is told before they do."""

from pathlib import Path

import pytest

from flowd.api.shapes.catalog import explain_view
from flowd.catalog.scan import scan_once
from flowd.domain.event import normalise
from flowd.domain.hosts import Able
from flowd.domain.matching import explain

PACKAGE = """name = "x"
version = 1
[[steps]]
name = "agent"
runner = "code-mode"
script = "agent.md"
[steps.trigger]
type = "a"
[[steps]]
name = "other"
runner = "python"
script = "other.py"
"""
SENTENCE = 'code-mode" does not work with flowd: it needs a method of the agent that only a private fork has'


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "flows" / "x"
    folder.mkdir(parents=True)
    (folder / "flow.toml").write_text(PACKAGE)
    (folder / "agent.md").touch()
    (folder / "other.py").touch()
    return tmp_path


def test_validate_and_explain_tell_it_in_a_sentence(workspace: Path) -> None:
    snapshot = scan_once(workspace)
    (warning,) = snapshot.flows[0].warnings
    assert warning.startswith('line 5: step "agent": runner "')
    assert SENTENCE in warning
    event = normalise({"id": "e", "type": "a"}, now="2026-01-01T00:00:00.000Z")
    agent, other = explain_view(event, explain(snapshot, event), snapshot, lambda *_: Able([], 1)).steps
    assert (agent.reason, agent.matches) == ("matched", True)
    assert SENTENCE in (agent.warning or "")
    assert other.warning is None
