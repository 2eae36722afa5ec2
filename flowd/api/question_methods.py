"""The handlers of the methods about runs that ask for a person."""

from collections.abc import Awaitable, Callable
from typing import Any

from flowd.api import filters, json, params
from flowd.api.shapes import questions, runs
from flowd.domain.people import Person
from flowd.engine.engine import Engine
from flowd_client import methods as names


class QuestionMethods:
    """They list the questions and take answers to them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.ATTENTION: self._attention,
            names.RESOLVE_RUN: self._resolve_run,
            names.ANSWER_RUN: self._answer_run,
        }

    async def _attention(self, given: questions.Attention) -> questions.QuestionsView:
        where = filters.of_named(given.flow, given.step, given.label)
        page = await self._engine.questions.list(where, limit=params.page_limit(given.limit), cursor=given.cursor)
        views = [questions.question_view(question) for question in page.items]
        return questions.QuestionsView(questions=views, next_cursor=page.next_cursor)

    async def _resolve_run(self, given: questions.ResolveRun, by: Person) -> runs.OneRunView:
        run = await self._engine.questions.resolve(
            given.run_id, given.status, by=by, note=given.note, attempt=given.attempt
        )
        return runs.OneRunView(run=runs.run_view(run))

    async def _answer_run(self, given: questions.AnswerRun, by: Person) -> runs.OneRunView:
        text = None if given.input is None else json.encode(given.input).decode()
        run = await self._engine.questions.answer(given.run_id, text, by=by, attempt=given.attempt)
        return runs.OneRunView(run=runs.run_view(run))
