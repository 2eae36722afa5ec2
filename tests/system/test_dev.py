"""``flowd dev``: each save runs what it concerns, right here, with an event that fits."""

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command_rig import Command, command
from daemon_rig import Workspace, about_the_file, flowd, say, until, workspace


@pytest.fixture
def place() -> Iterator[Workspace]:
    with workspace() as it:
        yield it


def flow(place: Workspace, name: str = "work", **scripts: str) -> Path:
    """A package whose steps need each other in their order, with an example event."""
    folder = place.path / "flows" / name
    folder.mkdir(parents=True)
    text = f'name = "{name}"\nversion = 1\n'
    for number, (step, script) in enumerate(scripts.items()):
        write(folder / f"{step}.sh", script)
        needs = f'needs = ["{list(scripts)[number - 1]}"]\n' if number else ""
        text += f'[[steps]]\nname = "{step}"\nrunner = "exec"\nscript = "{step}.sh"\n{needs}'
        text += "" if number else f'[steps.trigger]\ntype = "{name}.go"\n'
    (folder / "flow.toml").write_text(text)
    (folder / "event.json").write_text(json.dumps({"id": "example", "type": f"{name}.go"}))
    return folder


def body(script: str) -> str:
    return f"#!/bin/sh\n{script}\n{say('completed')}\n"


def write(path: Path, script: str) -> None:
    path.write_text(body(script))
    path.chmod(0o755)


def renamed_over(path: Path, text: str) -> None:
    """As VS Code, Emacs, sed -i and most programs do it, the new one beside the old one first."""
    new = path.with_name(f".{path.name}.tmp")
    new.write_text(text)
    new.chmod(0o755)
    new.replace(path)


def moved_away(path: Path, text: str) -> None:
    """As Vim does it with its backups: the old one is renamed, the new one written in its place."""
    backup = path.with_name(f"{path.name}~")
    path.rename(backup)
    path.write_text(text)
    path.chmod(0o755)
    backup.unlink()


def written_into(path: Path, text: str) -> None:
    """As nano does it, and a redirection of the shell."""
    path.write_text(text)


def removed_first(path: Path, text: str) -> None:
    path.unlink()
    path.write_text(text)
    path.chmod(0o755)


@contextlib.contextmanager
def watching(place: Workspace, tmp_path: Path, *words: str) -> Iterator[Command]:
    with command(place, tmp_path, "dev", *words) as running:
        yield running
        running.process.terminate()
        assert running.process.wait(60) == 130


def ready(running: Command) -> None:
    until(lambda: any(line.startswith("Watching ") for line in running.out))


def test_a_save_runs_its_step_however_the_editor_saves(place: Workspace, tmp_path: Path) -> None:
    folder = flow(place, build="echo old")
    with watching(place, tmp_path) as running:
        ready(running)
        for save in (renamed_over, moved_away, written_into, removed_first) * 2:
            ended = sum(line.startswith("work/build completed in ") for line in running.out)
            word = f"{save.__name__} {ended}"
            save(folder / "build.sh", body(f"echo {word}"))
            until(lambda word=word: word in running.out)
            until(lambda n=ended: sum(line.startswith("work/build completed in ") for line in running.out) > n)
    assert "old" not in running.out
    assert any("build.sh saved: work/build with event example (event.json)" in line for line in running.out)


def test_a_package_that_is_moved_away_is_told_of_and_runs_once_it_is_back(place: Workspace, tmp_path: Path) -> None:
    folder = flow(place, build="echo ran")
    with watching(place, tmp_path) as running:
        ready(running)
        folder.rename(tmp_path / "away")
        until(
            lambda: any(line.startswith("work is not there any more. Nothing is left to run") for line in running.out)
        )
        (tmp_path / "away").rename(folder)
        until(lambda: "ran" in running.out)


