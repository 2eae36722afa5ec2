"""A daemon whose settings are wrong does not start, and says everything that is."""

import subprocess
import sys

from daemon_rig import Workspace


def test_all_mistakes_are_told_a_line_each_and_the_exit_code_is_that_of_a_wrong_configuration(place: Workspace) -> None:
    file = place.path / ".codex/flowd.toml"
    file.parent.mkdir(exist_ok=True)
    file.write_text('max_paralel = 3\non_stop = "nevr"\n[http]\nlisten = "here:99999"\n')
    done = subprocess.run(
        [sys.executable, "-m", "flowd", "serve", "-w", place.path], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 78
    assert [line.split(": ")[1].removeprefix(f"{file}:") for line in done.stderr.splitlines()] == [
        "1:1",
        "2:11",
        "4:10",
    ]
