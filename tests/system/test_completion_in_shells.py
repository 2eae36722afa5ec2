"""Completion in the shells themselves: bash and zsh on a terminal, with keys typed, and fish as it is asked."""

import contextlib
import os
import pty
import re
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from daemon_rig import Workspace, say, workspace

PROMPT = "READY>"
BOUND_S = 60.0
NASTY = (
    "a$(touch OBEYED)",
    "b`touch OBEYED`",
    "c'$(touch OBEYED)'",
    'd"$(touch OBEYED)"',
    "e;touch OBEYED;f",
    "f\\$(touch OBEYED)",
    "g:$(touch OBEYED)=*",
    "h!touch ~ OBEYED!!",
    "i<(touch OBEYED) {j,k}",
    "j\u202eé",
    "k\u2028$(touch OBEYED)",
    "l\u009b$(touch OBEYED)",
)
"""Ids of events that say what a shell is to do. Those with characters that are not printed are not offered."""
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
TOLD = {
    "bash": f"PS1='{PROMPT} '; bind 'set bell-style none' 'set enable-bracketed-paste off'; source {{script}}",
    "zsh": f"PROMPT='{PROMPT} '; autoload -Uz compinit; compinit -u -d {{folder}}/dump; source {{script}}",
}


@pytest.fixture(scope="module")
def busy() -> Iterator[Workspace]:
    """A flow, an event whose id has colons, and files."""
    with workspace() as place:
        place.flow("nightly", say("changed"), step='[steps.labels]\nrepo = "/payload/repo"\n')
        (place.path / "events").mkdir()
        (place.path / "events" / "one.json").write_text("{}")
        (place.path / "events" / "other.txt").write_text("")
        binaries = place.path / "bin"
        binaries.mkdir()
        (binaries / "flowd").write_text(f'#!/bin/sh\nexec {sys.executable} -m flowd "$@"\n')
        (binaries / "flowd").chmod(0o755)
        place.start()
        event = {"id": "release:v1.1", "type": "nightly.go", "payload": {"repo": "tools"}}
        place.call("flow.dispatch", event=event, wait=True)
        for id_ in NASTY:
            place.call("flow.dispatch", event={"id": id_, "type": "nasty"})
        yield place


def environment(name: str, place: Workspace) -> dict[str, str]:
    """Of a shell that finds flowd, and whose home has the file ``completion``."""
    folder = place.path / f"home-{name}"
    folder.mkdir(exist_ok=True)
    argv = [sys.executable, "-m", "flowd", "completion", "show", name]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    (folder / "completion").write_text(done.stdout)
    path = f"{place.path}/bin:{os.environ['PATH']}"
    return {"HOME": str(folder), "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", "HISTFILE": ""}


class Shell:
    """An interactive shell on a terminal of its own, that has been told of flowd."""

    def __init__(self, name: str, place: Workspace) -> None:
        environ = environment(name, place)
        self.leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            START[name], stdin=follower, stdout=follower, stderr=follower, env=environ, cwd=place.path,
            start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        self.type(TOLD[name].format(script="~/completion", folder=environ["HOME"]) + "\n")
        self.type("echo be''gun\n")
        self.wait_for("begun")

    def type(self, keys: str) -> None:
        os.write(self.leader, keys.encode())

    def wait_for(self, text: str) -> str:
        """Everything up to this text, less what only a terminal sees."""
        said, give_up_s = "", time.monotonic() + BOUND_S
        while text not in said:
            assert time.monotonic() < give_up_s, (text, said)
            if select.select([self.leader], [], [], 1)[0]:
                said += os.read(self.leader, 65536).decode("utf-8", "replace")
                said = re.sub(r"\x1b[\[\]()][0-9;?]*[ -/]*[@-~]|\r|\x07", "", said)
        return said

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.leader)


def lines(place: Workspace) -> list[tuple[str, str]]:
    """What is typed, and what it is once it is completed."""
    (run,) = place.call("flow.listRuns")["runs"]
    return [
        ("flowd disp", "flowd dispatch"),
        ("flowd event release:v", "flowd event release:v1.1"),
        ("flowd event rel", "flowd event release:v1.1"),
        (f"flowd run {run['id'][:9]}", f"flowd run {run['id']}"),
        ("flowd runs --flow ni", "flowd runs --flow nightly"),
        ("flowd runs --flow=ni", "flowd runs --flow=nightly"),
        ("flowd runs --status needs", "flowd runs --status needs_intervention"),
        ("flowd runs --label repo=t", "flowd runs --label repo=tools"),
        ("flowd events --type nigh", "flowd events --type nightly.go"),
        ("flowd dispatch events/o", "flowd dispatch events/one.json"),
        ("flowd exec nightly ma", "flowd exec nightly main"),
    ]


@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_a_shell_completes_on_a_terminal(busy: Workspace, name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed, so its completion was not tried")
    with contextlib.closing(Shell(name, busy)) as shell:
        for typed, completed in lines(busy):
            # Keys are taken one after the other: what the line is once the shell has completed it, it prints.
            shell.type(f"{typed}\t\x01echo '>'; echo '<' \n")
            shell.wait_for(f"\n< {completed}")


@pytest.mark.parametrize("quote", ["", "'", '"'])
@pytest.mark.parametrize("name", ["bash", "zsh"])
def test_no_completed_word_is_obeyed(busy: Workspace, name: str, quote: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed, so its completion was not tried")
    with contextlib.closing(Shell(name, busy)) as shell:
        for id_ in NASTY:
            # A word that is completed has its quote closed; behind one that is not there is one to close.
            closing = "" if id_.isprintable() else quote
            shell.type(f"flowd event {quote}{id_[0]}\t{closing}\x01printf '\\n<%s>' \n")
            shell.wait_for(f"\n<{id_}>" if id_.isprintable() else f"\n<{id_[0]}>")
    assert not (busy.path / "OBEYED").exists()


@pytest.mark.parametrize("typed", ["e\\;", "g:\\$", "g:\\$\\(touch\\ OBEYED\\)="])
def test_a_word_is_completed_behind_what_was_completed(busy: Workspace, typed: str) -> None:
    (id_,) = [one for one in NASTY if one[0] == typed[0]]
    with contextlib.closing(Shell("bash", busy)) as shell:
        shell.type(f"flowd event {typed}\t\x01printf '\\n<%s>' \n")
        shell.wait_for(f"\n<{id_}>")


def test_fish_offers_what_completes_a_line(busy: Workspace) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed, so its completion was not tried")
    asked = "; ".join(f"complete -C {shlex.quote(typed)}" for typed, _ in lines(busy))
    argv = ["fish", "--no-config", "-c", f"source ~/completion; {asked}"]
    environ = environment("fish", busy)
    done = subprocess.run(argv, capture_output=True, text=True, env=environ, cwd=busy.path, check=True, timeout=120)
    offered = [line.split("\t")[0] for line in done.stdout.splitlines()]
    offered.remove("events/other.txt")  # fish has other files behind those that are meant
    assert offered == [completed.split()[-1] for _, completed in lines(busy)]


def test_files_are_offered_to_a_script_from_before_an_update(busy: Workspace) -> None:
    environ = {**os.environ, "_FLOWD_COMPLETE": "bash_complete", "COMP_WORDS": "flowd dispatch ev", "COMP_CWORD": "2"}
    done = subprocess.run([sys.executable, "-m", "flowd"], capture_output=True, text=True, env=environ, timeout=60)
    assert done.stdout == "file,ev\n"