def test_a_save_beside_the_steps_runs_nothing(place: Workspace, tmp_path: Path) -> None:
    """Else a step that writes into its package would run for ever."""
    folder = flow(place, build="echo $$ >> written.txt; echo ran")
    with watching(place, tmp_path) as running:
        ready(running)
        (folder / "notes.txt").write_text("x")
        renamed_over(folder / "build.sh", body("echo $$ >> written.txt; echo 'once only'"))
        until(lambda: any(line.startswith("work/build completed") for line in running.out))
        renamed_over(folder / "build.sh", body("echo 'and again'"))
        until(lambda: "and again" in running.out)
    assert running.out.count("once only") == 1
    assert "ran" not in running.out


def test_a_source_that_a_step_writes_does_not_run_it_again(place: Workspace, tmp_path: Path) -> None:
    folder = flow(place, dump="echo old", load="echo loading")
    with watching(place, tmp_path) as running:
        ready(running)
        renamed_over(
            folder / "dump.sh", body("echo 'insert' > dump.sql; sleep 0.3; echo 'more' >> dump.sql; echo dumped")
        )
        until(lambda: any(line.startswith("dump.sql saved while steps run") for line in running.out))
        until(lambda: any(line.startswith("work/dump completed") for line in running.out))
        renamed_over(folder / "dump.sh", body("echo 'insert' > dump.sql; echo 'and again'"))
        until(lambda: any("and again" in line for line in running.out))
        until(lambda: sum(line.startswith("work/dump completed") for line in running.out) == 2)
        renamed_over(folder / "load.sh", body("echo 'loaded anew'"))
        until(lambda: any("loaded anew" in line for line in running.out))
    assert sum(line == "dumped" or line.endswith("| dumped") for line in running.out) == 1
    assert not any(line.split(" ", 1)[-1].startswith("dump.sql saved: ") for line in running.out)


def test_a_source_that_steps_share_runs_them_all_and_a_manifest_those_it_changes(
    place: Workspace, tmp_path: Path
) -> None:
    folder = flow(place, build="echo building", test="echo testing")
    with watching(place, tmp_path) as running:
        ready(running)
        (folder / "shared.py").write_text("x = 1\n")
        until(lambda: any(line.startswith("work/test completed") for line in running.out))
        assert any("shared.py saved: work/build, test with event" in line for line in running.out)
        manifest = (folder / "flow.toml").read_text()
        renamed_over(folder / "flow.toml", manifest.replace('"test.sh"\n', '"test.sh"\ntimeout_ms = 9000\n'))
        until(lambda: any("flow.toml saved: work/test with event" in line for line in running.out))


def test_the_events_of_the_package_are_tried_until_one_fits_and_a_saved_one_is_taken(
    place: Workspace, tmp_path: Path
) -> None:
    folder = flow(place, build="cat | tr -d ' \\n'; echo")
    (folder / "event.json").write_text('{"type": "other.go"}')
    (folder / "events").mkdir()
    (folder / "events/fits.json").write_text('{"type": "work.go", "payload": {"n": 1}}')
    with watching(place, tmp_path) as running:
        ready(running)
        renamed_over(folder / "build.sh", body("cat | tr -d ' \\n'; echo; echo saved"))
        until(lambda: "saved" in running.out)
        assert any("with event example (events/fits.json)" in line for line in running.out)
        assert any('"payload":{"n":1}' in line for line in running.out)
        renamed_over(folder / "events/fits.json", '{"type": "work.go", "payload": {"n": 2}}')
        until(lambda: any('"payload":{"n":2}' in line for line in running.out))


def test_without_an_event_that_fits_it_says_why(place: Workspace, tmp_path: Path) -> None:
    folder = flow(place, build="echo ran")
    (folder / "event.json").unlink()
    with watching(place, tmp_path) as running:
        ready(running)
        renamed_over(folder / "build.sh", body("echo ran"))
        until(lambda: any(line.startswith("There is no event to try work with") for line in running.out))
        (folder / "event.json").write_text('{"type": "other.go"}')
        until(lambda: any("starts none of these: build: its trigger waits for work.go" in s for s in running.out))
        (folder / "event.json").write_text('{"type": "work.go"}')
        until(lambda: "ran" in running.out)


