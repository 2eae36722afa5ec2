"""Turns a launch into the properties of a transient service, and a service's properties into an exit. Pure."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from flowd.domain.exit import Cause, Exit
from flowd.domain.launching import Launch, SpawnError
from flowd.domain.limits import Limits
from flowd.executors.systemd.bus import variant

SLICE = "flowd.slice"
_INFINITY = (1 << 64) - 1
_UNKNOWN = (0, _INFINITY)

_CLD_EXITED = 1
EXEC_FAILED = 203
_SETUP_FAILURES: Mapping[int, str] = {
    200: "The working directory {cwd} cannot be used. Create it, or correct `cwd` of the step.",
    EXEC_FAILED: "The program {program} cannot be run. Install it, or make it executable (chmod +x).",
    208: "The step's standard input could not be prepared.",
    209: "The file for the step's standard output could not be opened.",
    222: "The file for the step's standard error could not be opened.",
}
_SETUP_CODES = range(200, 246)
"""systemd's exit codes for what failed before the program ran (systemd.exec(5), PROCESS EXIT CODES)."""


def of_launch(launch: Launch, *, stdin: Path, environment: Path, controllers: frozenset[str]) -> list[tuple[str, Any]]:
    """The unit of an attempt.

    ``Type=exec`` reports a program that cannot be run as a failed start. ``RemainAfterExit`` keeps the exit status
    until a daemon has read it, also if none runs yet. ``AddRef`` keeps it for us even where we stop the unit.

    Args:
        controllers: Those that the manager may use; limits without one fall back to what a process can have.

    Raises:
        SpawnError: A limit cannot be kept.
    """
    command, argv = launch.command, launch.command.started_argv
    return [
        ("Description", variant("s", f"flowd: attempt {launch.attempt_id}")),
        ("Slice", variant("s", SLICE)),
        ("Type", variant("s", "exec")),
        # Doubled, so that nothing is expanded; not ExecStartEx, which systemd 252 cannot read back at a daemon-reload.
        ("ExecStart", variant("a(sasb)", [[argv[0], [word.replace("$", "$$") for word in argv], False]])),
        ("WorkingDirectory", variant("s", command.cwd)),
        ("EnvironmentFiles", variant("a(sb)", [[str(environment), False]])),
        ("StandardInputFile", variant("s", str(stdin))),
        ("StandardOutputFileToAppend", variant("s", launch.stdout_path)),
        ("StandardErrorFileToAppend", variant("s", launch.stderr_path)),
        ("KillMode", variant("s", "control-group")),
        ("TimeoutStopUSec", variant("t", usec(launch.grace_s))),
        ("RuntimeMaxUSec", variant("t", usec(launch.timeout_s))),
        ("RemainAfterExit", variant("b", True)),  # noqa: FBT003
        ("CollectMode", variant("s", "inactive")),
        ("AddRef", variant("b", True)),  # noqa: FBT003
        ("CPUAccounting", variant("b", True)),  # noqa: FBT003
        ("MemoryAccounting", variant("b", True)),  # noqa: FBT003
        *(_limits(launch.limits, controllers) if launch.limits is not None else ()),
    ]


