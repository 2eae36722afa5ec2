"""The executor ``systemd``: every attempt a unit of its own, with the system manager and with a user's."""

import contextlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from daemon_rig import say, until
from previous_rig import environment_of, previous_version
from systemd_rig import FLOWD, OTHER_UID, OTHER_USER, UID, USER, Box, Service

from flowd.domain.ids import unit_name
from flowd_client import FlowClientError


@dataclass
class Daemon:
    """A daemon that was started by hand, as root (system manager) or as the test user (its own manager)."""

    box: Box
    path: str
    user: str | None
    starts: int = 0

    def serve(self, **environment: str) -> None:
        start = f"exec {sys.executable} -m flowd serve -w {self.path} --executor systemd >> {self.path}/log 2>&1"
        script = f"({start}) & echo $! > {self.path}/pid"
        self.starts += 1
        self.box.run("sh", "-c", script, user=self.user, SECRET="t0psecret", **environment)
        until(self.is_ready, what="the daemon")

    def is_ready(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(FlowClientError):
            return bool(self.call("daemon.status")["state"] == "ready")
        return False

    def until_gone(self) -> None:
        pid = self.box.read(f"{self.path}/pid").strip()
        until(lambda: not self.box.at(f"/proc/{pid}").exists(), what="the daemon's end")

    def end(self, signal: str) -> None:
        self.box.run("kill", f"-{signal}", self.box.read(f"{self.path}/pid").strip())
        self.until_gone()

    def clean_up(self) -> None:
        """End and remove what a test has left, but for the daemon."""
        scope = "--user" if self.user is not None else "--system"
        script = (
            'cd "$1" && find . flows -mindepth 1 -maxdepth 1 ! -name .codex ! -name flows ! -name log ! -name pid'
            ' ! -name quick -exec rm -rf {} +; systemctl "$2" stop "codex-flow-*"; systemctl "$2" reset-failed'
        )
        self.box.run("sh", "-c", script, "sh", self.path, scope, user=self.user, check=False)

    def remove(self) -> None:
        self.box.run("sh", "-c", f"kill -KILL $(cat {self.path}/pid)", check=False)
        self.clean_up()
        self.box.run("rm", "-rf", self.path)

    def flow(self, name: str, script: str, *, step: str = "") -> None:
        self.box.flow(self.path, name, script, step=step, owner=self.user or "root")

    def flowd(self, *argv: str, check: bool = True) -> Any:
        done = self.box.run(str(FLOWD), *argv, "-w", self.path, user=self.user, check=check)
        return json.loads(done.stdout) if "--json" in argv and done.stdout else done.stdout + done.stderr

    def call(self, method: str, **params: Any) -> Any:
        """One call of the raw API."""
        with self.box.client(f"{self.path}/.codex/flowd/flowd.sock") as client:
            return client.call(method, params)

    def dispatch(self, kind: str) -> str:
        self.call("daemon.reload")  # a package that was written just now may not have been noticed yet
        answer = self.call("flow.dispatch", event={"id": str(uuid4()), "type": kind, "payload": {}})
        return str(answer["runs"][0]["id"])

    def finished(self, kind: str) -> dict[str, Any]:
        run: dict[str, Any] = self.call("flow.waitRun", runId=self.dispatch(kind), timeoutMs=20_000)["run"]
        return run

    def run(self, run_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("flow.getRun", runId=run_id)["run"]
        return found

    def controllers(self) -> set[str]:
        """What its manager can limit units with."""
        group = self.box.systemctl("show", "--value", "--property=ControlGroup", user=self.user)
        return set(self.box.read(f"/sys/fs/cgroup{group}/cgroup.controllers").split())

    def units(self) -> str:
        return self.box.systemctl("list-units", "--all", "--no-legend", "--plain", "codex-flow-*", user=self.user)


@pytest.fixture(scope="module")
def kept(box: Box) -> Iterator[dict[str, Daemon]]:
    """Daemons by their manager, for tests that only run steps: those that end one have one of their own."""
    daemons: dict[str, Daemon] = {}
    yield daemons
    for each in daemons.values():
        each.remove()


@pytest.fixture(params=["system", "user"])
def daemon(box: Box, kept: dict[str, Daemon], request: pytest.FixtureRequest) -> Iterator[Daemon]:
    kind = request.param
    if kind in kept and not kept[kind].is_ready():  # as after a test that restarts the user's manager
        kept.pop(kind).remove()
    it = kept.get(kind) or _started(box, kind)
    yield it
    print(box.read(f"{it.path}/log"))
    kept.pop(kind, None)
    if it.starts == 1 and it.is_ready():
        it.clean_up()
        kept[kind] = it
    else:
        it.remove()


def _started(box: Box, kind: str) -> Daemon:
    user = None if kind == "system" else USER
    path = f"/var/tmp/units-{kind}"
    if user is not None:
        let_linger(box)
    box.run("install", "-d", "-o", user or "root", path)
    started = Daemon(box, path, user)
    started.flow("quick", f"cat; env; echo $0 err >&2\n{say('changed')}")
    started.serve()
    return started


def let_linger(box: Box) -> None:
    """Have a user manager of the test user."""
    box.run("loginctl", "enable-linger", USER)
    until(box.at(f"/run/user/{UID}/bus").is_socket, what="the user's bus")


def test_a_step_is_a_unit_named_by_its_run_and_gone_when_it_is_recorded(box: Box, daemon: Daemon) -> None:
    go = f"{daemon.path}/go"
    daemon.flow("long", f"while ! test -e {go}; do sleep 0.05; done\n{say('completed')}", step="timeout_ms = 60000")
    run_id = daemon.dispatch("long.go")
    unit = f"{unit_name(run_id)}.service"
    until(lambda: box.show(unit, "ActiveState", user=daemon.user) == "active", what="the unit")
    assert box.show(unit, "Slice", user=daemon.user) == "flowd.slice"
    assert box.show(unit, "RuntimeMaxUSec", user=daemon.user) == "1min"
    # Nothing of the environment is in what everybody may read over D-Bus, and its file is gone once it was read.
    assert "t0psecret" not in box.systemctl("show", unit, user=daemon.user)
    assert box.run("find", f"{daemon.path}/.codex/flowd/keeper/units", "-name", "*.env").stdout == ""
    box.run("touch", go)
    run = until(lambda: (run := daemon.run(run_id))["processStatus"] == "completed" and run, what="the run's end")
    assert run["effectiveStatus"] == "completed"
    assert run["attempts"][0]["workerId"] == f"systemd-{'user' if daemon.user else 'system'}"
    until(lambda: daemon.units() == "", what="the unit's end")


def test_context_environment_and_output_are_as_without_systemd(daemon: Daemon) -> None:
    run = daemon.finished("quick.go")
    assert run["effectiveStatus"] == "changed"
    output = {entry["kind"]: entry["text"] for entry in run["output"]}
    assert '"flow"' in output["stdout"]
    assert f"FLOWD_RUN_ID={run['id']}" in output["stdout"]
    assert "SECRET=t0psecret" in output["stdout"]
    assert "main.sh err" in output["stderr"]


def test_values_of_the_environment_arrive_byte_for_byte(daemon: Daemon) -> None:
    value = "a \"b\" $HOME ${HOME} `id` \\d \\\\ 'e' %h #f\n\tg; é "
    daemon.flow(
        "quirk",
        f'printf %s "$QUIRK" | od -An -tx1 -v\n{say("changed")}',
        step=f"env = {{ QUIRK = {json.dumps(value)} }}",
    )
    daemon.flowd("reload")
    run = daemon.finished("quirk.go")
    printed = "".join(entry["text"] for entry in run["output"]).partition("FLOW_RESULT")[0]
    assert bytes.fromhex("".join(printed.split())).decode() == value


@pytest.mark.parametrize(
    ("script", "step", "status", "reason", "facts"),
    [
        ("exit 3", "", "failed", "exit", {"exitCode": 3}),
        ("kill -9 $$", "", "failed", "signal", {"signal": 9}),
        ("sleep 60", "timeout_ms = 500\ngrace_ms = 1000", "failed", "timeout", {}),
        ("exec 2>&1; trap '' TERM; sleep 60 & sleep 60", "timeout_ms = 500\ngrace_ms = 300", "failed", "timeout", {}),
    ],
)
def test_ends_are_told_as_without_systemd(
    daemon: Daemon, script: str, step: str, status: str, reason: str, facts: dict[str, Any]
) -> None:
    daemon.flow("ends", script, step=step)
    daemon.flowd("reload")
    run = daemon.finished("ends.go")
    assert (run["processStatus"], run["reason"]) == (status, reason)
    assert {name: run["attempts"][0].get(name) for name in facts} == facts


def test_a_program_that_cannot_run_is_a_start_that_failed(daemon: Daemon) -> None:
    daemon.flow("ends", say("changed"))
    daemon.box.write(f"{daemon.path}/flows/ends/main.sh", "#!/no/such/interpreter\n", mode="755")
    daemon.flowd("reload")
    run = daemon.finished("ends.go")
    assert (run["processStatus"], run["reason"]) == ("failed", "spawn")
    assert daemon.units() == ""


def test_a_cancel_leaves_nothing_of_the_cgroup_daemonised_children_included(box: Box, daemon: Daemon) -> None:
    daemon.flow(
        "long", "setsid sh -c 'trap \"\" TERM; sleep 333' &\nsetsid sleep 333 & sleep 333", step="grace_ms = 500"
    )
    run_id = daemon.dispatch("long.go")
    until(lambda: len(box.alive("sleep 333")) >= 4, what="the step's processes")
    daemon.flowd("cancel", run_id)
    run = until(lambda: (run := daemon.run(run_id))["processStatus"] == "canceled" and run, what="the cancel")
    assert run["attempts"][0]["reason"] == "canceled"
    assert box.alive("sleep 333") == []
    until(lambda: daemon.units() == "", what="the unit's end")


def test_what_a_good_step_leaves_behind_is_ended(box: Box, daemon: Daemon) -> None:
    daemon.flow("long", f"setsid sleep 444 &\n{say('completed')}")
    run = daemon.finished("long.go")
    assert run["effectiveStatus"] == "completed"
    assert [name.split(" ", 1)[1] for name in run["attempts"][0]["leftovers"]] == ["sleep 444"]
    assert box.alive("sleep 444") == []


def test_what_a_failed_step_leaves_behind_is_ended_and_named_if_it_takes_more_than_sigterm(
    box: Box, daemon: Daemon
) -> None:
    deaf = "trap '' TERM; touch deaf; while :; do sleep 0.1; done"
    daemon.flow(
        "long",
        f'setsid sh -c "{deaf}" deaf-one &\nwhile ! test -e deaf; do sleep 0.01; done\nexit 6',
        step="grace_ms = 400",
    )
    run = daemon.finished("long.go")
    assert (run["reason"], run["attempts"][0]["exitCode"]) == ("exit", 6)
    assert any("deaf-one" in name for name in run["attempts"][0]["leftovers"])
    assert box.alive("deaf-one") == []
    until(lambda: daemon.units() == "", what="the unit's end")


def test_what_a_detached_step_leaves_behind_lives_on_in_its_unit(box: Box, daemon: Daemon) -> None:
    daemon.flow("long", f"setsid sleep 777 &\n{say('completed')}", step="detach = true")
    run = daemon.finished("long.go")
    assert run["effectiveStatus"] == "completed"
    assert not run["attempts"][0].get("leftovers")
    (pid,) = until(lambda: box.alive("sleep 777"), what="what it left, once that is the program that it is to be")
    assert unit_name(run["id"]) in daemon.units()
    daemon.end("KILL")
    daemon.serve()
    assert box.alive("sleep 777") == [pid]
    box.run("kill", str(pid))
    until(lambda: daemon.units() == "", what="the unit's end")


def test_what_a_detached_step_prints_after_its_end_does_not_fill_the_disk(box: Box, daemon: Daemon) -> None:
    print_late = "while ! test -e go; do sleep 0.1; done; head -c 9000000 /dev/zero; exec sleep 778"
    daemon.flow("late", f"setsid sh -c '{print_late}' &\n{say('completed')}", step="detach = true")
    assert daemon.finished("late.go")["effectiveStatus"] == "completed"
    box.run("touch", f"{daemon.path}/flows/late/go")
    (pid,) = until(lambda: box.alive("^sleep 778$"), what="the end of the printing")
    assert " (deleted)" in box.run("readlink", f"/proc/{pid}/fd/1").stdout
    until(lambda: int(box.run("stat", "-L", "-c", "%b", f"/proc/{pid}/fd/1").stdout) == 0, what="room on the disk")
    box.run("kill", str(pid))
    until(lambda: daemon.units() == "", what="the unit's end")


def test_steps_go_on_without_a_daemon_and_the_next_one_tells_how_they_ended(box: Box, daemon: Daemon) -> None:
    go = f"{daemon.path}/go"
    wait = f"while ! test -e {go}; do sleep 0.05; done"
    daemon.flow("good", f"{wait}\n{say('completed')}")
    daemon.flow("bad", f"{wait}\nexit 7")
    good, bad = daemon.dispatch("good.go"), daemon.dispatch("bad.go")
    until(lambda: len(box.alive("main.sh")) == 2, what="the steps' processes")
    daemon.end("KILL")
    box.run("touch", go)
    until(lambda: box.alive("main.sh") == [], what="the steps' ends")
    until(lambda: box.show(f"{unit_name(bad)}.service", "ActiveState", user=daemon.user) == "failed")
    until(lambda: box.show(f"{unit_name(good)}.service", "SubState", user=daemon.user) == "exited")
    seen_at = datetime.now(UTC)
    daemon.serve()
    until(lambda: daemon.run(bad)["processStatus"] == "failed", what="the record of the bad one")
    assert daemon.run(bad)["attempts"][0]["exitCode"] == 7
    until(lambda: daemon.run(good)["processStatus"] == "completed", what="the record of the good one")
    assert (daemon.run(good)["attemptCount"], daemon.run(bad)["attemptCount"]) == (1, 1)
    for run_id in (good, bad):
        assert datetime.fromisoformat(daemon.run(run_id)["attempts"][0]["completedAt"]) <= seen_at


def test_the_units_of_the_version_before_are_adopted_with_their_records(daemon: Daemon) -> None:
    wait = f"echo one; while ! test -e {daemon.path}/go; do sleep 0.05; done; echo two"
    daemon.flow("good", f"{wait}\n{say('completed')}")
    daemon.flow("bad", f"{wait}\nexit 7")
    daemon.flow("long", "sleep 999")
    daemon.flow("gone", f"while ! test -e {daemon.path}/first; do sleep 0.05; done; exit 5")
    daemon.end("KILL")
    daemon.box.run("rm", "-r", f"{daemon.path}/.codex/flowd")  # of the newer one, which the older one refuses
    daemon.serve(**environment_of(previous_version()))
    good, bad, long, gone = (daemon.dispatch(f"{name}.go") for name in ("good", "bad", "long", "gone"))
    until(lambda: len(daemon.box.alive("main.sh")) == 4, what="the steps' processes")
    daemon.end("KILL")
    daemon.box.run("touch", f"{daemon.path}/first")
    until(lambda: len(daemon.box.alive("main.sh")) == 3, what="the end of a step without a daemon")
    daemon.serve()
    daemon.box.run("touch", f"{daemon.path}/go")
    daemon.flowd("cancel", long)
    for run_id, end in (
        (good, ("completed", None, 0)),
        (bad, ("failed", "exit", 7)),
        (long, ("canceled", "canceled", None)),
        (gone, ("failed", "exit", 5)),
    ):
        until(lambda run_id=run_id: daemon.run(run_id)["processStatus"] != "running", what=f"the end of {run_id}")
        run = daemon.run(run_id)
        assert (run["processStatus"], run.get("reason"), run["attempts"][0].get("exitCode")) == end
        assert run["attemptCount"] == 1
    assert daemon.run(good)["output"][0]["text"].startswith("one\ntwo\n")
    until(lambda: daemon.units() == "", what="the units' end")


def test_ending_steps_without_a_daemon_leaves_systemd_nothing_and_the_next_daemon_their_ends(
    box: Box, daemon: Daemon
) -> None:
    go = f"{daemon.path}/go"
    daemon.flow("bad", f"while ! test -e {go}; do sleep 0.05; done\nexit 7")
    daemon.flow("deaf", "trap 'exit 9' TERM\nwhile :; do sleep 0.05; done")
    bad, deaf = daemon.dispatch("bad.go"), daemon.dispatch("deaf.go")
    until(lambda: len(box.alive("main.sh")) == 2, what="the steps' processes")
    daemon.end("KILL")
    box.run("touch", go)
    until(lambda: box.show(f"{unit_name(bad)}.service", "ActiveState", user=daemon.user) == "failed")
    for count in ("1 step", "0 steps"):
        argv = (str(FLOWD), "service", "end-steps", "-w", daemon.path)
        ended = box.run(*argv, user=daemon.user, FLOWD_EXECUTOR="systemd")
        assert (ended.stdout, ended.stderr) == (f"ended {count} that flowd had left running\n", "")
        assert daemon.units() == ""
    daemon.serve()
    until(lambda: daemon.run(deaf)["processStatus"] == "canceled", what="the record of the ended one")
    assert daemon.run(bad)["reason"] == "exit"


def test_a_step_whose_unit_somebody_stops_is_canceled(box: Box, daemon: Daemon) -> None:
    daemon.flow("long", "sleep 888")
    daemon.flow("deaf", "trap '' TERM\nwhile :; do sleep 0.05; done", step="grace_ms = 200")
    for kind in ("long.go", "deaf.go"):
        run_id = daemon.dispatch(kind)
        unit = f"{unit_name(run_id)}.service"
        until(lambda unit=unit: box.show(unit, "ActiveState", user=daemon.user) == "active", what="the unit")
        box.systemctl("stop", unit, user=daemon.user)
        run = until(lambda run_id=run_id: (run := daemon.run(run_id))["processStatus"] != "running" and run)
        assert (run["processStatus"], run["reason"]) == ("canceled", "canceled")


def test_records_that_somebody_removes_are_made_again_and_the_next_daemon_adopts_by_them(
    box: Box, daemon: Daemon
) -> None:
    go, units = f"{daemon.path}/go", f"{daemon.path}/.codex/flowd/keeper/units"
    daemon.flow("long", f"echo x >>log; while ! test -e {go}; do sleep 0.05; done\n{say('changed')}")
    run_id = daemon.dispatch("long.go")
    until(lambda: daemon.run(run_id)["attempts"][0].get("pid"), what="the step's start")
    keeper = f"{daemon.path}/.codex/flowd/keeper"
    box.run("sh", "-c", f"rm -r {keeper}; touch {keeper}")
    until(lambda: "cannot be made again" in box.read(f"{daemon.path}/log"), what="word of what is in the way")
    box.run("rm", keeper)
    for taken in (keeper, f"{units}/*"):
        until(lambda: box.run("sh", "-c", f"ls {units}/*.note", check=False).returncode == 0, what="the record")
        box.run("sh", "-c", f"rm -r {taken}")
    until(lambda: box.run("sh", "-c", f"ls {units}/*.note", check=False).returncode == 0, what="the record")
    daemon.end("KILL")
    daemon.serve()
    box.run("touch", go)
    run = until(lambda: (run := daemon.run(run_id))["processStatus"] == "completed" and run, what="the run's end")
    assert (run["effectiveStatus"], run["attemptCount"]) == ("changed", 1)
    assert box.read(f"{daemon.path}/flows/long/log") == "x\n"
    until(lambda: daemon.units() == "", what="the unit's end")


@pytest.mark.parametrize("taken", ["keeper", "keeper/units/*"])
def test_a_step_whose_records_were_taken_away_with_its_daemon_is_ended_and_not_started_again(
    box: Box, daemon: Daemon, taken: str
) -> None:
    daemon.flow("long", f"echo x >>log; exec sleep 300\n{say('changed')}", step="timeout_ms = 300000")
    run_id = daemon.dispatch("long.go")
    pid = until(lambda: daemon.run(run_id)["attempts"][0].get("pid"), what="the step's start")
    box.run("sh", "-c", f"kill -STOP $(cat {daemon.path}/pid); rm -r {daemon.path}/.codex/flowd/{taken}")
    daemon.end("KILL")
    daemon.serve()
    run = until(lambda: (run := daemon.run(run_id))["processStatus"] == "failed" and run, what="the run's end")
    assert (run["reason"], run["attemptCount"], run.get("durationMs")) == ("interrupted", 1, None)
    assert box.run("test", "-e", f"/proc/{pid}", check=False).returncode != 0, "a retry would run beside it"
    assert box.read(f"{daemon.path}/flows/long/log") == "x\n"
    daemon.flow("long", say("changed"))
    daemon.flowd("retry", run_id)
    until(lambda: daemon.run(run_id)["processStatus"] == "completed", what="the retry's end")
    until(lambda: daemon.units() == "", what="the unit's end")


@pytest.mark.parametrize("daemon", ["user"], indirect=True)  # the system manager would take the box with it
def test_what_is_due_while_systemd_ends_everything_waits_for_the_next_daemon(box: Box, daemon: Daemon) -> None:
    # It holds the shutdown up before the bus goes; what is stopped then is not started any more.
    argv = ("systemd-run", "--user", "--unit=slow", "--property=After=dbus.service", "--property=ExecStop=sleep 2")
    box.run(*argv, "sleep", "300", user=USER)
    box.systemctl("start", "--no-block", "--job-mode=replace-irreversibly", "exit.target", user=USER)
    run_id = daemon.dispatch("quick.go")
    daemon.until_gone()
    box.systemctl("restart", f"user@{UID}.service")
    daemon.serve()
    run = until(lambda: (run := daemon.run(run_id))["processStatus"] not in ("queued", "running") and run)
    assert run["effectiveStatus"] == "changed"


@pytest.mark.parametrize("daemon", ["user"], indirect=True)
def test_a_step_whose_start_systemd_never_answered_waits_for_the_next_daemon(box: Box, daemon: Daemon) -> None:
    manager = box.show(f"user@{UID}.service", "MainPID")
    box.run("kill", "-STOP", manager)
    run_id = daemon.dispatch("quick.go")
    until(lambda: daemon.run(run_id)["processStatus"] == "running", what="the attempt")
    box.run("sleep", "0.5")  # systemd is asked now
    box.run("kill", "-KILL", manager)
    daemon.until_gone()
    box.systemctl("restart", f"user@{UID}.service")
    daemon.serve()
    run = until(lambda: (run := daemon.run(run_id))["processStatus"] not in ("queued", "running") and run)
    assert (run["effectiveStatus"], len(run["attempts"])) == ("changed", 1)


def test_a_restart_of_the_users_manager_cancels_the_steps_of_a_service(box: Box, lingering: str) -> None:
    box.write(f"/home/{OTHER_USER}/.config/flowd{lingering}.env", "FLOWD_EXECUTOR=systemd\n", owner=OTHER_USER)
    box.run("chown", "-R", f"{OTHER_USER}:", f"/home/{OTHER_USER}/.config")
    box.run(str(FLOWD), "service", "install", "--user", "-w", lingering, user=OTHER_USER)

    def states() -> list[tuple[str, str | None]]:
        runs = box.flowd(lingering, "runs", "--json", user=OTHER_USER)["runs"]
        return [(run["processStatus"], run.get("reason")) for run in runs]

    for _ in range(3):
        box.flowd(lingering, "dispatch", "--type", "long.go", user=OTHER_USER)
    until(lambda: len(box.alive("sleep 300")) == 6, what="the steps' processes")
    box.systemctl("restart", f"user@{OTHER_UID}.service")
    until(lambda: box.flowd(lingering, "status", user=OTHER_USER, check=False), what="the service")
    until(lambda: "running" not in dict(states()), what="the runs' ends")
    assert states() == [("canceled", "canceled")] * 3


def test_too_much_output_ends_the_unit(box: Box, daemon: Daemon) -> None:
    daemon.end("TERM")
    box.write(f"{daemon.path}/.codex/flowd.toml", "max_output_bytes = 65536\n", owner=daemon.user or "root")
    daemon.serve()
    daemon.flow("flood", "yes")
    daemon.flowd("reload")
    run = daemon.finished("flood.go")
    assert (run["processStatus"], run["reason"]) == ("failed", "output_limit")


def test_a_memory_limit_is_kept_by_the_cgroup_or_else_by_each_process(box: Box, daemon: Daemon) -> None:
    daemon.flow(
        "greedy",
        'python3 -c "x = bytearray(400 << 20); print(len(x))" || exit 9\n' + say("completed"),
        step="[steps.limits]\nmemory_bytes = 134217728",
    )
    daemon.flowd("reload")
    run = daemon.finished("greedy.go")
    assert run["processStatus"] == "failed"
    assert run["reason"] in ("exit", "signal")


def test_shares_and_counts_are_kept_by_the_cgroup_or_else_refused_before_the_step_starts(
    box: Box, daemon: Daemon
) -> None:
    daemon.flow("shared", f"sleep 1; {say('completed')}", step="[steps.limits]\ncpu_percent = 40\nprocesses = 7")
    daemon.flowd("reload")
    run = daemon.finished("shared.go")
    if {"cpu", "pids"} <= daemon.controllers():
        assert run["processStatus"] == "completed"
    else:
        assert (run["processStatus"], run["reason"]) == ("failed", "spawn")
        assert re.search(r"limit \w+ cannot be kept: this systemd has no (cpu|pids) controller", run["error"])


def test_a_system_service_starts_steps_with_its_users_manager_and_a_stop_ends_them(
    box: Box, service: Callable[..., Service]
) -> None:
    let_linger(box)
    place = service(Environment="FLOWD_EXECUTOR=systemd")
    place.flow("long", "setsid sleep 666 & sleep 666")
    place.systemctl("start")
    run_id = place.dispatch("long.go")[0]
    until(lambda: len(box.alive("sleep 666")) == 2, what="the step's processes")
    assert box.show(f"{unit_name(run_id)}.service", "ActiveState", user=USER) == "active"
    place.systemctl("restart")
    assert len(box.alive("sleep 666")) == 2
    assert [run["processStatus"] for run in place.runs()] == ["running"]
    place.systemctl("stop")
    assert box.alive("sleep 666") == []
    place.systemctl("start")
    assert [(run["processStatus"], run["attemptCount"]) for run in place.runs()] == [("canceled", 1)]


def test_what_is_closed_as_soon_as_it_is_open_leaves_nothing_that_nobody_awaits(box: Box) -> None:
    script = (
        "import asyncio, pathlib, tempfile\n"
        "from flowd.executors.systemd.executor import SystemdExecutor\n"
        "async def main():\n"
        "    with tempfile.TemporaryDirectory() as folder:\n"
        "        keeper = SystemdExecutor(pathlib.Path(folder), base_env={}, scope='system', boot_id='b')\n"
        "        await keeper.open()\n"
        "        await keeper.close(end_steps=False)\n"
        "asyncio.run(main())\n"
    )
    assert box.run(sys.executable, "-c", script).stderr == ""


def test_without_a_bus_it_refuses_to_start_and_says_what_to_do(box: Box) -> None:
    path = "/home/flowd-fresh/nobus"
    box.run("install", "-d", "-o", "flowd-fresh", path)
    done = box.run(str(FLOWD), "serve", "-w", path, "--executor", "systemd", user="flowd-fresh", check=False)
    assert done.returncode == 75
    assert re.search(r"There is no systemd user manager .*loginctl enable-linger flowd-fresh", done.stderr)


def test_a_daemon_reload_under_a_running_step_changes_nothing_for_it(box: Box, daemon: Daemon) -> None:
    go = f"{daemon.path}/go"
    daemon.flow("good", f"while ! test -e {go}; do sleep 0.05; done\n{say('completed')}")
    run_id = daemon.dispatch("good.go")
    until(lambda: box.alive("main.sh"), what="the step's process")
    box.systemctl("daemon-reload", user=daemon.user)
    assert box.show(f"{unit_name(run_id)}.service", "LoadState", user=daemon.user) == "loaded"
    daemon.end("KILL")
    daemon.serve()
    box.run("touch", go)
    until(lambda: daemon.run(run_id)["processStatus"] == "completed", what="the run's end")
    assert daemon.run(run_id)["attemptCount"] == 1


def test_a_service_waits_for_its_users_manager_and_comes_back_when_it_went_away(
    box: Box, service: Callable[..., Service]
) -> None:
    box.run("loginctl", "enable-linger", USER)
    place = service(Environment="FLOWD_EXECUTOR=systemd")
    place.flow("quick", say("changed"))
    box.systemctl("stop", f"user@{UID}.service")
    box.systemctl("start", "--no-block", place.unit)
    until(lambda: box.show(place.unit, "ActiveState") == "activating", what="its start")
    box.systemctl("start", f"user@{UID}.service")
    until(lambda: box.show(place.unit, "ActiveState") == "active", what="the service")
    before = place.main_pid()
    box.systemctl("stop", f"user@{UID}.service")
    until(lambda: place.main_pid() not in (0, before), what="its next start")
    box.systemctl("start", f"user@{UID}.service")
    until(lambda: box.show(place.unit, "ActiveState") == "active", what="the service again")
    run = place.flowd("dispatch", "--type", "quick.go", "--wait", "--json")["runs"][0]
    assert run["effectiveStatus"] == "changed"


def test_one_executor_refuses_what_the_other_one_runs(box: Box, daemon: Daemon) -> None:
    daemon.flow("long", "sleep 555")
    daemon.dispatch("long.go")
    until(lambda: box.alive("sleep 555"), what="the step's process")
    daemon.end("KILL")
    done = box.run(str(FLOWD), "serve", "-w", daemon.path, user=daemon.user, check=False)
    assert done.returncode == 78
    assert 'The executor "systemd" still has steps' in done.stderr
    ended = box.run(str(FLOWD), "service", "end-steps", "-w", daemon.path, user=daemon.user, FLOWD_EXECUTOR="systemd")
    assert "ended 1 step" in ended.stdout
    assert box.alive("sleep 555") == []
