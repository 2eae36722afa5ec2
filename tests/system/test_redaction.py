"""Secrets named in ``[environment] redact``: on no path out of the daemon, and exact where they are stored."""

import json
import os
import subprocess
import sys
import time
from typing import Any

from daemon_rig import Workspace, until

SECRET = "tr0ub4dor&three"
OWN = 'pass"word-of-the-step'
SCRIPT = r"""
printf 'token is %s\n' "$DEMO_TOKEN"; printf 'own is %s\n' "$OWN_SECRET" >&2
echo FLOW_RESULT '{"status":"changed","token":"'"$DEMO_TOKEN"'"}'
exit ${CODE:-3}
"""


def prepare(place: Workspace) -> None:
    (place.path / ".codex").mkdir()
    (place.path / ".codex/flowd.toml").write_text('[environment]\nredact = ["DEMO_TOKEN", "OWN_SECRET"]\n')
    env = f"[steps.env]\nOWN_SECRET = '{OWN}'\n"
    place.flow("tell", SCRIPT, step=env)
    place.flow("well", SCRIPT, step=f'{env}CODE = "0"\n')


def run(place: Workspace, flow: str) -> str:
    event = {"id": flow, "type": f"{flow}.go", "payload": {}}
    return str(place.call("flow.dispatch", event=event, wait=True)["runIds"][0])


def output(place: Workspace, run_id: str, **params: Any) -> str:
    return str(place.call("flow.readOutput", runId=run_id, offset=0, **params)["text"])


def test_no_view_shows_a_secret_and_the_store_keeps_every_byte(place: Workspace) -> None:
    prepare(place)
    place.start(DEMO_TOKEN=SECRET)
    failed, well = run(place, "tell"), run(place, "well")
    for method, params in (
        ("flow.getRun", {"runId": failed}),
        ("flow.getRun", {"runId": well}),
        ("flow.waitRun", {"runId": failed}),
        ("flow.listRuns", {}),
        ("flow.getEvent", {"eventId": "tell"}),
        ("flow.readOutput", {"runId": failed, "stream": "stdout", "offset": 0}),
        ("flow.readOutput", {"runId": failed, "stream": "stderr", "offset": 0}),
        ("flow.dispatch", {"event": {"id": "well", "type": "well.go", "payload": {}}}),
    ):
        answer = json.dumps(place.call(method, **params))
        assert SECRET not in answer, method
        assert "word-of-the-step" not in answer, method
        assert "***" in answer, method
    found = place.call("flow.listRuns", text="TOKEN IS ***")["runs"]
    assert [one["id"] for one in found] == [failed]
    for part in (SECRET, SECRET[:5], f"is {SECRET[0]}"):  # else a search would tell it letter by letter
        assert place.call("flow.listRuns", text=part)["runs"] == []
    view = place.call("flow.getRun", runId=failed)["run"]
    assert view["reportedResult"] == {"status": "changed", "token": "***"}
    assert "stdout:\n  token is ***\n" in view["error"]
    assert "stderr:\n  own is ***\n" in view["error"]
    assert place.call("flow.getRun", runId=well)["run"]["result"]["token"] == "***"
    shown = subprocess.run(
        [sys.executable, "-m", "flowd", "-w", str(place.path), "logs", failed], capture_output=True, timeout=30
    )
    assert shown.stdout.startswith(b"token is ***\n")
    assert shown.stderr == b"own is ***\n"
    assert SECRET not in place.log()
    with place.database() as db:
        (stdout, error), *_ = db.execute("SELECT stdout, error FROM attempts").fetchall()
    assert f"token is {SECRET}\n".encode() in stdout
    assert SECRET not in error
    # A package that is gone and a daemon that is new change nothing: the definitions of old runs are remembered.
    assert place.stop() == 0
    (place.path / "flows/tell/flow.toml").unlink()
    (place.path / "flows/well/flow.toml").unlink()
    place.start(DEMO_TOKEN="another-one-now")
    assert output(place, failed, stream="stderr") == "own is ***\n"


def test_a_follower_never_sees_the_first_half_of_a_secret(place: Workspace) -> None:
    prepare(place)
    half = len(SECRET) // 2
    place.flow("slow", f"printf 'x {SECRET[:half]}'; until [ -e go ]; do sleep 0.02; done; echo '{SECRET[half:]} y'")
    place.start(DEMO_TOKEN=SECRET)
    (run_id,) = place.call("flow.dispatch", event={"id": "s", "type": "slow.go", "payload": {}})["runIds"]
    first = place.call("flow.readOutput", runId=run_id, stream="stdout", offset=0, waitMs=10_000)
    assert (first["text"], first["nextOffset"], first["eof"]) == ("x ", 2, False)
    file = place.path / f".codex/flowd/output/{run_id}.stdout"
    until(lambda: file.stat().st_size == 2 + half, what="the first half")
    began_s = time.monotonic()
    held = place.call("flow.readOutput", runId=run_id, stream="stdout", offset=2, waitMs=300)
    assert (held["text"], held["nextOffset"]) == ("", 2)
    assert time.monotonic() - began_s >= 0.25
    (place.path / "flows/slow/go").touch()
    text, offset = "", 2
    while True:
        part = place.call("flow.readOutput", runId=run_id, stream="stdout", offset=offset, waitMs=5_000)
        text, offset = text + part["text"], part["nextOffset"]
        if part["eof"]:
            break
    assert text == "*** y\n"
    assert offset == len(f"x {SECRET} y\n")


def test_a_subscriber_sees_masks_in_output_and_in_runs(place: Workspace) -> None:
    prepare(place)
    place.start(DEMO_TOKEN=SECRET)
    run(place, "well")
    told: list[Any] = []
    with place.client() as client, client.subscribe(topics=["run", "output"], after="j0") as updates:
        for update in updates:
            told.append(update.raw)
            if update.raw.get("status") == "completed":
                break
    assert SECRET not in json.dumps(told)
    assert "token is ***\n" in "".join(part.get("text", "") for part in told)
    assert told[-1]["run"]["result"]["token"] == "***"


def test_chunks_of_any_size_put_together_are_the_masked_whole(place: Workspace) -> None:
    prepare(place)
    place.flow("many", f'for n in 1 2 3 4 5; do echo "line $n {SECRET}{SECRET} ü"; done; cat big')
    body = os.urandom(3000).hex() + SECRET
    (place.path / "flows/many/big").write_text(body * 20)  # more than goes into the database
    place.start(DEMO_TOKEN=SECRET)
    (run_id,) = place.call("flow.dispatch", event={"id": "m", "type": "many.go", "payload": {}}, wait=True)["runIds"]
    masked = "".join(f"line {n} ****** ü\n" for n in range(1, 6)) + body.replace(SECRET, "***") * 20
    for size in (1, 7, 16, 64, 4096, 65536):
        text, offset, reads = "", 0, 0
        while reads < 60:
            part = place.call("flow.readOutput", runId=run_id, stream="stdout", offset=offset, maxBytes=size)
            text, offset, reads = text + part["text"], part["nextOffset"], reads + 1
            if part["eof"]:
                break
        assert text, size
        assert masked.startswith(text), (size, text[-80:])
        assert part["eof"] is (text == masked)
