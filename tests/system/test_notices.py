"""Failures and questions are told outside of flowd, whatever happens to the daemon and to who is told."""

import base64
import contextlib
import json
import random
import time
from typing import Any

from command_copy import run_flowd
from daemon_rig import Workspace, until
from http_rig import HttpPlace

from flowd_client.errors import CallError

MAIL = 'name = "mail"\ncommand = ["./tell"]\ntimeout_s = 60\n'
TELL = "#!/bin/sh\ncat >> told; echo >> told\n"


def notify(place: Workspace, text: str = MAIL, *, script: str = TELL) -> None:
    """Have one notifier: a program that writes down what it is told."""
    (place.path / "tell").write_text(script)
    (place.path / "tell").chmod(0o755)
    folder = place.path / ".codex"
    folder.mkdir(exist_ok=True)
    (folder / "flowd.toml").write_text(f"[[notify]]\n{text}")


def told(place: Workspace) -> list[dict[str, Any]]:
    """What the program was told so far."""
    file = place.path / "told"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def fire(place: Workspace, event_id: str, kind: str, **payload: Any) -> None:
    with place.client() as client:
        client.dispatch_event({"id": event_id, "type": kind, "payload": payload}, wait=True)


def flowd(place: Workspace, *words: str, code: int = 0) -> str:
    done = run_flowd(*words, "-w", place.path)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_failures_questions_and_recoveries_are_told(place: Workspace) -> None:
    notify(place)
    place.flow("build", 'test -e ok || { echo no >&2; exit 3; }; echo \'FLOW_RESULT {"status": "completed"}\'')
    place.flow("ship", 'echo \'FLOW_RESULT {"status": "needs_intervention", "message": "Publish v1?"}\'')
    place.start()
    fire(place, "e1", "build.go", secret="hush")
    (failed,) = until(lambda: told(place), what="the notice")
    assert failed["type"] == "flowd.failed"
    assert failed["text"] == "build/main failed: no (exit code 3). Event e1."
    assert {name: failed[name] for name in ("flow", "step", "eventId", "eventType", "reason", "failures")} == {
        "flow": "build",
        "step": "main",
        "eventId": "e1",
        "eventType": "build.go",
        "reason": "exit",
        "failures": 1,
    }
    assert failed["workspace"] == str(place.path)
    assert "hush" not in json.dumps(failed)
    fire(place, "e2", "ship.go")
    asked = until(lambda: told(place)[1:], what="the question")[0]
    run_id = asked["runId"]
    assert (asked["type"], asked["message"]) == ("flowd.needs_intervention", "Publish v1?")
    assert asked["commands"][0] == f"flowd approve {run_id} -w {place.path}"
    (place.path / "flows/build/ok").touch()
    fire(place, "e3", "build.go")
    well = until(lambda: told(place)[2:], what="the recovery")[0]
    assert (well["type"], well["eventId"], well["text"]) == (
        "flowd.recovered",
        "e3",
        "build runs well again. Event e3.",
    )
    until(lambda: {one["state"] for one in place.call("flow.notices")["notices"]} == {"sent"}, what="the record")
    assert "troubles" not in place.call("daemon.status")
    assert "build/main failed" in flowd(place, "notices")


def test_a_notice_outlives_the_daemon_that_was_killed_before_it_could_send_it(place: Workspace) -> None:
    notify(place)
    place.flow("build", "exit 1")
    place.start()
    fire(place, "e1", "build.go")
    place.kill()  # within the two seconds in which it gathers
    place.start()
    until(lambda: place.call("flow.notices")["notices"][0]["state"] == "sent", what="the notice")
    assert {one["eventId"] for one in told(place)} == {"e1"}
    assert len({one["id"] for one in told(place)}) == 1


