"""The handlers of the methods about notices."""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from flowd.api import params
from flowd.api.shapes import notices
from flowd.engine.engine import Engine
from flowd_client import methods as names


class NoticeMethods:
    """They show what was told outside of flowd, and try it again."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.handlers: dict[str, Callable[..., Awaitable[Any]]] = {
            names.NOTICES: self._list,
            names.RETRY_NOTICE: self._retry,
            names.TEST_NOTIFIER: self._test,
        }

    async def _list(self, given: notices.Notices) -> notices.NoticesView:
        told = self._engine.notices
        page = await told.list(
            is_failed=given.failed,
            notifier=given.notifier,
            limit=params.page_limit(given.limit),
            cursor=given.cursor,
        )
        counts = await told.counts()
        return notices.NoticesView(
            notices=[notices.notice_view(notice, told.shown(notice)) for notice in page.items],
            notifiers=[
                notices.notifier_view(notifier, told.health(name), counts.get(name))
                for name, notifier in told.notifiers.items()
            ],
            next_cursor=page.next_cursor,
        )

    async def _retry(self, given: notices.NoticeId) -> notices.OneNoticeView:
        notice = await self._engine.notices.retry(given.notice_id)
        return notices.OneNoticeView(notice=notices.notice_view(notice, self._engine.notices.shown(notice)))

    async def _test(self, given: notices.NotifierName) -> notices.TestedView:
        began_s = time.monotonic()
        sent = await self._engine.notices.test(given.notifier)
        return notices.TestedView(
            notifier=given.notifier,
            sent=sent.problem is None,
            answer=sent.answer or None,
            problem=sent.problem,
            took_ms=round((time.monotonic() - began_s) * 1000),
        )
