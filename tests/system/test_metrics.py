"""A daemon's figures, as Prometheus and people are told them."""

import json
import urllib.request
from collections.abc import Iterator

import pytest
from daemon_rig import Workspace, flowd_says, say, until, workspace
from http_rig import HttpPlace
from prometheus_client.parser import text_string_to_metric_families

from flowd.api.metrics import families
from flowd_client.errors import CallError


@pytest.fixture
def web() -> Iterator[HttpPlace]:
    with workspace() as place:
        place.flow("hello", f"printf 12345; {say('changed')}")
        place.flow("chain", say("completed", next=[{"type": "hello.go", "id": "caused"}]))
        place.flow("bad", "exit 3", step="[steps.retry]\nmax_attempts = 2\ndelay_ms = 1")
        place.flow("asks", say("blocked"))
        place.flow("hangs", "sleep 60")
        yield HttpPlace(place).start()


def told(web: HttpPlace) -> dict[str, float]:
    """All numbers by name and labels, as they are written."""
    read = text_string_to_metric_families(web.get("/metrics").body.decode())
    return {shown(each.name, each.labels): each.value for family in read for each in family.samples}


def shown(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def send(place: Workspace, event_id: str, event_type: str) -> None:
    with place.client() as client:
        client.dispatch_event({"id": event_id, "type": event_type, "payload": {}}, wait=True, tree=True)


def test_every_figure_that_is_documented_is_told(web: HttpPlace) -> None:
    text = web.get("/metrics").body.decode()
    introduced = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert introduced == [family.name for family in families.ALL]


def test_what_becomes_of_events_and_runs_is_counted(web: HttpPlace) -> None:
    before = told(web)
    assert before['flowd_accepts_total{outcome="accepted"}'] == 0
    assert {before[f'flowd_runs_failed_total{{flow="{flow}"}}'] for flow in ("hello", "bad")} == {0}
    for event_id, event_type in (
        ("h", "hello.go"),
        ("c", "chain.go"),
        ("b", "bad.go"),
        ("a", "asks.go"),
        ("n", "none"),
    ):
        send(web.place, event_id, event_type)
    send(web.place, "h", "hello.go")
    send(web.place, "h", "other.type")
    with pytest.raises(CallError):
        web.place.call("flow.dispatch", event={"id": "", "type": ""})
    web.place.call("flow.replay", eventId="h", wait=True)

    def is_all_told() -> dict[str, float] | None:
        now = told(web)
        return now if now['flowd_runs_ended_total{flow="hello",reason="",status="changed"}'] == 3 else None

    after = until(is_all_told, what="the end of every run")
    assert {name: value for name, value in after.items() if name.startswith("flowd_accepts")} == {
        'flowd_accepts_total{outcome="accepted"}': 6,  # one was caused
        'flowd_accepts_total{outcome="duplicate"}': 1,
        'flowd_accepts_total{outcome="conflict"}': 1,
        'flowd_accepts_total{outcome="invalid_event"}': 1,
    }
    assert {name: value for name, value in after.items() if name.startswith(("flowd_match", "flowd_runs_ended"))} == {
        'flowd_matches_total{flow="asks"}': 1,
        'flowd_matches_total{flow="bad"}': 1,
        'flowd_matches_total{flow="chain"}': 1,
        'flowd_matches_total{flow="hangs"}': 0,
        'flowd_matches_total{flow="hello"}': 2,
        'flowd_runs_ended_total{flow="asks",reason="",status="blocked"}': 1,
        'flowd_runs_ended_total{flow="bad",reason="exit",status="failed"}': 1,
        'flowd_runs_ended_total{flow="chain",reason="",status="completed"}': 1,
        'flowd_runs_ended_total{flow="hello",reason="",status="changed"}': 3,
    }
    assert {after[f'flowd_runs_failed_total{{flow="{flow}"}}'] for flow in ("hello", "asks")} == {0}
    assert after['flowd_runs_failed_total{flow="bad"}'] == 1
    assert after["flowd_replays_total"] == 1
    assert after['flowd_attempt_duration_seconds_count{status="failed"}'] == 2
    assert after['flowd_attempt_duration_seconds_count{status="completed"}'] == 5
    assert after["flowd_run_start_delay_seconds_count"] == 6
    assert after["flowd_accept_seconds_count"] == 7
    assert after['flowd_output_bytes_total{stream="stdout"}'] >= 3 * 5
    assert after["flowd_commit_seconds_count"] > before["flowd_commit_seconds_count"]
    assert after["flowd_writes_total"] >= after["flowd_commit_seconds_count"]
    assert after["flowd_runs_asking"] == 1


def test_the_queue_is_told_by_what_it_waits_for(web: HttpPlace) -> None:
    web.place.call("daemon.parallel", max=1)
    web.place.call("flow.pause", flow="hello")
    for event_id, event_type in (("1", "hangs.go"), ("2", "hangs.go"), ("3", "hello.go")):
        web.place.call("flow.dispatch", event={"id": event_id, "type": event_type, "payload": {}})
    queue = 'flowd_queue_runs{waits_for="%s"}'
    until(lambda: told(web)[queue % "place"] == 1, what="one that waits for a place")
    now = told(web)
    assert {kind: now[queue % kind] for kind in ("place", "pause", "needs", "key")} == {
        "place": 1, "pause": 1, "needs": 0, "key": 0,
    }  # fmt: skip
    assert now['flowd_queue_oldest_seconds{waits_for="key"}'] == 0
    until(lambda: told(web)['flowd_queue_oldest_seconds{waits_for="place"}'] > 0, what="an age")
    assert (now["flowd_pauses"], now["flowd_max_parallel"], now["flowd_runs_waiting"]) == (1, 1, 1)


def test_status_as_json_has_the_same_numbers(web: HttpPlace) -> None:
    send(web.place, "h", "hello.go")
    web.get("/status?metrics=true")
    told(web)  # which counts itself from then on
    prometheus = told(web)
    socket = json.loads(flowd_says(web.place, "status", "--json"))["metrics"]
    http = web.get("/status?metrics=true").json["metrics"]
    for figures in (socket, http):
        numbers = {
            shown(name, each.get("labels", {})): each["value"] for name, samples in figures.items() for each in samples
        }
        assert numbers.keys() == prometheus.keys()
        for steady in ("flowd_events", 'flowd_matches_total{flow="hello"}', "flowd_accept_seconds_sum"):
            assert numbers[steady] == prometheus[steady]


def test_who_does_not_ask_for_the_numbers_is_not_sent_them(web: HttpPlace) -> None:
    assert "metrics" not in web.place.call("daemon.status")
    assert "metrics" not in web.get("/status").json
    with web.place.client() as client:
        assert "metrics" not in client.status()
        assert client.status(metrics=True)["metrics"]["flowd_ready"] == [{"value": 1}]


def test_connections_and_packages_are_counted(web: HttpPlace) -> None:
    looks, packages = "flowd_catalog_changes_total", 'flowd_packages{state="%s"}'
    before = told(web)
    with web.place.client() as client, client.subscribe():
        client.status()
        now = told(web)
        assert (now["flowd_socket_connections"] >= 1, now["flowd_subscriptions"]) == (True, 1)
    assert before[looks] == 1
    (web.place.flow("spoilt", "true") / "flow.toml").write_text("name = 1", encoding="utf-8")
    web.place.call("daemon.reload")
    now = told(web)
    assert (now[packages % "broken"], now[packages % "flows"]) == (1, 5)
    assert now[looks] > 1
    assert now["flowd_catalog_look_seconds_count"] > before["flowd_catalog_look_seconds_count"]
    assert (now["flowd_watcher_up"], now["flowd_keeper_up"], now["flowd_ready"]) == (1, 1, 1)
    until(lambda: told(web)["flowd_subscriptions"] == 0, what="the end of the subscription")
    until(lambda: told(web)["flowd_loop_lag_seconds_count"] > 1, what="a measured lag")


def test_requests_to_the_page_are_counted_where_http_is_off() -> None:
    with workspace() as place, place.client() as client:
        place.start()
        browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        with browser.open(client.call("daemon.openPage", {})["url"], timeout=20) as page:
            assert page.status == 200
        requests = client.status(metrics=True)["metrics"]["flowd_http_requests_total"]
        routes = {each["labels"]["route"]: each["value"] for each in requests}
        assert routes["GET /ui/"] == 1