def test_a_daemon_that_is_killed_while_it_tells_leaves_no_process_and_tells_again(place: Workspace) -> None:
    notify(place, script="#!/bin/sh\ncat >> told; echo >> told\ntest -e go || { sleep 600 & sleep 600; }\n")
    place.flow("build", "exit 1")
    place.start()
    fire(place, "e1", "build.go")
    until(lambda: told(place), what="the first try")
    place.kill()
    until(lambda: not place.processes(str(place.path / "tell")), what="their end")
    (place.path / "go").touch()
    place.start()
    until(lambda: place.call("flow.notices")["notices"][0]["state"] == "sent", what="the second try")
    assert len({one["id"] for one in told(place)}) == 1
    assert len(told(place)) == 2


def test_a_notifier_that_fails_is_shown_everywhere_and_its_notice_sent_on_demand(place: Workspace) -> None:
    notify(place, script="#!/bin/sh\necho no relay >&2; exit 75\n")
    place.flow("build", "exit 1")
    place.start()
    fire(place, "e1", "build.go")
    trouble = until(lambda: place.call("daemon.status").get("troubles"), what="the trouble")[0]
    assert trouble == {
        "what": "notices",
        "problem": "mail could not send 1 notice, and tries again: the program exited with 75: no relay",
    }
    assert "no relay" in flowd(place, "status")
    assert "no relay" in flowd(place, "doctor")
    (notice,) = place.call("flow.notices")["notices"]
    assert (notice["state"], notice["problem"]) == ("waiting", "the program exited with 75: no relay")
    assert "mail could not send a test: the program exited with 75" in flowd(place, "notices", "test", "mail", code=1)
    assert f"{notice['id']} is sent by mail now" in flowd(place, "notices", "retry", notice["id"])
    notify(place)
    assert "has sent a test" in flowd(place, "notices", "test", "mail")
    assert "flowd.test" in [one["type"] for one in told(place)]

    def is_sent() -> bool:
        with contextlib.suppress(CallError):  # it was sent between the two
            if place.call("flow.notices")["notices"][0]["state"] != "sent":
                place.call("flow.retryNotice", noticeId=notice["id"])
                return False
        return True

    until(is_sent, what="the next try")
    until(lambda: place.call("flow.notices")["notices"][0]["state"] == "sent", what="its record")
    assert "was sent at" in flowd(place, "notices", "retry", notice["id"], code=5)
    assert "Unknown notifier: chat. The settings have mail." in flowd(place, "notices", "test", "chat", code=4)
    metrics = place.call("daemon.status", metrics=True)["metrics"]
    assert metrics["flowd_notices_sent_total"] == [{"value": 1, "labels": {"notifier": "mail"}}]
    assert metrics["flowd_notices_failed_total"][0]["value"] >= 1
    assert metrics["flowd_notices_waiting"] == [{"value": 0, "labels": {"notifier": "mail"}}]


def test_a_reload_takes_notifiers_into_force_and_away(place: Workspace) -> None:
    place.flow("build", "exit 1")
    place.start()
    fire(place, "e1", "build.go")
    assert place.call("flow.notices")["notices"] == []
    notify(place)
    assert "notifiers" in flowd(place, "reload")
    fire(place, "e2", "build.go")
    assert until(lambda: told(place), what="the notice")[0]["eventId"] == "e2"
    (place.path / ".codex/flowd.toml").write_text("")
    flowd(place, "reload")
    fire(place, "e3", "build.go")
    assert [one["eventId"] for one in place.call("flow.notices")["notices"]] == ["e2"]


def test_secrets_are_masked_in_what_is_told(place: Workspace) -> None:
    notify(place, f'{MAIL}[environment]\nredact = ["TOKEN"]\n')
    place.flow("build", 'echo "FLOW_RESULT {\\"status\\": \\"failed\\", \\"message\\": \\"bad $TOKEN\\"}"')
    place.start(TOKEN="hush-hush")
    fire(place, "e1", "build.go")
    (failed,) = until(lambda: told(place), what="the notice")
    assert failed["message"] == "bad ***"
    assert "hush" not in (place.path / "told").read_text()
    assert "hush" not in flowd(place, "notices", "--json")


