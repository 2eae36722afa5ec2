"""The events that steps can be tried with: the newest that the daemon has had for them, and the package's examples."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flowd.cli.exits import CommandError
from flowd.cli.session import Session
from flowd.domain.result import ResultStatus
from flowd.state.folder import DATABASE
from flowd.store.sqlite.newest import newest_events
from flowd_client import requests
from flowd_client.discovery import state_dir
from flowd_client.errors import DaemonNotRunningError, FlowClientError
from flowd_client.request import Request
from flowd_client.unix import UnixTransport
from flowd_client.views.run import RunView

_ANSWER_S = 2.0
"""A daemon that takes longer is done without."""

_LOOKED_AT = 50
"""Runs among which the newest events are found."""

_STATUSES = frozenset(ResultStatus)


@dataclass(frozen=True, slots=True)
class Choice:
    """An event to try steps with.

    Attributes:
        origin: Where it is from, for people.
        results: What steps of its newest round said, as JSON.
    """

    event: Mapping[str, Any]
    origin: str
    results: Mapping[str, str] = field(default_factory=dict)

    @property
    def content(self) -> str:
        """The same for the same event. An example that was edited is another one, whatever its id."""
        return json.dumps(self.event, sort_keys=True)

    @property
    def label(self) -> str:
        """Its id and where it is from."""
        return f"{self.event.get('id')} ({self.origin})"


def examples(root: str) -> Iterator[Choice]:
    """The example events of a package: ``event.json``, and those in ``events`` by their names.

    Raises:
        CommandError: One cannot be read.
    """
    folder = Path(root)
    for path in (folder / "event.json", *sorted(folder.glob("events/*.json"))):
        if path.is_file():
            yield example(path, str(path.relative_to(folder)))


def example(path: Path, origin: str) -> Choice:
    """The event in a file. One without an id gets one, for nobody else sees it.

    Raises:
        CommandError: There is none.
    """
    from flowd.cli.reading_events import read_event  # noqa: PLC0415

    event = read_event(str(path))
    if not isinstance(event, dict):
        raise CommandError(f"{path}: An event is a JSON object with id and type.")
    return Choice({"id": "example", **event}, origin)


def of_daemon(session: Session, flow: str, steps: Collection[str], *, limit: int) -> list[Choice]:
    """The newest events of the workspace's daemon that matched one of these steps, newest first; where none runs, of
    what the last one has left. None where neither can be read."""
    with suppress(CommandError, FlowClientError, sqlite3.Error):
        transport = UnixTransport(session.socket_path)
        try:
            return list(_newest(transport, flow, steps, limit))
        except DaemonNotRunningError:
            database = state_dir(session.place) / DATABASE
            stored = newest_events(database, flow, steps, limit=limit)
            return [Choice(one.event, "the stopped daemon", _as_json(one.results)) for one in stored]
        finally:
            transport.close()
    return []


def _as_json(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Results that a step may say."""
    return {
        step: json.dumps(result, separators=(",", ":"))
        for step, result in results.items()
        if result.get("status") in _STATUSES
    }


def _newest(transport: UnixTransport, flow: str, steps: Collection[str], limit: int) -> Iterator[Choice]:
    step = next(iter(steps)) if len(steps) == 1 else None
    runs: list[RunView] = list(_ask(transport, requests.list_runs(flow=flow, step=step, limit=_LOOKED_AT)))
    found = dict.fromkeys(run.event_id for run in runs if run.event_id and run.step_name in steps)
    for event_id in list(found)[:limit]:
        event = _ask(transport, requests.get_event(event_id))
        rounds = [run for run in event.runs if run.flow_name == flow]
        yield Choice(dict(event.raw["raw"]), "the daemon", _results(rounds))


def _results(runs: Collection[RunView]) -> dict[str, str]:
    """By step, what its newest run that has ended said."""
    return _as_json(
        {
            run.step_name: {**(run.result_payload or {}), "status": run.effective_status}
            for run in sorted(runs, key=lambda run: run.round)
            if run.step_name and run.is_final
        }
    )


def _ask(transport: UnixTransport, request: Request[Any]) -> Any:
    return request.read(transport.call(request.method, request.params, timeout_s=_ANSWER_S))
