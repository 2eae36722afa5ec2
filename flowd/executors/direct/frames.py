"""What the frames to and from the keeper mean in the daemon's own words."""

from collections.abc import Mapping
from typing import Any

from flowd.domain.run import Exit
from flowd.ports import Launch


def start_request(launch: Launch, mark_suffix: str) -> dict[str, Any]:
    """The header of a ``start``."""
    return {
        "op": "start",
        "id": launch.attempt_id,
        "argv": launch.command.argv,
        "cwd": launch.command.cwd,
        "env": dict(launch.command.env),
        "stdout": launch.stdout_path,
        "stderr": launch.stderr_path,
        "timeout_s": launch.timeout_s,
        "grace_s": launch.grace_s,
        "max_output_bytes": launch.max_output_bytes,
        "detach": launch.detach,
        "limits": launch.limits.asked() if launch.limits else {},
        "mark": f"{launch.attempt_id}@{mark_suffix}",
    }


def exit_of(facts: Mapping[str, Any]) -> Exit:
    """The end that an ``exited`` frame or a record tells; what is absent is not known."""
    return Exit(
        code=facts.get("code"),
        signal=facts.get("signal"),
        cause=facts.get("cause"),
        leftovers=tuple(facts.get("leftovers", ())),
        survivors=tuple(facts.get("survivors", ())),
        max_rss_bytes=facts.get("max_rss_bytes"),
        cpu_ms=facts.get("cpu_ms"),
        out_of_memory=bool(facts.get("out_of_memory")),
        ended_at_ms=facts.get("ended_at_ms"),
    )