def test_the_daemons_newest_event_is_taken_with_the_results_of_its_round_and_the_daemon_hears_nothing(
    place: Workspace, tmp_path: Path
) -> None:
    sends = f"{sys.executable} -m flowd dispatch --id sent --type work.go"
    folder = flow(place, build="echo run >> built; echo building", test="echo testing")
    with (folder / "build.sh").open("a") as script:
        script.write(say("completed", version="1.2.3") + "\n")
    place.start()
    event = {"id": "real", "type": "work.go", "payload": {"n": 7}}
    place.call("flow.dispatch", event=event, wait=True, tree=True)
    with watching(place, tmp_path) as running:
        ready(running)
        renamed_over(folder / "test.sh", body(f'echo "$FLOWD_NEEDS"; {sends}'))
        until(lambda: any(line.startswith("work/test completed") for line in running.out))
    told = "\n".join(running.out)
    assert "test.sh saved: work/test with event real (the daemon), with the known results of build" in told
    assert '"version":"1.2.3"' in told
    assert "building" not in running.out
    assert (folder / "built").read_text() == "run\n", "the daemon's run alone"
    assert 'work/test sent work.go "sent". It stays here: no daemon gets it.' in running.out
    assert [one["id"] for one in place.call("flow.listEvents")["events"]] == ["real"]
    assert len(place.call("flow.listRuns")["runs"]) == 2


@about_the_file
def test_what_a_stopped_daemon_has_left_is_taken_and_left_as_it_is(place: Workspace) -> None:
    folder = flow(place, build=f"echo run >> built; {say('completed', version='1.2.3')}; exit", test="echo testing")
    place.start()
    place.call("flow.dispatch", event={"id": "real", "type": "work.go"}, wait=True, tree=True)
    for end in (place.stop, place.kill):
        end()
        before = sorted(path.name for path in (place.path / ".codex/flowd").glob("flowd.db*"))
        write(folder / "test.sh", 'echo "$FLOWD_NEEDS"')
        done = flowd(place, "dev", "work/test", "--once")
        assert "work/test with event real (the stopped daemon), with the known results of build" in done.stdout
        assert '"version":"1.2.3"' in done.stdout
        assert sorted(path.name for path in (place.path / ".codex/flowd").glob("flowd.db*")) == before
        assert (folder / "built").read_text() == "run\n"
        place.start()


def test_what_a_step_needs_runs_first_and_once_until_it_is_changed(place: Workspace, tmp_path: Path) -> None:
    folder = flow(place, build="echo run >> built", test="echo testing")
    with watching(place, tmp_path) as running:
        ready(running)
        for number in range(3):
            renamed_over(folder / "test.sh", body(f"echo tested {number}"))
            until(lambda number=number: any(line.endswith(f"tested {number}") for line in running.out))
        assert (folder / "built").read_text() == "run\n"
        renamed_over(folder / "event.json", '{"id": "example", "type": "work.go", "payload": {"other": true}}')
        until(
            lambda: (folder / "built").read_text() == "run\nrun\n", what="a run for the event that is another one now"
        )
        until(lambda: running.out[-1].startswith("work/test completed"))
        ends = len([line for line in running.out if line.startswith("work/build completed")])
        renamed_over(folder / "build.sh", body("echo run >> built; echo built anew"))
        until(lambda: len([line for line in running.out if line.startswith("work/build completed")]) > ends)
        renamed_over(folder / "test.sh", body("echo tested after"))
        until(lambda: any(line.endswith("tested after") for line in running.out))
    assert (folder / "built").read_text() == "run\nrun\nrun\n"


