"""Says that the daemon drains where runs that are ready do not start."""

from collections.abc import Iterable

from flowd.cli.session import Session
from flowd_client import requests
from flowd_client.views.run import RunView

NEXT_ONE = "the next one starts what is queued"
"""What ends the drain of a daemon that is stopping."""


def is_ready(run: RunView) -> bool:
    """Whether nothing but a place keeps a run from starting."""
    return run.process_status == "queued" and (not run.waiting_for or "place" in run.waiting_for)


def held(session: Session, runs: Iterable[RunView]) -> str | None:
    """What keeps those of the runs that are ready, in words; None where that is nothing but a place."""
    return sentence(session) if any(map(is_ready, runs)) else None


def sentence(session: Session) -> str | None:
    """That the daemon drains, and what ends that; None where it does not."""
    status = session.ask(requests.status())
    if status.get("stopping"):
        return f"the daemon stops; {NEXT_ONE}"
    if status.get("state") == "draining":
        return f"the daemon drains; `{session.typed('drain', off=True)}` goes on"
    return None
