"""Who answers need not know an id: a step or ``@last`` means the run that asks, where newer ones wait, too."""

from command_rig import completed
from daemon_rig import Workspace, flowd_says, say

ASKS = say("needs_intervention", message="Publish v1?")


def asks(place: Workspace, flow: str, event_id: str) -> str:
    answer = place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go"}, wait=True)
    return str(answer["runIds"][0])


def queued(place: Workspace, flow: str, event_id: str) -> str:
    """A run behind a pause."""
    place.call("flow.pause", flow=flow)
    return str(place.call("flow.dispatch", event={"id": event_id, "type": f"{flow}.go"})["runIds"][0])


def test_a_step_and_the_word_last_mean_the_run_that_asks(place: Workspace) -> None:
    place.flow("gate", ASKS)
    place.flow("other", ASKS)
    place.start()
    first = asks(place, "gate", "e1")
    waiting = queued(place, "gate", "e2")
    shown = completed(place, "approve", "")
    assert shown == ["@last", first, "gate/main"]
    assert completed(place, "answer", "g") == ["gate/main"]
    assert waiting not in completed(place, "reject", "run_")
    assert first in flowd_says(place, "approve", "gate/main")

    second = asks(place, "other", "e3")
    said = " ".join(flowd_says(place, "approve", "gate/main", code=5).split())
    assert f"No run of gate/main asks for a person; its newest, {waiting}, is queued." in said
    assert f"What asks: other/main ({second}); see `flowd attention" in said
    assert "Flow gate has no step 'none'." in flowd_says(place, "reject", "gate/none", code=4)
    queued(place, "other", "e4")
    assert f"{second} counts as failed" in flowd_says(place, "reject", "@last")
    assert "No run asks for a person." in flowd_says(place, "resolve", "@last", "--as", "changed", code=5)


def test_where_several_of_a_step_ask_none_is_taken_and_each_is_named(place: Workspace) -> None:
    place.flow("gate", ASKS)
    place.start()
    ids = [asks(place, "gate", f"e{n}") for n in range(2)]
    said = " ".join(flowd_says(place, "approve", "gate/main", code=5).split())
    assert f"2 runs of gate/main ask: {', '.join(ids)}. Name one; `flowd attention -w {place.path} --flow gate" in said
    assert completed(place, "approve", "") == ["@last", *reversed(ids)]


def test_an_event_sent_again_asks_what_its_newest_round_asks(place: Workspace) -> None:
    place.flow("gate", ASKS)
    place.start()
    place.call("flow.resolveRun", runId=asks(place, "gate", "e1"), status="completed")
    sent = ("dispatch", "--id", "e1", "--type", "gate.go", "--wait")
    assert "asks" not in flowd_says(place, *sent, code=0)
    (second,) = place.call("flow.replay", eventId="e1", wait=True)["runIds"]
    said = " ".join(flowd_says(place, *sent, code=1).split())
    assert f"gate/main asks: Publish v1? flowd: `flowd approve {second}" in said