def test_a_save_ends_what_runs_and_begins_anew(place: Workspace, tmp_path: Path) -> None:
    folder = flow(place, build="true")
    with watching(place, tmp_path) as running:
        ready(running)
        renamed_over(folder / "build.sh", body("echo waiting; exec sleep 600"))
        until(lambda: "waiting" in running.out)
        renamed_over(folder / "build.sh", body("echo quick"))
        until(lambda: "quick" in running.out)
        until(lambda: any(line.startswith("work/build completed") for line in running.out))
    assert any(line.startswith("work/build canceled in ") for line in running.out)
    ended = next(number for number, line in enumerate(running.out) if line.startswith("work/build canceled"))
    assert running.out.index("quick") > ended


def test_a_save_after_a_round_that_ended_with_a_question_cancels_nothing(place: Workspace, tmp_path: Path) -> None:
    asks = say("needs_intervention", message="go on?") + "; exit"
    folder = flow(place, ask=asks, then="true")
    with watching(place, tmp_path) as running:
        ready(running)
        for word in ("first", "second"):
            renamed_over(folder / "ask.sh", body(f"echo {word}; {asks}"))
            until(lambda word=word: any(word in line for line in running.out))
            until(lambda: running.out[-1] == "ask asks for a person, whom nobody can ask here: --approve ask goes on.")
    assert not [line for line in running.out if "cancel" in line]


def test_a_broken_package_is_told_and_runs_again_when_it_is_mended(place: Workspace, tmp_path: Path) -> None:
    folder = flow(place, build="echo ran")
    manifest = (folder / "flow.toml").read_text()
    with watching(place, tmp_path) as running:
        ready(running)
        renamed_over(folder / "flow.toml", manifest.replace("version", "versoin"))
        until(lambda: "Nothing runs until that is mended." in running.out)
        assert any("flow.toml:" in line and " error: " in line for line in running.out)
        assert "ran" not in running.out
        renamed_over(folder / "flow.toml", manifest)
        until(lambda: "ran" in running.out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_its_end_leaves_no_process_and_no_folder(place: Workspace, tmp_path: Path, number: int) -> None:
    folder = flow(place, build="true")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    argv = [sys.executable, "-m", "flowd", "dev", "-w", str(place.path)]
    out = tmp_path / "out"
    with out.open("wb") as writing:
        process = subprocess.Popen(
            argv, stdout=writing, stderr=writing, stdin=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(temporary)}
        )
    until(lambda: "Watching" in out.read_text())
    renamed_over(
        folder / "build.sh",
        body(f"trap 'echo cleaned; exit 1' TERM; echo {place.path}/on; while :; do sleep 0.05; done"),
    )
    until(lambda: f"{place.path}/on" in out.read_text())
    process.send_signal(number)
    assert process.wait(60) == 130
    assert "cleaned" in out.read_text()
    until(lambda: not place.processes(str(place.path)))
    # Where its paths are too long for sockets, these are in the user's folder for them, which is every daemon's.
    assert [path for path in temporary.rglob("*") if path != temporary / f"flowd-{os.geteuid()}"] == []


def test_exec_says_that_a_step_runs_without_what_it_needs(place: Workspace) -> None:
    folder = flow(place, build="echo building", publish="echo publishing")
    alone = flowd(place, "exec", "work", "publish", str(folder / "event.json"))
    assert alone.returncode == 0
    assert "building" not in alone.stderr
    assert alone.stderr.startswith(
        "flowd: step runs alone: work/publish needs build, and runs here without. "
        "`flowd dev work/publish --once` runs what it needs first\n"
    )
    first = flowd(place, "exec", "work", "build", str(folder / "event.json"))
    assert "alone" not in first.stderr


def test_once_runs_now_and_tells_scripts_how_it_ended(place: Workspace) -> None:
    folder = flow(place, build="echo building", test="echo testing")
    done = flowd(place, "dev", "work", "--once")
    assert done.returncode == 0, done.stderr
    assert "work/test completed in " in done.stdout
    write(folder / "test.sh", "exit 3")
    done = flowd(place, "dev", "work/test", "--once")
    assert (done.returncode, "work/test failed in " in done.stdout) == (1, True), done.stdout
    (place.path / "mine.json").write_text('{"id": "mine", "type": "work.go"}')
    done = flowd(place, "dev", "work/build", "--once", "--event", str(place.path / "mine.json"))
    assert "work/build with event mine (" in done.stdout
    assert flowd(place, "dev", "work/nothing", "--once").returncode == 4


