"""What a notice says: the payload that programs and webhooks get. No I/O."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flowd.domain.instants import instant
from flowd.domain.notices import Notice
from flowd.domain.redaction import Redactor

VERSION = 1
"""Of the payload. Members may be added under it; none goes, or comes to mean something else."""

_TYPE = "flowd."
_IS_QUESTION = frozenset({"blocked", "needs_intervention"})


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What notices say of the daemon that sends them.

    Attributes:
        host: What this host is called.
        workspace: Its folder.
    """

    host: str
    workspace: str


def payload(notice: Notice, where: Whereabouts, *, redactor: Redactor, page: str | None) -> dict[str, Any]:
    """What is sent, with the secrets in it masked.

    Args:
        page: The address of the web page, where browsers can reach it.
    """
    told: dict[str, Any] = json.loads(redactor.json(json.dumps(dict(notice.told), ensure_ascii=False)))
    failed_since_ms = told.pop("failedSinceMs", None)
    members = {
        "version": VERSION,
        "id": notice.id,
        "type": f"{_TYPE}{notice.what}",
        "timestamp": instant(notice.created_at_ms),
        "text": _text(notice, told),
        "notifier": notice.notifier,
        **told,
        "host": told.get("host", where.host),
        "workspace": where.workspace,
    }
    if notice.what in ("failed", "queue_timeout"):
        members["failures"] = notice.failures
    if failed_since_ms is not None:
        members["failedSince"] = instant(failed_since_ms)
    if notice.what in _IS_QUESTION:
        members["commands"] = commands(notice.told["runId"], where.workspace)
    if page is not None:
        members["links"] = {
            "run": f"{page}/ui/runs/{quote(notice.told['runId'], safe='')}",
            "event": f"{page}/ui/events/{quote(notice.told['eventId'], safe='')}",
        }
    return members


def test_payload(notice_id: str, notifier: str, where: Whereabouts, *, at_ms: int) -> dict[str, Any]:
    """What is sent to try a notifier out."""
    return {
        "version": VERSION,
        "id": notice_id,
        "type": f"{_TYPE}test",
        "timestamp": instant(at_ms),
        "text": f"flowd on {where.host} tries out the notifier {notifier}: nothing has happened.",
        "notifier": notifier,
        "host": where.host,
        "workspace": where.workspace,
    }


def commands(run_id: str, workspace: str) -> list[str]:
    """What answers a question, to be typed anywhere on the host.

    >>> commands("run-1", "/srv/my site")[1]
    "flowd reject run-1 -w '/srv/my site'"
    """
    run, folder = shlex.quote(run_id), shlex.quote(workspace)
    return [
        f"flowd approve {run} -w {folder}",
        f"flowd reject {run} -w {folder}",
        f"flowd answer {run} --input JSON -w {folder}",
    ]


def _text(notice: Notice, told: Mapping[str, Any]) -> str:
    """A sentence or two for people: what a chat or a mail shows."""
    step = f"{told['flow']}/{told['step']}"
    said = _first_line(told.get("message") or told.get("why") or told.get("error"))
    event = f"Event {told['eventId']}."
    match notice.what:
        case "failed" | "queue_timeout":
            how = "failed" if notice.what == "failed" else "waited in the queue for too long"
            others = f" {notice.failures} runs failed in all." if notice.failures > 1 else ""
            return f"{step} {how}{said}.{others} {event}"
        case "needs_intervention":
            return f"{step} asks{said or ' for a person'}. {event} flowd approve {told['runId']}"
        case "blocked":
            return f"{step} is blocked{said}. {event} flowd approve {told['runId']}"
        case "recovered":
            return f"{told['flow']} runs well again. {event}"


def _first_line(text: str | None) -> str:
    line = (text or "").strip().split("\n", 1)[0].rstrip(". ")
    return f": {line}" if line else ""
