"""Says in words why a run is as it is: what keeps it from starting, what people said of it, why it ended."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from flowd.cli import printing, time_words
from flowd.formats.person import person
from flowd_client.views.run import RunView

_MAX_PLACE = 100
"""Places are counted so far."""


def waiting(item: RunView) -> str | None:
    """What a queued run waits for; None where the daemon names nothing."""
    match dict(item.waiting_for or {}):
        case {"needs": names}:
            return f"waits for {', '.join(map(str, names))}"
        case {"person": run_id}:
            return f"waits for a person: {run_id} asks"
        case {"pause": what}:
            return f"paused with {'all flows' if what == '*' else what}"
        case {"place": place}:
            return f"place {place}" if place <= _MAX_PLACE else f"place behind {_MAX_PLACE}"
        case {"why": "foreign"}:
            return "waits for a person: `flowd resume` starts it"
        case {"until": instant} as said:
            return _until(instant, said)
        case {"package": name}:
            missing = "which is in no package: broken, or gone, and then it fails in a minute"
            return f"waits for step {item.step_name} of {name}, {missing}"
        case {"host": dict(host)}:
            return f"waits for {_able(host)}"
        case {"key": dict(key)}:
            return f"waits for {_key(key)}"
        case _:
            return None


def _able(host: Mapping[str, object]) -> str:
    """A host that can run a step.

    >>> _able({"labels": ["gpu", "big"], "hosts": 0})
    'a host with gpu and big'
    >>> _able({"labels": [], "hosts": 0}), _able({"labels": [], "hosts": 0, "name": "bert"})
    ('a host that can run its step', 'host bert, which has the folder of its round')
    """
    labels, name = host.get("labels"), host.get("name")
    if name:
        return f"host {name}, which has the folder of its round"
    able = f"with {' and '.join(map(str, labels))}" if labels and isinstance(labels, list) else "that can run its step"
    return f"a host {able}"


def _until(instant: object, said: Mapping[str, object]) -> str:
    if "attempt" in said:
        return f"attempt {said['attempt']} of {said.get('of')} {time_words.from_now(instant)}"
    match said.get("why"):
        case "notBefore":
            return f"starts at {time_words.on_the_clock(instant)}"
        case "debounce":
            seconds = time_words.left_s(instant) or 0
            return f"waits for {'a moment' if seconds < 1 else f'{seconds:.0f} s'} of quiet"
        case _:
            return f"starts {time_words.from_now(instant)}"


def progress(said: Mapping[str, Any]) -> str:
    """How far a running step is, from a view's ``progress``.

    >>> progress({"percent": 41.6, "message": "layer 3"}), progress({"message": "layer 3"}), progress({"percent": 0})
    ('42 % layer 3', 'layer 3', '0 %')
    """
    percent = said.get("percent")
    parts = ["" if percent is None else f"{percent:.0f} %", said.get("message") or ""]
    return " ".join(part for part in parts if part)


def _key(said: Mapping[str, Any]) -> str:
    """A key that others hold.

    >>> _key({"group": "repo", "key": ["x"], "holder": "run_1", "behind": 0})
    'run_1 of repo x'
    >>> _key({"group": "rel/build", "key": [], "holder": "run_1", "behind": 2})
    'run_1 of rel/build (2 before it)'
    >>> _key({"group": "g", "key": [None, {"a": 1}], "holder": "run_1"})
    'run_1 of g null {"a":1} (over 100 before it)'
    >>> _key({"group": "rel", "key": [], "holder": "run_1", "behind": 0, "asks": "run_0"})
    'run_1 of rel, which waits for a person: run_0 asks'
    """
    values = [value if isinstance(value, str) else _json(value) for value in said.get("key", ())]
    ahead = said.get("behind")
    place = "" if ahead == 0 else f" ({'over 100' if ahead is None else ahead} before it)"
    asks = f", which waits for a person: {said['asks']} asks" if said.get("asks") else ""
    return " ".join([f"{said.get('holder', 'others')} of {said.get('group')}", *values]) + asks + place


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def asked_of(item: RunView) -> str | None:
    """The run for a person's answer to which a queued run waits, or the one that holds its key; None for none."""
    match dict(item.waiting_for or {}):
        case {"person": str(run_id)} | {"key": {"asks": str(run_id)}}:
            return run_id
        case _:
            return None


