"""Pages as HTML, from what methods give."""

import asyncio
import re
from typing import Any

import pytest
from markupsafe import escape

from flowd.api.http.auth import Sender
from flowd.api.http.call import Call
from flowd.domain.people import Person
from flowd.page.assets import Assets
from flowd.page.render import Renderer
from flowd.page.visit import Visit

HOSTILE = "<script>alert(1)</script>\"'&\x1b[31m"


def visit(mark: int | None = None) -> Visit:
    async def receive() -> Any:
        raise AssertionError

    sender = Sender(Person("token", name="ci"))
    return Visit(Call("GET", {}, {}, [], b"", receive, sender), sender, "/ui/runs?flow=a&b", "", mark, {}, list)


def rendered(template: str, members: dict[str, Any], mark: int | None = None) -> str:
    page = Renderer(Assets()).page(template, visit(mark), members, base_path="")
    return asyncio.run(page).decode()


def a_run(**more: Any) -> dict[str, Any]:
    return {"id": "run_1", "eventId": "e 1/2", "flowName": "rel", "stepName": "build", "status": "queued",
            "effectiveStatus": "queued", "needsAttention": False, "createdAt": "2026-11-28T16:35:27.123Z",
            **more}  # fmt: skip


def runs_page(*runs: dict[str, Any], mark: int | None = None) -> str:
    members = {"runs": runs, "asked": {"flow": HOSTILE, "status": "", "eventId": ""}, "statuses": (), "cursor": "",
               "more": "", "problem": "", "asking": 2}  # fmt: skip
    return rendered("runs.html", members, mark)


@pytest.mark.parametrize(
    "run",
    [
        a_run(),
        a_run(waitingFor={"needs": [HOSTILE]}),
        a_run(status="running", effectiveStatus="running", startedAt="2026-11-28T16:35:27.123Z"),
        a_run(status="canceled", effectiveStatus="canceled"),
        a_run(status="failed", effectiveStatus="failed", error=HOSTILE, durationMs=12),
        a_run(status="completed", effectiveStatus="changed", result={"message": [HOSTILE]}, durationMs=12),
        a_run(flowName=HOSTILE, stepName=HOSTILE, eventId=HOSTILE),
    ],
)
def test_a_run_in_every_state_is_a_row_and_its_words_are_text(run: dict[str, Any]) -> None:
    page = runs_page(run)
    assert 'id="r-run_1"' in page
    assert "<script>alert" not in page
    assert "\"'&" not in page


def test_control_characters_are_seen_and_what_a_form_sends_back_has_them() -> None:
    page = runs_page(a_run(flowName="\x1b[31mred", stepName="\u202egnp", eventId="a\x9b\tb"))
    assert "␛[31mred" in page
    assert "\\u202egnp" in page
    assert "a\\x9b\tb" in page
    assert not re.search("[\x00-\x08\x0e-\x1f\x7f-\x9f\u202e]", page.replace(f'value="{escape(HOSTILE)}"', ""))
    assert f'name="flow" value="{escape(HOSTILE)}"' in page


def test_an_id_with_slashes_is_one_segment_of_a_link() -> None:
    assert 'href="/ui/events/e%201%2F2"' in runs_page(a_run())


def test_an_open_page_gets_no_head_but_its_title() -> None:
    part = runs_page(a_run(), mark=7)
    assert "<head" not in part
    assert "<nav" not in part
    assert part.startswith("<title>Runs")
    assert 'data-part="page"' in part


def test_every_page_says_how_many_ask() -> None:
    for page in (runs_page(a_run()), runs_page(a_run(), mark=7)):
        assert re.search(r'data-part="asking">2<span class="hidden"> questions</span>', page)
