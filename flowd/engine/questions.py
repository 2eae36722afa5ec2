"""What people can do about runs that ask for one: look at them, put their end right, or answer them."""

import logging
from collections.abc import Callable
from dataclasses import replace

from flowd.domain import questions
from flowd.domain.errors import InvalidParamsError, RunNotFoundError
from flowd.domain.filters import EVERY_RUN, RunFilter
from flowd.domain.masking import masked_run
from flowd.domain.people import MAX_INPUT_BYTES, MAX_NOTE_CHARACTERS, Answer, Person, Resolution, ResolutionStatus
from flowd.domain.pulse import Pulse
from flowd.domain.questions import Question
from flowd.domain.redaction import Redactor
from flowd.domain.run import Run
from flowd.domain.stored import NewEventRuns, Page
from flowd.domain.trees import GOES_ON
from flowd.engine import run_log
from flowd.engine.follows import Follows
from flowd.engine.uncancellable import UncancellableCalls
from flowd.ports import Clock, OpenStore


class Questions:
    """The questions of runs, and what people say to them."""

    def __init__(
        self,
        *,
        store: OpenStore,
        follows: Follows,
        clock: Clock,
        redactor: Redactor,
        calls: UncancellableCalls,
        ring: Callable[[], None],
        pulse: Pulse,
    ) -> None:
        """``ring`` tells that a run may be ready."""
        self._store = store
        self._follows = follows
        self._clock = clock
        self._redactor = redactor
        self._calls = calls
        self._ring = ring
        self._pulse = pulse

    async def list(self, where: RunFilter = EVERY_RUN, *, limit: int, cursor: str | None = None) -> Page[Question]:
        """Runs that ask, in the order of their acceptance; see `flowd.ports.QuestionStore.questions`."""
        page = await self._store.questions(where, limit=limit, cursor=cursor)
        items = tuple(replace(one, run=masked_run(one.run, self._redactor)) for one in page.items)
        return replace(page, items=items)

    async def count(self) -> int:
        """How many runs ask."""
        return await self._store.open_questions()

    async def resolve(
        self, run_id: str, status: ResolutionStatus, *, by: Person, note: str | None = None, attempt: int | None = None
    ) -> Run:
        """Let a person's word stand in the place of a run's question; see `flowd.ports.QuestionStore.resolve`.

        What waited for it starts as places are free, even if this call is cancelled; so does what its result says is to
        come next.

        Raises:
            InvalidParamsError: The note is too long.
            FlowdError: As `flowd.ports.QuestionStore.resolve`.
        """
        if note is not None and len(note) > MAX_NOTE_CHARACTERS:
            raise InvalidParamsError(f"A note has at most {MAX_NOTE_CHARACTERS} characters.", param="note")
        resolution = Resolution(status, by, self._clock.now_ms(), note or None)
        return await self._calls.do(self._resolve(run_id, attempt, resolution))

    async def _resolve(self, run_id: str, attempt: int | None, resolution: Resolution) -> Run:
        follows: tuple[NewEventRuns, ...] = ()
        asks = await self._store.run(run_id)
        if asks is None:
            raise RunNotFoundError(run_id)
        if questions.refusal(asks, attempt) is None and asks.result is not None:
            attempt = asks.attempt_count  # what follows is of this one
            if resolution.status in GOES_ON and not asks.cancel_requested:
                follows = await self._follows.of_result(asks.result, first_run_id=asks.replay_of or asks.id)
        run = await self._store.resolve(run_id, attempt, resolution, follows)
        self._pulse.goes_on(asks)
        self._pulse.ended(run)
        self._ring()
        run_log.tell(logging.INFO, "run resolved", run, status=resolution.status, by=str(resolution.by))
        if run.error != asks.error:
            run_log.tell_conflict(run)
        return masked_run(run, self._redactor)

    async def answer(self, run_id: str, input_json: str | None, *, by: Person, attempt: int | None = None) -> Run:
        """Queue another attempt of a run that asks, which is told the answer; see `flowd.ports.QuestionStore.answer`.

        It starts even if this call is cancelled.

        Raises:
            InvalidParamsError: The input is too large.
            FlowdError: As `flowd.ports.QuestionStore.answer`.
        """
        if input_json is not None and (size := len(input_json.encode())) > MAX_INPUT_BYTES:
            raise InvalidParamsError(
                f"The input has {size} bytes of JSON; it may have {MAX_INPUT_BYTES}. Put large data into a file, and"
                " its path into the input.",
                param="input",
            )
        return await self._calls.do(self._answer(run_id, attempt, Answer(by, self._clock.now_ms(), input_json)))

    async def _answer(self, run_id: str, attempt: int | None, answer: Answer) -> Run:
        asks = await self._store.run(run_id)
        run = await self._store.answer(run_id, attempt, answer)
        if asks is not None:
            self._pulse.goes_on(asks)
        self._ring()
        run_log.tell(logging.INFO, "run answered", run, attempts_before=run.attempt_count, by=str(answer.by))
        return masked_run(run, self._redactor)
