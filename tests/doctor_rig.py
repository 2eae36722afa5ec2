"""`flowd doctor`, for tests that make it something to find."""

import json
import os
from pathlib import Path
from typing import Any

from command_copy import run_flowd

VARIABLES = ("FLOWD_SOCKET", "FLOWD_WORKSPACE", "FLOWD_STATE_DIR", "FLOWD_RUN_ID")


def doctor(workspace: Path, *options: str, code: int = 0, **environment: str) -> dict[str, Any]:
    """The answer of ``flowd doctor --json``, with the findings by check."""
    env = {name: value for name, value in os.environ.items() if name not in VARIABLES} | environment
    done = run_flowd("doctor", "--json", "-w", workspace, *options, env=env)
    assert done.returncode == code, (done.stdout, done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["healthy"] is (code == 0)
    answer["by_check"] = {finding["check"]: finding for finding in answer["findings"]}
    return answer
