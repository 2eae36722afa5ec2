"""What the daemon asks of its keeper, as frames."""

from typing import Any

from flowd.domain.launching import Launch


def start_request(launch: Launch, mark_suffix: str) -> dict[str, Any]:
    """The header of a ``start``."""
    lease = {} if launch.lease_until_s is None else {"lease_until_s": launch.lease_until_s}
    return {
        "op": "start",
        "id": launch.attempt_id,
        "argv": launch.command.started_argv,
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
        **lease,
    }