def test_a_tree_that_fails_in_many_places_is_told_once(place: Workspace) -> None:
    notify(place)
    causes = [{"id": f"c{n}", "type": "leaf.go", "payload": {}} for n in range(10)]
    result = json.dumps({"status": "completed", "next": causes})
    place.flow("head", f"echo 'FLOW_RESULT {result}'")
    place.flow("leaf", "exit 1")
    place.start()
    with place.client() as client:
        client.dispatch_event({"id": "root", "type": "head.go", "payload": {}}, wait=True, tree=True)
    (failed,) = until(lambda: told(place), what="the notice")
    assert failed["rootEventId"] == "root"
    (notice,) = until(lambda: place.call("flow.notices")["notices"], what="the record")
    assert notice["failures"] == 10


def test_kills_of_the_daemon_at_any_moment_lose_no_notice(place: Workspace) -> None:
    notify(place)
    place.flow("build", "sleep 0.$(( $(date +%N | tail -c 3 | sed 's/^0//') % 9 )); exit 1")
    chance, sent = random.Random(6), []
    for attempt in range(4):
        place.start()
        for number in range(4):
            event = {"id": f"e{attempt}-{number}", "type": "build.go", "payload": {}}
            place.call("flow.dispatch", event=event)
            sent.append(event["id"])
            time.sleep(chance.random() / 4)  # whatever it is at then
        place.kill()
    place.start()

    def all_told() -> bool:
        notices = place.call("flow.notices", limit=100)["notices"]
        return sorted(one["eventId"] for one in notices if one["state"] == "sent") == sorted(sent)

    until(all_told, what="all notices", bound_s=60)
    assert {one["eventId"] for one in told(place)} == set(sent)
    assert len({one["id"] for one in told(place)}) == len(sent)


def test_notices_are_there_over_http_and_link_to_the_page(place: Workspace) -> None:
    notify(place)
    place.flow("build", "exit 1")
    http = HttpPlace(place).start()
    fire(place, "e/1", "build.go")
    (failed,) = until(lambda: told(place), what="the notice")
    assert failed["links"]["event"] == f"{http.url}/ui/events/e%2F1"
    assert http.get("/ui/events/e%2F1").status in (200, 303)
    until(lambda: http.get("/notices").json["notices"][0]["state"] == "sent", what="the record")
    assert http.get("/notices?failed=true").json["notices"] == []
    assert http.get("/notices").json["notifiers"][0]["name"] == "mail"
    assert http.post("/notifiers/mail/test").json["sent"] is True
    assert (http.post("/notifiers/chat/test").status, http.post("/notices/n/retry").status) == (404, 404)
    assert http.post(f"/notices/{failed['id']}/retry").slug == "not_retryable"


def test_a_trouble_is_on_the_page(place: Workspace) -> None:
    notify(place, script="#!/bin/sh\necho no relay; exit 75\n")
    place.flow("build", "exit 1")
    http = HttpPlace(place).start()
    fire(place, "e1", "build.go")
    until(lambda: place.call("daemon.status").get("troubles"), what="the trouble")
    assert "no relay" in http.get("/ui/").body.decode()


def test_another_flowd_takes_a_notice_as_an_event(place: Workspace) -> None:
    secret = f"whsec_{base64.b64encode(b'0123456789abcdef01234567').decode()}"
    (place.path / "secret").write_text(f"{secret}\n")
    hook = '[hooks.peer]\nkind = "standard-webhooks"\nsecret_file = "secret"\n'
    http = HttpPlace(place)
    http.configure(hook)
    place.flow("build", "exit 1")
    place.flow("answer", "true", trigger="flowd.failed")
    http.start()
    http.configure(f'{hook}[[notify]]\nflows = ["build"]\nwebhook = "{http.url}/hooks/peer"\nsecret_file = "secret"\n')
    flowd(place, "reload")
    fire(place, "e1", "build.go")
    events = until(lambda: place.call("flow.listEvents", type="flowd.failed")["events"], what="the event")
    (notice,) = place.call("flow.notices")["notices"]
    assert [event["id"] for event in events] == [notice["id"]]
