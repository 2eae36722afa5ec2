"""Draws one run: why it is as it is on one screen, or with all that is known of it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flowd.cli import printing, run_times, run_words, time_words
from flowd.cli.session import Session
from flowd_client.views.run import AttemptView, OutputEntry, RunView

_SCREEN_LINES = 24
"""The short view fits into so many, with one for what is typed next."""

_LEAST_LINES = 4
"""Of the output in the short view, however much else there is."""

_FULL_LINES = 20
"""Of each stream in the full one."""

_MAX_EARLIER = 3
"""Attempts before the last one, in the short view."""

_MAX_RESULT = 200
_SAID_ELSEWHERE = frozenset({"status", "message"})
_SAID_BY = "FLOW_RESULT "


def draw(session: Session, item: RunView, why: str, *, is_full: bool) -> None:
    """Draw a run.

    Args:
        why: Why it is as it is, as lists have it.
        is_full: Draw all that is known of it.
    """
    _headline(item, why)
    printing.line()
    facts = [*_facts(item), *_asked(session, item), *(_more_facts(item) if is_full else _earlier(item))]
    printing.fields(facts)
    if is_full:
        for attempt in item.attempts:
            printing.line()
            # The last attempt's output follows below; what earlier ones printed is in their errors.
            _draw_attempt(attempt, is_last=attempt is item.attempts[-1])
    above = 2 + sum(len(value.splitlines()) for _, value in facts if value)
    is_whole = _draw_output(item, room=None if is_full else _SCREEN_LINES - above)
    if not (is_whole and is_full):
        printing.line()
    if not is_whole:
        printing.line(f"All of its output: {session.typed('logs', item.id)}")
    if not is_full:
        printing.line(f"All about it: {session.typed('run', item.id, full=True)}")


def draw_definition(definition: Mapping[str, Any]) -> None:
    """What its last attempt was made with."""
    printing.line()
    printing.line("definition")
    printing.fields([(f"  {name}", _text(value)) for name, value in definition.items()])


def _headline(item: RunView, why: str) -> None:
    """How it is and why; for one that is tried again, why that is, as below stands when."""
    last = item.attempts[-1].why if item.attempts and _next_try(item) else None
    said = last or why or (item.message if item.is_final else None) or ""
    step = f"{item.flow_name}/{item.step_name}"
    printing.line_with_status("", item.effective_status, f"  {step}" + (f"  {' '.join(said.split())}" if said else ""))


def _facts(item: RunView) -> Iterator[tuple[str, str | None]]:
    """What the short view shows, and the full one begins with."""
    last = item.attempts[-1] if item.attempts else None
    yield "run", item.id
    yield "event", f"{item.event_id} (replay of {item.replay_of})" if item.replay_of else item.event_id
    yield "attempt", None if last is None else _which(item, last)
    yield "started" if last else "made", _times(item, last)
    ended = run_times.ended_unstarted_at(item)
    yield "ended", None if ended is None else printing.when_exactly(ended)
    yield "next try", _next_try(item)
    yield "progress", run_words.progress(item.progress) or None
    yield "labels", ", ".join(f"{name}={value}" for name, value in item.labels.items()) or None
    yield "resolved", run_words.resolution(item.resolution)
    yield "answer", run_words.answer(item.answer)
    yield "result", _result(item)


def _which(item: RunView, last: AttemptView) -> str:
    """Which attempt of how many; after an answer they are counted anew.

    >>> from flowd_client.views.run import read_run
    >>> made = {"id": "r", "definition": {"retry": {"maxAttempts": 4}}, "attempts": [{"attemptNumber": 6}]}
    >>> _which(run := read_run(made), run.attempts[-1])
    '6'
    >>> _which(run := read_run({**made, "attemptsBefore": 4}), run.attempts[-1])
    '6 (2 of 4 since it was answered)'
    """
    number, before = last.attempt_number, item.attempts_before
    most = (item.definition or {}).get("retry", {}).get("maxAttempts")
    host = f", on {last.host}" if last.host else ""
    if not isinstance(most, int) or not 1 <= number - before <= most:
        return f"{number}{host}"
    return (f"{number} ({number - before} of {most} since it was answered)" if before else f"{number} of {most}") + host


def _times(item: RunView, last: AttemptView | None) -> str:
    if last is None:
        return printing.when_exactly(item.created_at)
    began = printing.when_exactly(last.started_at)
    if last.completed_at is None and item.process_status == "running":
        return f"{began}, still running"
    return began if last.duration_ms is None else f"{began}, took {printing.took(last.duration_ms)}"


def _next_try(item: RunView) -> str | None:
    match dict(item.waiting_for or {}):
        case {"attempt": number, "of": most, "until": until}:
            at = time_words.instant(until)
            return None if at is None else f"{printing.when_exactly(at)}, attempt {number} of {most}"
        case _:
            return None


def _asked(session: Session, item: RunView) -> Iterator[tuple[str, str | None]]:
    """The commands that answer a run that asks."""
    if item.needs_attention:
        yield "yes", session.typed("approve", item.id)
        yield "no", session.typed("reject", item.id)
        yield "or", session.typed("answer", item.id, input="JSON")


def _earlier(item: RunView) -> Iterator[tuple[str, str | None]]:
    """The attempts before the last one, a line each, the newest ones."""
    earlier = item.attempts[:-1]
    told = [_in_a_line(attempt) for attempt in reversed(earlier[-_MAX_EARLIER:])]
    if len(earlier) > _MAX_EARLIER:
        told.append(f"and {len(earlier) - _MAX_EARLIER} before")
    yield "earlier", "\n".join(told) or None


def _in_a_line(attempt: AttemptView) -> str:
    status = attempt.result_status or attempt.status
    why = f": {attempt.why}" if attempt.why else ""
    return f"attempt {attempt.attempt_number} {status} {printing.when(attempt.completed_at)}{why}"


def _result(item: RunView) -> str | None:
    """A result that has more in it than the headline says, on one line."""
    if not isinstance(item.result_payload, dict) or item.result_payload.keys() <= _SAID_ELSEWHERE:
        return None
    text = json.dumps(item.result_payload, ensure_ascii=False)
    return text if len(text) <= _MAX_RESULT else f"{text[:_MAX_RESULT]}…"


def _more_facts(item: RunView) -> Iterator[tuple[str, str | None]]:
    took = None if item.duration_ms is None else printing.took(item.duration_ms)
    yield "process", item.process_status
    yield "reason", item.reason
    yield "error", _sentence(item.error)
    yield "waits", None if _next_try(item) else run_words.waiting(item)
    yield "runner", item.runner
    yield "package", item.package_hash
    yield "created", printing.when_exactly(item.created_at)
    yield "all took", took if len(item.attempts) > 1 else None
    yield "said", None if item.reported_result is None else f"{_json(item.reported_result)} (does not count)"
    if item.result_payload is not None:
        yield "result", _json(item.result_payload)


def _draw_attempt(attempt: AttemptView, *, is_last: bool) -> None:
    printing.fields(
        (
            ("attempt", str(attempt.attempt_number)),
            ("host", attempt.host),
            ("status", attempt.status),
            ("reason", attempt.reason),
            ("exit", _exit(attempt)),
            ("error", None if is_last else attempt.error),
            ("said", None if attempt.result is None else _json(attempt.result)),
            ("resolved", run_words.resolution(attempt.resolution)),
            ("was told", run_words.answer(attempt.answer)),
            ("started", printing.when_exactly(attempt.started_at)),
            ("took", None if attempt.duration_ms is None else printing.took(attempt.duration_ms)),
            ("command", _command(attempt.command)),
            ("cwd", attempt.cwd),
            ("pid", None if attempt.pid is None else str(attempt.pid)),
            (
                "memory",
                None if attempt.max_rss_bytes is None else f"{attempt.max_rss_bytes / 1_048_576:.1f} MiB at most",
            ),
            ("cpu", None if attempt.cpu_ms is None else printing.took(attempt.cpu_ms)),
            ("left behind", "\n".join(attempt.leftovers)),
            ("survivors", "\n".join(attempt.survivors)),
        )
    )


def _command(words: Sequence[str]) -> str | None:
    from shlex import join  # noqa: PLC0415 - the short view shows no commands

    return join(words) if words else None


def _exit(attempt: AttemptView) -> str | None:
    if attempt.signal is not None:
        return f"{_signal_name(attempt.signal)} ({attempt.signal})"
    return None if attempt.exit_code is None else str(attempt.exit_code)


def _signal_name(number: int) -> str:
    from signal import Signals  # noqa: PLC0415 - few runs end so

    try:
        return Signals(number).name
    except ValueError:
        return "signal"


def _sentence(error: str | None) -> str | None:
    """What stands before the excerpt of the output."""
    return None if error is None else error.split("\n", 1)[0]


def _draw_output(item: RunView, *, room: int | None) -> bool:
    """Draw the end of what it printed, in so many lines with what comes below; whether that is all of it."""
    found = ((entry.kind, _lines(entry, is_full=room is None)) for entry in item.output)
    streams = [(kind, lines) for kind, lines in found if lines]
    if room is None:
        shares = [_FULL_LINES] * len(streams)
    else:  # a stream has two lines above it, and the hints are three with the prompt below them
        shares = _shares([len(lines) for _, lines in streams], max(_LEAST_LINES, room - 2 * len(streams) - 4))
    is_whole = not item.output_truncated
    for (kind, lines), share in zip(streams, shares, strict=True):
        is_cut = len(lines) > share
        is_whole = is_whole and not is_cut
        printing.line()
        printing.line(f"{kind}{f', the last {share} of {len(lines)} lines' if is_cut else ''}:")
        for text in lines[-share:]:
            printing.line(f"  {text}")
    if item.is_final and item.attempts and not item.output:
        printing.line()
        printing.line("It printed nothing on stdout or stderr.")
    return is_whole


def _lines(entry: OutputEntry, *, is_full: bool) -> list[str]:
    """What is shown of a stream; its results are told above already."""
    if is_full:
        return entry.text.splitlines()
    # Of a line that was drawn over itself (progress), the last drawing counts.
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in entry.text.removesuffix("\n").split("\n")]
    return [line for line in lines if _SAID_BY not in line]


def _shares(counts: Sequence[int], room: int) -> list[int]:
    """How many lines of each stream are shown: half of the room for each, and what the other one leaves.

    >>> _shares([100, 100], 8), _shares([100, 2], 8), _shares([3, 100], 8), _shares([100], 8)
    ([4, 4], [6, 2], [3, 5], [8])
    """
    half = room // max(1, len(counts))
    spare = sum(max(0, half - count) for count in counts)
    return [min(count, half) if count <= half else half + spare for count in counts]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