def _limits(limits: Limits, controllers: frozenset[str]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    if limits.memory_bytes is not None:
        if "memory" in controllers:
            found += [("MemoryMax", variant("t", limits.memory_bytes)), ("MemorySwapMax", variant("t", 0))]
            # Half a process tree is of no use: the kernel kills all of it at once, where it is one cgroup.
            found.append(("OOMPolicy", variant("s", "kill")))
        else:
            found += _resource("AS", limits.memory_bytes)
    if limits.processes is not None:
        _demand("processes", "pids", controllers)
        found.append(("TasksMax", variant("t", limits.processes)))
    if limits.cpu_percent is not None:
        _demand("cpu_percent", "cpu", controllers)
        found.append(("CPUQuotaPerSecUSec", variant("t", limits.cpu_percent * 10_000)))
    if limits.cpu_time_s is not None:
        # SIGXCPU at the soft limit, SIGKILL a second later, as without systemd.
        found += _resource("CPU", limits.cpu_time_s, limits.cpu_time_s + 1)
    if limits.open_files is not None:
        found += _resource("NOFILE", limits.open_files)
    if limits.file_bytes is not None:
        found += _resource("FSIZE", limits.file_bytes)
    if limits.niceness is not None:
        found.append(("Nice", variant("i", limits.niceness)))
    if limits.umask is not None:
        found.append(("UMask", variant("u", limits.umask)))
    return found


def _demand(limit: str, controller: str, controllers: frozenset[str]) -> None:
    if controller not in controllers:
        raise SpawnError(
            f"The limit {limit} cannot be kept: this systemd has no {controller} controller to keep it with. Boot with "
            f"cgroup v2 (systemd.unified_cgroup_hierarchy=1), delegate it to a user's manager (Delegate={controller} "
            "for user@.service), or remove the limit."
        )


def _resource(name: str, soft: int, hard: int | None = None) -> list[tuple[str, Any]]:
    hard = soft if hard is None else hard
    return [(f"Limit{name}", variant("t", hard)), (f"Limit{name}Soft", variant("t", soft))]


def usec(seconds: float) -> int:
    """Microseconds as systemd wants them; 0 and less would mean something else there.

    >>> usec(1.5), usec(0), usec(float("inf")) == 2**64 - 1
    (1500000, 1, True)
    """
    return _INFINITY if math.isinf(seconds) else max(1, round(seconds * 1e6))


def has_ended(about: Mapping[str, Any]) -> bool:
    """Whether a unit's main process has ended, and systemd is done with it."""
    state = about["ActiveState"]
    return (
        about["LoadState"] == "not-found"
        or state in ("failed", "inactive")
        or (state == "active" and about["SubState"] == "exited")
    )


def is_ending_leftovers(about: Mapping[str, Any]) -> bool:
    """Whether the main process has failed by itself, and systemd is ending what it left behind."""
    has_failed = about["Result"] in ("exit-code", "signal", "core-dump") and about["ExecMainExitTimestampMonotonic"]
    return bool(has_failed and about["ActiveState"] == "deactivating" and not about["Job"][0])


def refusal(about: Mapping[str, Any], launch: Launch) -> str | None:
    """Why a start has failed before the program ran, as a sentence; None when it did run.

    A program that ends at once may have ended before systemd saw that it ran: then the unit was never active either.
    systemd 256 reports that it ran. Before that only the exit code does, and a step that ends at once with one of these
    codes by itself is taken for one of these.
    """
    if about["ActiveState"] != "failed" or about["ActiveEnterTimestampMonotonic"]:
        return None
    if about.get("ExecMainHandoffTimestampMonotonic"):
        return None
    status = int(about["ExecMainStatus"])
    has_run = about["ExecMainPID"] and (about["ExecMainCode"] != _CLD_EXITED or status not in _SETUP_CODES)
    if has_run:
        return None
    sentence = _SETUP_FAILURES.get(
        status, "systemd could not start it ({result}, status {status}). `journalctl --unit flowd.slice` may say more."
    )
    program, cwd = launch.command.started_argv[0], launch.command.cwd
    return sentence.format(cwd=cwd, program=program, result=about["Result"], status=status)


def was_stopped(about: Mapping[str, Any]) -> bool:
    """Whether the manager was asked to stop the unit while its main process ran: by a person, or by its own end.

    Only then, at a timeout and for want of memory does a unit cease to be active before its main process has ended.
    ``Result`` does not say so: a step that takes longer than its grace is a ``timeout`` there, too.
    """
    left, ended = about.get("ActiveExitTimestampMonotonic", 0), about.get("ExecMainExitTimestampMonotonic", 0)
    if not 0 < left < ended or about["Result"] == "oom-kill":
        return False
    return bool(left - about["ActiveEnterTimestampMonotonic"] < about["RuntimeMaxUSec"])


def exit_of(about: Mapping[str, Any], cause: str | None) -> Exit:
    """How a unit's main process ended, with neither code nor signal where that is not known any more.

    What was stopped by another than flowd counts as canceled, too, as at a reboot, where the manager stops flowd
    and its steps together.
    """
    code: int | None = None
    number: int | None = None
    if about.get("ExecMainExitTimestampMonotonic"):
        status = int(about["ExecMainStatus"])
        code, number = (status, None) if about["ExecMainCode"] == _CLD_EXITED else (None, status)
    if cause is None and was_stopped(about):
        cause = "canceled"
    elif cause is None and about.get("Result") == "timeout":
        cause = "timeout"
    # The end of all of it, or while the unit remains for its exit status, of its main process. 0 is unset.
    end = "InactiveEnterTimestamp" if about.get("InactiveEnterTimestamp") else "ExecMainExitTimestamp"
    ended_at_us = int(about.get(end, 0))
    begun_us, ended_us = (int(about.get(f"{name}Monotonic", 0)) for name in ("ExecMainStartTimestamp", end))
    memory, cpu = about.get("MemoryPeak", 0), about.get("CPUUsageNSec", _INFINITY)
    return Exit(
        code=code,
        signal=number,
        cause=cast("Cause | None", cause),
        max_rss_bytes=None if memory in _UNKNOWN else int(memory),
        cpu_ms=None if cpu == _INFINITY else round(cpu / 1e6),
        out_of_memory=about.get("Result") == "oom-kill",
        ended_at_ms=ended_at_us // 1000 or None,
        duration_ms=round((ended_us - begun_us) / 1000) if 0 < begun_us <= ended_us else None,
    )