def test_what_waits_for_a_person_is_tried_once_that_is_approved(place: Workspace) -> None:
    flow(place, ask=say("needs_intervention", message="go on?") + "; exit", then="echo behind it")
    done = flowd(place, "dev", "work", "--once")
    assert (done.returncode, "--approve ask goes on" in done.stdout, "behind it" in done.stdout) == (1, True, False)
    done = flowd(place, "dev", "work", "--once", "--approve", "ask")
    assert (done.returncode, "behind it" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.parametrize("verb", [("fire", "{0}/event.json"), ("dev", "work", "--once")])
def test_what_is_no_step_cannot_be_approved(place: Workspace, verb: tuple[str, ...]) -> None:
    folder = flow(place, ask=say("needs_intervention", message="go on?") + "; exit", then=f"touch {place.path}/ran")
    for name in ("aks", "work/ask"):
        done = flowd(place, *(word.format(folder) for word in verb), "--approve", name)
        said = f"flowd: No step to approve is called '{name}'. Did you mean 'ask'? The steps are: ask, then.\n"
        assert (done.returncode, done.stdout, done.stderr) == (4, "", said)
    assert not (place.path / "ran").exists()


def test_programs_get_a_line_of_json_for_each_run_and_for_what_is_wrong(place: Workspace) -> None:
    folder = flow(place, build=say("changed", n=1) + "; exit")
    with (folder / "flow.toml").open("a") as manifest:
        manifest.write("\n[config]\n[surplus]\n")
    done = flowd(place, "dev", "--once", "--json")
    found, ended = (json.loads(line) for line in done.stdout.splitlines())
    assert [one["severity"] for one in found["findings"]] == ["warning"]
    result = {"flow": "work", "step": "build", "result": {"status": "changed", "n": 1}}
    assert ended == {"eventId": "example", "results": [result]}
    assert "work/build changed in " in done.stderr


def test_a_shell_completes_flows_and_steps_without_a_daemon(place: Workspace) -> None:
    flow(place, "notes", build="true", test="true")
    flow(place, "news", build="true")
    (place.path / "flows/news/flow.toml").write_text("broken =")

    def completed(*words: str) -> list[str]:
        environ = {"_FLOWD_COMPLETE": "bash_complete", "COMP_CWORD": str(len(words))}
        environ |= {"COMP_WORDS": " ".join(("flowd", *words)), "FLOWD_WORKSPACE": str(place.path)}
        argv = [sys.executable, "-m", "flowd"]
        done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **environ}, timeout=60)
        return [line.partition(",")[2] for line in done.stdout.splitlines() if line]

    assert completed("dev", "n") == ["notes"]
    assert completed("dev", "notes/t") == ["notes/test"]
    assert completed("exec", "notes", "b") == ["build"]


class Terminal:
    """A ``flowd dev`` on a terminal of its own."""

    def __init__(self, place: Workspace, *words: str) -> None:
        self.master, slave = pty.openpty()
        self.slave = os.dup(slave)
        self.before = termios.tcgetattr(self.slave)
        self._said = b""
        argv = [sys.executable, "-m", "flowd", "dev", *words, "-w", str(place.path)]
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)
        os.set_blocking(self.master, False)

    def said(self) -> str:
        try:
            while data := os.read(self.master, 65536):
                self._said += data
        except OSError:
            pass
        return self._said.decode("utf-8", "replace")

    def press(self, key: str) -> None:
        os.write(self.master, key.encode())

    def shows(self, text: str, times: int = 1) -> None:
        until(lambda: self.said().count(text) >= times, what=f"{text!r} on the terminal")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal(place: Workspace) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def start(*words: str) -> Terminal:
        opened.append(Terminal(place, *words))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_keys_run_again_run_all_below_choose_the_event_and_quit(
    place: Workspace, terminal: Callable[..., Terminal]
) -> None:
    folder = flow(place, build="echo building", test="echo testing")
    (folder / "events").mkdir()
    (folder / "events/second.json").write_text('{"id": "second", "type": "work.go"}')
    on = terminal("work/build")
    on.shows("r run again")
    on.press("r")
    on.shows("work/build completed in ")
    on.press("a")
    on.shows("work/test completed in ")
    on.press("e")
    on.shows("Which one?")
    assert "2  work.go  second (events/second.json)" in on.said()
    on.press("2")
    on.shows("with event second (events/second.json)")
    on.shows("work/test completed in ", 2)
    on.press("q")
    assert on.process.wait(60) == 0
    assert termios.tcgetattr(on.slave) == on.before