def pause(said: Mapping[str, Any]) -> str:
    """What is paused, by whom and since when, from a view's pause."""
    what = "all flows are" if said.get("what") == "*" else f"{said.get('what')} is"
    return f"{what} paused, by {person(said.get('by'))} {printing.when_said(said.get('since'))}"


def pauses_of(pauses: Iterable[Mapping[str, Any]], flow: str | None) -> list[Mapping[str, Any]]:
    """Those that keep runs of this flow; of any where it is None.

    >>> found = [{"what": "*"}, {"what": "a"}, {"what": "a/b"}, {"what": "ab"}]
    >>> [one["what"] for one in pauses_of(found, "a")]
    ['*', 'a', 'a/b']
    """
    return [
        one for one in pauses if flow is None or one.get("what") == "*" or one.get("what", "").split("/")[0] == flow
    ]


def resolution(said: Mapping[str, Any] | None) -> str | None:
    """How a person has put an end right, from a view's ``resolution``."""
    if said is None:
        return None
    note = f": {said['note']}" if said.get("note") else ""
    return f"{said.get('status')} by {person(said.get('by'))} {printing.when_said(said.get('at'))}{note}"


def word(said: Mapping[str, Any]) -> str:
    """What a person said to a run that asked, from a view's ``resolution``, in few words.

    >>> word({"status": "failed", "note": "not today", "by": {"name": "ada"}}), word({"status": "changed"})
    ('rejected by ada: not today', 'resolved as changed by somebody')
    """
    verbs = {"completed": "approved", "failed": "rejected", "canceled": "its question was closed"}
    verb = verbs.get(str(said.get("status")), f"resolved as {said.get('status')}")
    note = f": {said['note']}" if said.get("note") else ""
    return f"{verb} by {person(said.get('by'))}{note}"


def answer(said: Mapping[str, Any] | None) -> str | None:
    """What a person gave a run, from a view's ``answer``."""
    if said is None:
        return None
    given = f"{json.dumps(said['input'], ensure_ascii=False)} " if "input" in said else ""
    return f"{given}by {person(said.get('by'))} {printing.when_said(said.get('at'))}"


def _with_last_end(item: RunView, waits: str) -> str:
    """What a queued run waits for, and for a retry why there is one."""
    last = item.attempts[-1].why if item.attempts and "attempt" in (item.waiting_for or {}) else None
    return f"{waits}, after: {last}" if last else waits


def why(item: RunView) -> str:
    """What it asks or waits for, why it was not run, what a person said of it, or why it ended so: what the step says
    of it, or printed last, with what flowd saw."""
    if item.needs_attention and item.message:
        return item.message
    if item.process_status == "queued":
        return _with_last_end(item, waiting(item) or "")
    if item.process_status == "running":
        attempt = f"attempt {item.attempt_count}" if item.attempt_count > 1 else ""
        return ": ".join(filter(None, (attempt, progress(item.progress))))
    if item.reason in ("needs_not_met", "superseded", "key_busy") and item.message:
        return item.message
    if item.resolution is not None:
        return word(item.resolution)
    if item.why is not None:
        return item.why
    # A daemon of an earlier version says only what it saw, and what the step said.
    error = (item.error or "").partition("\n")[0].removeprefix(f"Step {item.flow_name}/{item.step_name} ")
    said = None if item.effective_status in ("completed", "changed") else item.message
    return f"{said} ({error})" if said and error else said or error


_OUTCOMES = ("well", "failed", "canceled", "blocked", "needs_intervention")
_ALWAYS_TOLD = 3


def outcomes(counts: Mapping[str, Any]) -> str:
    """How many runs ended how, by what counts, in the words that `--status` takes.

    >>> outcomes({"well": 7, "failed": 2, "canceled": 0, "needsIntervention": 1})
    '7 well, 2 failed, 0 canceled, 1 needs_intervention'
    """
    counted = [(outcome(counts, name), name) for name in _OUTCOMES]
    told = [*counted[:_ALWAYS_TOLD], *((count, name) for count, name in counted[_ALWAYS_TOLD:] if count != "0")]
    return ", ".join(f"{count} {name}" for count, name in told)


def outcome(counts: Mapping[str, Any], name: str) -> str:
    """How many runs ended so.

    >>> outcome({"well": 7, "failed": 2010, "more": ["failed"]}, "failed")
    '2010 or more'
    """
    more = counts.get("more", ())
    bound = " or more" if name in more else " or fewer" if name == "well" and more else ""
    return f"{counts.get('needsIntervention' if name == 'needs_intervention' else name, 0)}{bound}"
