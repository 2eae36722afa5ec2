"""JSON-RPC clients that others wrote, on the control socket: jsonrpcclient (Python, lines) and vscode-jsonrpc (LSP)."""

import json
import shutil
import socket
import subprocess
from pathlib import Path

import jsonrpcclient
import pytest
from daemon_rig import Workspace, say

TOOLS = Path(__file__).parents[2] / ".tools" / "node_modules"

NODE = """
const net = require("node:net");
const rpc = require("vscode-jsonrpc/node");
const socket = net.createConnection(process.argv[2], async () => {
  const [reader, writer] = [new rpc.StreamMessageReader(socket), new rpc.StreamMessageWriter(socket)];
  const connection = rpc.createMessageConnection(reader, writer);
  const updates = [];
  connection.onNotification("flow.update", (update) => updates.push(update.kind));
  connection.listen();
  await connection.sendRequest("flow.subscribe", { topics: ["event", "run"] });
  const event = { id: "from vscode", type: "work.go", payload: { text: "\\u2603" } };
  const answer = await connection.sendRequest("flow.dispatch", { event, wait: true });
  const byPosition = await connection.sendRequest("flow.getRun", rpc.ParameterStructures.byPosition, answer.runIds[0]);
  const failure = await connection.sendRequest("flow.getRun", { runId: "none" }).catch((error) => error);
  while (updates.length < 4) await new Promise((resolve) => setTimeout(resolve, 20));
  console.log(JSON.stringify({
    status: answer.status,
    run: byPosition.run.effectiveStatus,
    payload: (await connection.sendRequest("flow.getEvent", { eventId: event.id })).event.payload,
    failure: { code: failure.code, slug: failure.data.slug },
    updates,
  }));
  connection.dispose();
  socket.destroy();
});
"""


def test_jsonrpcclient_understands_answers_errors_and_batches(place: Workspace) -> None:
    place.flow("work", say("changed"))
    place.start()
    event = {"id": "from jsonrpcclient", "type": "work.go"}
    batch = [
        jsonrpcclient.request("flow.dispatch", {"event": event, "wait": True}),
        jsonrpcclient.request("flow.getRun", ("none",)),
        jsonrpcclient.notification("flow.listFlows"),
    ]
    with socket.socket(socket.AF_UNIX) as raw, raw.makefile("rb") as lines:
        raw.settimeout(20)
        raw.connect(str(place.socket))
        raw.sendall(json.dumps(batch).encode() + b"\n")
        dispatched, unknown = jsonrpcclient.parse(json.loads(lines.readline()))
    assert isinstance(dispatched, jsonrpcclient.Ok)
    assert dispatched.result["runs"][0]["effectiveStatus"] == "changed"
    assert isinstance(unknown, jsonrpcclient.Error)
    assert (unknown.code, unknown.data["slug"]) == (-32021, "run_not_found")


def test_vscode_jsonrpc_asks_is_answered_and_is_pushed_to(place: Workspace, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (TOOLS / "vscode-jsonrpc").exists():
        pytest.skip("NOT TESTED: vscode-jsonrpc, because node or the package is not here; `make bun` installs it")
    place.flow("work", say("changed"))
    place.start()
    script = tmp_path / "client.cjs"
    script.write_text(NODE, encoding="utf-8")
    done = subprocess.run(
        [node, str(script), str(place.socket)],
        env={"NODE_PATH": str(TOOLS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["status"], said["run"], said["payload"]) == ("accepted", "changed", {"text": "\u2603"})
    assert said["failure"] == {"code": -32021, "slug": "run_not_found"}
    assert said["updates"][0] == "event"
    assert set(said["updates"][1:]) == {"run"}