def sharing(place: Workspace, **scripts: str) -> Path:
    """A package whose rounds have a folder."""
    folder = flow(place, **scripts)
    manifest = folder / "flow.toml"
    manifest.write_text(manifest.read_text().replace("version = 1\n", "version = 1\nround_dir = true\n"))
    return folder


def test_what_a_step_finds_in_its_rounds_folder_is_made_anew_for_each_trial(
    place: Workspace, terminal: Callable[..., Terminal]
) -> None:
    """What earlier steps had left is gone with their round, and what a step that failed had left is in nobody's way."""
    folder = sharing(
        place,
        checkout='mkdir "$FLOWD_ROUND_DIR/source"',
        build='cd "$FLOWD_ROUND_DIR/source" || exit 2',
    )
    on = terminal("work/build")
    on.shows("r run again")
    for times in (1, 2):
        on.press("r")
        on.shows("work/build completed in ", times)
    renamed_over(folder / "build.sh", body('cd "$FLOWD_ROUND_DIR/source" || exit 2; exit 7'))
    on.shows("exited with 7")
    on.press("r")
    on.shows("exited with 7", 2)
    on.press("a")
    on.shows("exited with 7", 3)
    assert "known results" not in on.said()
    assert "File exists" not in on.said()
    on.press("q")
    assert on.process.wait(60) == 0


def test_keys_in_quick_succession_begin_anew_each_time(place: Workspace, terminal: Callable[..., Terminal]) -> None:
    sharing(place, checkout="echo fetching", build="echo building")
    on = terminal("work/build")
    on.shows("r run again")
    for times in (1, 2, 3, 4):
        on.press("e")
        on.shows("Which one?", times)
        on.press("1\rrr")
    on.press("e")
    on.shows("Which one?", 5)
    on.press("1")
    on.shows("work/build completed in ")
    on.press("q")
    assert on.process.wait(60) == 0
    assert "Fault" not in on.said()


def test_ctrl_c_on_the_terminal_ends_the_step_and_leaves_the_terminal_as_it_was(
    place: Workspace, terminal: Callable[..., Terminal]
) -> None:
    flow(place, build=f"trap 'echo cleaned; exit 1' TERM; echo {place.path}/on; while :; do sleep 0.05; done")
    on = terminal()
    on.shows("r run again")
    on.press("r")
    on.shows(f"{place.path}/on")
    os.killpg(on.process.pid, signal.SIGINT)
    assert on.process.wait(60) == 130
    on.shows("cleaned")
    until(lambda: not place.processes(str(place.path)))
    assert termios.tcgetattr(on.slave) == on.before


def test_a_new_package_is_watched_too(place: Workspace, tmp_path: Path) -> None:
    flow(place, "first", build="echo one")
    made = Path(tempfile.mkdtemp(dir=tmp_path))
    with watching(place, tmp_path) as running:
        ready(running)
        folder = flow(place, "later", build="echo two")
        until(lambda: "two" in running.out)
        shutil.rmtree(folder)
        made.rmdir()
        renamed_over(place.path / "flows/first/build.sh", body("echo three"))
        until(lambda: "three" in running.out)
