"""``flowd demo``: takes an event through flowd with real commands, and checks each step on the way."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

import click

from flowd.cli import printing
from flowd.cli.demo_stage import TAG, DemoError, Stage
from flowd.observe.processes import find_process
from flowd_client import FlowClientError, RunView

EVENT: Final = "patch:upstream.release:openai/codex:rust-v1.2.3"
EVENT_FILE: Final = "events/upstream-release.json"
RELEASE_FILE: Final = "events/release.json"
NOTES: Final = "RELEASE_NOTES-rust-v1.2.3.md"

_READING_S: Final = 0.8
"""Between scenes, when a person watches."""


def run(keep: bool = False, fast: bool = False) -> int:
    """Play the demo in a scratch folder.

    Every scene checks what it shows. Whatever happens, Ctrl-C too, no process stays behind.

    Args:
        keep: Leave the folder for a look around.
        fast: Do not pause between scenes; a stdout that is no terminal never pauses.

    Returns:
        0 when everything was as it should be, 1 otherwise.
    """
    folder = Path(tempfile.mkdtemp(prefix="flowd-demo-")).resolve()
    stage = Stage(folder)
    started = time.monotonic()
    try:
        _Demo(stage, pause_s=0.0 if fast or not printing.is_terminal() else _READING_S).play()
    except (DemoError, FlowClientError, OSError, subprocess.TimeoutExpired) as error:
        printing.line(f"\nFAILED: {error}")
        _show_log(stage)
        return 1
    finally:
        stage.clear()
        if keep:
            printing.line(f"\nKept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    printing.line(f"\nEverything was as it should be, in {time.monotonic() - started:.1f} s.")
    return 0


def _show_log(stage: Stage) -> None:
    if stage.log.is_file():
        printing.line("The end of the daemon's log:")
        for text in stage.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]:
            printing.line(f"  {text}")


class _Demo:
    """The scenes, in order. Each relies on those before it."""

    def __init__(self, stage: Stage, *, pause_s: float) -> None:
        self.stage = stage
        self.pause_s = pause_s
        self.left_out: set[str] = set()

    def play(self) -> None:
        """All of it.

        Raises:
            DemoError: A check failed.
        """
        self.set_up()
        # Only now: where a daemon listens is certain once it does.
        with self.stage.client() as self.client:
            self.know_the_packages()
            self.dispatch()
            self.look_at_a_run()
            self.send_it_again()
            self.replay()
            if "release" not in self.left_out:
                self.release()
            self.survive_a_crash_and_cancel()
            self.edit_a_package()
            self.stop()

    # --- scenes ---

    def set_up(self) -> None:
        """A workspace and a daemon."""
        self._scene("A workspace with flow packages, and a daemon for it")
        for program, package in (("bun", "changelog-card"), ("git", "release-notes"), ("git", "release")):
            if shutil.which(program, path=self.stage.environ.get("PATH")) is None:
                self.left_out.add(package)
                self._shout(f"{program} is not on PATH: the package {package} is LEFT OUT of this demo.")
        self.stage.prepare(left_out=self.left_out)
        printing.line(f"\n$ cd {self.stage.workspace}\n$ flowd serve &")
        took_s = self.stage.start()
        printing.line(f"ready after {took_s * 1000:.0f} ms, process {self.stage.pid}")

    def know_the_packages(self) -> None:
        """What the daemon found."""
        self.stage.flowd("flows")
        expected = {"announce", "changelog-card", "release", "release-notes", "slow-build"} - self.left_out
        found = {flow.name for flow in self.client.list_flows().flows}
        self._check(found == expected, f"the daemon knows the packages {', '.join(sorted(expected))}")

    def dispatch(self) -> None:
        """An event starts every step that waits for it."""
        self._scene("An event comes in: upstream published a release")
        printing.line(f"\n$ cat {EVENT_FILE}")
        printing.line((self.stage.workspace / EVENT_FILE).read_text(encoding="utf-8").rstrip())
        self.stage.flowd("dispatch", EVENT_FILE, "--wait")
        said = self._said(EVENT)
        expected = {"announce": "completed", "changelog-card": "changed", "release-notes": "changed"}
        for package in self.left_out:
            expected.pop(package, None)
        self._check(said == expected, f"{len(expected)} steps ran, in {len(expected)} processes of their own")
        self.stage.flowd("events")
        self.stage.flowd("runs")

    def look_at_a_run(self) -> None:
        """What flowd remembers of a run, and what the step made."""
        self._scene("What one of them said, and what it made")
        package = "announce" if "release-notes" in self.left_out else "release-notes"
        shown = self.stage.flowd("run", "--full", self._run_of(EVENT, package).id)
        self._check("exit     0" in shown and "FLOW_RESULT" in shown, "the exit code and the output are kept")
        if package == "release-notes":
            notes = (self.stage.workspace / NOTES).read_text(encoding="utf-8")
            printing.line(f"\n$ cat {NOTES}\n{notes.rstrip()}")
            self._check(
                notes.count("\n- ") == 3 and "resume a session" in notes and "chore" not in notes,
                "the notes have the three commits that matter",
            )

    def send_it_again(self) -> None:
        """An event's id is its idempotency key."""
        self._scene("The sender is not sure and sends it again")
        before = self._count()
        shown = self.stage.flowd("dispatch", EVENT_FILE)
        self._check("duplicate" in shown and self._count() == before, "nothing ran twice")

    def replay(self) -> None:
        """New runs for a stored event, when somebody wants them."""
        self._scene("A replay makes new runs of a stored event")
        before = self._count()
        self.stage.flowd("replay", EVENT, "--wait")
        runs = self.client.list_runs(event_id=EVENT)
        replays = [run for run in runs if run.replay_of]
        self._check(len(replays) == before == len(runs) - before, "the new runs name those that they replay")
        notes = [run.effective_status for run in replays if run.flow_name == "release-notes"]
        self._check(notes in (["skipped"], []), "the notes were up to date, so their step skipped")

    def release(self) -> None:
        """Steps in order, with a person among them."""
        self._scene("A release: check out, test and build side by side, ask a person, publish")
        self.stage.flowd("flows", "release")
        self.stage.flowd("dispatch", RELEASE_FILE)
        event_id = f"release:{TAG}"
        self.stage.wait_for(
            lambda: self._run_of(event_id, "release", "ask").needs_attention, "the release does not ask"
        )
        self.stage.flowd("attention")
        self._check(TAG not in self._published(), "nothing is published before somebody has said so")
        self.stage.flowd("approve", self._run_of(event_id, "release", "ask").id)
        publish = self.client.wait_run(self._run_of(event_id, "release", "publish").id, timeout_ms=10_000)
        self._check(publish.effective_status == "changed" and TAG in self._published(), f"{TAG} is published")
        self.stage.flowd("runs", "--event", event_id)

    def _published(self) -> str:
        argv = ["git", "-C", str(self.stage.published), "tag"]
        return subprocess.run(argv, env=self.stage.environ, capture_output=True, text=True, check=True).stdout

    def survive_a_crash_and_cancel(self) -> None:
        """A step outlives the daemon, and does not outlive a cancel."""
        self._scene("A long step, and the daemon is killed under it")
        self.stage.flowd("dispatch", "events/slow-build.json")
        run_id = self._run_of("demo-slow-1", "slow-build").id
        self._wait_for_output(run_id, "building: 0")
        pid = self._pid(run_id)
        printing.line(f"\n$ kill -9 {self.stage.pid}")
        self.stage.kill()
        self._check(find_process(pid) is not None, f"the daemon is gone, the step's process {pid} goes on")
        printing.line("\n$ flowd serve &")
        self.stage.start()
        self._wait_for_output(run_id, "building: 1")
        self.stage.flowd("logs", run_id)
        run = self.client.get_run(run_id)
        self._check(
            run.process_status == "running" and run.attempt_count == 1 and find_process(pid) is not None,
            "the new daemon took the same process over: still the first attempt, nothing lost",
        )
        self._scene("The run is not wanted any more")
        self.stage.flowd("cancel", run_id)
        ended = self.client.wait_run(run_id, timeout_ms=10_000)
        self._check(ended.process_status == "canceled", "the run is canceled")
        self._check(find_process(pid) is None, "its process is gone")

    def edit_a_package(self) -> None:
        """The catalog follows the disk."""
        self._scene("A package is edited while the daemon runs")
        package = self.stage.workspace / "flows" / "announce"
        _edit(package / "exec" / "announce.sh", "$repo released", "$repo has released")
        _edit(package / "flow.toml", "version = 1", "version = 2")
        self.stage.wait_for(
            lambda: any(flow.name == "announce" and flow.version == 2 for flow in self.client.list_flows().flows),
            "the daemon did not notice the new version",
        )
        self.stage.flowd("flows")
        self.stage.flowd("dispatch", EVENT_FILE, "--id", "demo-release-2", "--wait")
        run = self._run_of("demo-release-2", "announce")
        message = (run.result_payload or {}).get("message")
        self._check(
            run.flow_version == 2 and message == "openai/codex has released rust-v1.2.3.",
            "the new event ran version 2; runs from before keep saying version 1",
        )
        self._check(self._run_of(EVENT, "announce").flow_version == 1, "and so they do")

    def stop(self) -> None:
        """A clean end."""
        self._scene("The end")
        self.stage.flowd("status")
        printing.line(f"\n$ kill {self.stage.pid}")
        code = self.stage.stop()
        self._check(code == 0, "the daemon ended with exit code 0")
        # The keeper goes once the daemon has let go of it.
        self.stage.wait_for(lambda: not self.stage.leftovers(), f"left behind: {self.stage.leftovers()}; not gone")
        self._check(not self.stage.leftovers(), "no process is left, which was looked for in the process table")
        for package in sorted(self.left_out):
            self._shout(f"Remember: {package} was LEFT OUT.")

    # --- what the scenes share ---

    def _scene(self, title: str) -> None:
        time.sleep(self.pause_s)
        click.echo(click.style(f"\n━━ {title} ".ljust(100, "━"), bold=True), color=printing.has_colours())

    def _shout(self, text: str) -> None:
        click.echo(click.style(f"\n!! {text}", fg="yellow", bold=True), color=printing.has_colours())

    def _check(self, holds: bool, sentence: str) -> None:
        if not holds:
            raise DemoError(f"not so: {sentence}")
        click.echo(click.style(f"✓ {sentence}", fg="green"), color=printing.has_colours())
        sys.stdout.flush()

    def _run_of(self, event_id: str, package: str, step: str | None = None) -> RunView:
        """The package's first run for an event, of this step or of any."""
        for run in self.client.list_runs(event_id=event_id):
            if run.flow_name == package and step in (None, run.step_name) and not run.replay_of:
                return run
        raise DemoError(f"the event {event_id} has no run of {package}")

    def _said(self, event_id: str) -> dict[str | None, str]:
        return {run.flow_name: run.effective_status for run in self.client.list_runs(event_id=event_id)}

    def _count(self) -> int:
        return len(self.client.list_runs(event_id=EVENT))

    def _pid(self, run_id: str) -> int:
        pids: list[int] = []

        def is_known() -> bool:  # a step can print before the daemon is told that it has started
            pids[:] = [each.pid for each in self.client.get_run(run_id).attempts if each.pid is not None]
            return bool(pids)

        self.stage.wait_for(is_known, f"the run {run_id} has no process")
        return pids[-1]

    def _wait_for_output(self, run_id: str, text: str) -> None:
        self.stage.wait_for(
            lambda: any(text in entry.text for entry in self.client.get_run(run_id).output),
            f"the run {run_id} did not print {json.dumps(text)}",
        )


def _edit(path: Path, old: str, new: str) -> None:
    printing.line(f'\nin {path.parent.name}/{path.name}, "{old}" becomes "{new}"')
    text = path.read_text(encoding="utf-8")
    if old not in text:
        raise DemoError(f"{path} does not contain {old!r}")
    path.write_text(text.replace(old, new), encoding="utf-8")
