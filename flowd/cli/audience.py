"""Prints what steps do that are only tried out: what they write as they write it, how they ended, what they sent."""

import sys
from collections.abc import Callable, Sequence

from flowd.cli import output, printing
from flowd.cli.follow.lines import LineMultiplexer
from flowd.cli.follow.progress import WithoutProgress
from flowd.domain import why
from flowd.domain.run import ATTENTION, ProcessStatus, Run
from flowd.embedded import Sent
from flowd.formats.terminal import OutputFilter
from flowd_client.wire import Stream

Write = Callable[[Stream, bytes], None]


class Watcher:
    """Implements `flowd.embedded.Audience` for people.

    Of one step it prints all as it is, of several whole lines behind their names. A terminal gets no control sequences,
    and no lines by which a step says how far it is.
    """

    def __init__(
        self, write: Write, note: Callable[[str], None], *, is_terminal: bool, steps: Sequence[str] = ()
    ) -> None:
        """Print nothing yet.

        Args:
            write: Takes what steps write, by its stream.
            note: Takes a line of flowd's own.
            is_terminal: A person reads what ``write`` takes.
            steps: Those that are to come, as FLOW/STEP, where that is known: of several, the first one's lines, too,
                are behind its name.
        """
        self._write = write
        self._note = note
        self._is_terminal = is_terminal
        self._lines = LineMultiplexer(self._put, clean=output.line_cleaner(is_raw=not is_terminal))
        self._names: dict[str, str] = {}
        self._progress: dict[str, WithoutProgress] = {}
        self._shown: dict[Stream, OutputFilter] = {}
        self._is_in_line: Stream | None = None
        self._will_be_several = len(steps) > 1
        if self._will_be_several:
            for step in steps:
                self._lines.prefix(printing.clean(step))

    def awaits(self, run: Run) -> None:
        """See `flowd.embedded.Audience`."""
        self._know(run)

    def begins(self, run: Run) -> None:
        """See `flowd.embedded.Audience`."""
        self._know(run)

    def _know(self, run: Run) -> None:
        """Know of a run of which lines come, or may: of several, each is behind its step's name."""
        self._names[run.id] = printing.clean(f"{run.flow_name}/{run.step_name}")
        if self._are_several:
            self._end_line()
            for name in self._names.values():
                self._lines.prefix(name)

    @property
    def _are_several(self) -> bool:
        return self._will_be_several or len(self._names) > 1

    def writes(self, run: Run, stream: Stream, data: bytes) -> None:
        """See `flowd.embedded.Audience`."""
        if self._is_terminal and stream == "stdout":
            data = self._progress.setdefault(run.id, WithoutProgress()).feed(data)
        self._show(run, stream, data)

    def _show(self, run: Run, stream: Stream, data: bytes) -> None:
        if self._are_several:
            self._lines.feed(self._names[run.id], stream, data)
        elif self._is_terminal:
            self._put(stream, self._shown.setdefault(stream, OutputFilter()).feed(data))
        else:
            self._put(stream, data)

    def _put(self, stream: Stream, data: bytes) -> None:
        if data:
            self._write(stream, data)
            self._is_in_line = None if data.endswith(b"\n") else stream

    def _end_line(self) -> None:
        """Begin a new line for what is not the step's: it may have ended in the middle of one."""
        for stream, shown in self._shown.items():
            self._put(stream, shown.end())
        self._shown.clear()
        if self._is_in_line is not None:
            self._put(self._is_in_line, b"\n")

    def goes_on(self, run: Run) -> None:
        """See `flowd.embedded.Audience`."""
        self._end_line()
        self._note(f"{run.flow_name}/{run.step_name}: attempt {run.attempt_count} failed, and another one follows.")

    def ends(self, run: Run) -> None:
        """See `flowd.embedded.Audience`."""
        held = self._progress.pop(run.id, None)
        if held is not None:
            self._show(run, "stdout", held.end())
        self._lines.end(self._names.get(run.id, ""))
        self._end_line()
        self._note(end_of(run))

    def sent(self, event: Sent) -> None:
        """See `flowd.embedded.Audience`."""
        self._end_line()
        self._note(sent_sentence(event))


def end_of(run: Run) -> str:
    """How a run ended, in a line, with the words that lists have for why."""
    status = run.effective_status
    words = [f"{run.flow_name}/{run.step_name} {status}"]
    if run.attempt_count > 1:
        words.append(f"after {run.attempt_count} attempts")
    if run.duration_ms is not None:
        words.append(f"in {printing.took(run.duration_ms)}")
    said = _why(run)
    return f"{' '.join(words)}{f': {said}' if said else ''}"


def _why(run: Run) -> str:
    if said := why.of_run(run):
        return said
    message = None if run.result is None else run.result.value.get("message")
    return message.partition("\n")[0] if isinstance(message, str) else ""


def is_bad(run: Run) -> bool:
    """Whether a run ended in a way that a script has to hear of."""
    return run.status is not ProcessStatus.COMPLETED or run.effective_status in {*ATTENTION, "failed"}


def sent_sentence(event: Sent) -> str:
    """What a step sent, and what became of it.

    >>> sent_sentence(Sent("e1", "built", "rel/build"))
    'rel/build sent built "e1". It stays here: no daemon gets it.'
    >>> sent_sentence(Sent("e1", "built", None, is_run=True))
    'A step sent built "e1". It runs here: no daemon gets it.'
    """
    who = event.by or "A step"
    if event.problem is not None:
        return f"{who}: a daemon would not take what comes next: {event.problem}."
    stays = "runs" if event.is_run else "stays"
    return f'{who} sent {event.type} "{event.id}". It {stays} here: no daemon gets it.'


def on_stderr(*, is_quiet: bool) -> Watcher | None:
    """For verbs whose stdout is for their result: all on stderr. None where nobody is to be told."""
    if is_quiet:
        return None
    return Watcher(
        lambda _, data: output.write("stderr", data),
        lambda line: printing.note(f"flowd: {line}"),
        is_terminal=sys.stderr.isatty(),
    )
