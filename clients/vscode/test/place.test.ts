/** Where a workspace is, where its daemon listens, and whom not to speak to. */

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createServer } from "node:net";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, test } from "node:test";
import { Connection } from "../src/core/connection.ts";
import { distrust, findSocket, findWorkspace, systemSocket } from "../src/core/place.ts";
import { Place, until } from "./rig.ts";

const place = new Place();
after(() => place.cleanUp());
const nobody = { XDG_CONFIG_HOME: "/nonexistent" };

test("a workspace is the nearest folder with a flow package or what flowd keeps, else the folder itself", () => {
  const inside = path.dirname(place.write("app/src/deep/x", ""));
  assert.equal(findWorkspace(inside), inside);
  place.write("flows/a/flow.toml", "");
  assert.equal(findWorkspace(inside), place.folder);
  place.write("app/.codex/flowd.toml", "");
  assert.equal(findWorkspace(inside), path.join(place.folder, "app"));
});

test("the socket is where it was set, where the environment or the settings say, or in the state folder", () => {
  const other = new Place();
  const at = (name: string): string => path.join(other.folder, name);
  const usual = at(".codex/flowd/flowd.sock");
  assert.equal(findSocket(other.folder, "", nobody), usual);
  other.write(".codex/flowd/flowd.sock.path", "/run/user/1/f.sock\n");
  assert.equal(findSocket(other.folder, "", nobody), "/run/user/1/f.sock");
  other.write(".codex/flowd.toml", 'state_dir = "state"\n');
  assert.equal(findSocket(other.folder, "", nobody), at("state/flowd.sock"));
  other.write(".codex/flowd.toml", 'state_dir = "state"\nsocket = "s.sock"\n');
  assert.equal(findSocket(other.folder, "", nobody), at("s.sock"));
  assert.equal(findSocket(other.folder, "", { ...nobody, FLOWD_SOCKET: "/tmp/e.sock" }), "/tmp/e.sock");
  assert.equal(findSocket(other.folder, "mine.sock", { ...nobody, FLOWD_SOCKET: "/tmp/e.sock" }), at("mine.sock"));
  other.write(".codex/flowd.toml", "socket = [broken\n");
  assert.equal(findSocket(other.folder, "", nobody), "/run/user/1/f.sock");
  fs.rmSync(other.folder, { recursive: true });
});

test("what is no small file where one is expected is as if it were not there, and nothing waits for it", () => {
  const other = new Place();
  const usual = path.join(other.folder, ".codex/flowd/flowd.sock");
  other.write(".codex/flowd/x", "");
  for (const name of [".codex/flowd.toml", ".codex/flowd/flowd.sock.path"])
    execFileSync("mkfifo", [path.join(other.folder, name)]);
  assert.equal(findSocket(other.folder, "", nobody), usual);
  fs.rmSync(path.join(other.folder, ".codex/flowd.toml"));
  other.write(".codex/flowd.toml", `socket = "s.sock"\n${"#".repeat(1 << 20)}`);
  assert.equal(findSocket(other.folder, "", nobody), usual);
  fs.rmSync(other.folder, { recursive: true });
});

test("what only opens the door and never answers is told of once, not each time", async (t) => {
  const file = path.join(place.folder, "door.sock");
  let opened = 0;
  const server = createServer((socket) => (opened++, socket.end("no frame\r\n\r\n"))).listen(file);
  await until(() => server.listening, "a socket");
  t.after(() => server.close());
  const connection = new Connection(() => file);
  t.after(() => connection.close());
  let told = 0;
  connection.on("away", () => told++);
  connection.open();
  await until(() => opened > 2, "a third try");
  assert.equal(told, 1);
});

test("a workspace's own editor settings say neither which program is run nor where the daemon is", () => {
  const { contributes } = JSON.parse(fs.readFileSync("package.json", "utf8"));
  const settings = contributes.configuration.properties;
  for (const name of ["flowd.path", "flowd.socket"]) assert.equal(settings[name].scope, "machine", name);
});

test("a system service's socket is named as flowd names it", () => {
  assert.equal(systemSocket("/srv/my app"), "/run/flowd-sockets/srv/my app.sock");
  assert.match(systemSocket("/srv/Über"), /^\/run\/flowd-sockets\/[0-9a-f]{16}\.sock$/);
  assert.match(systemSocket("/srv/it's"), /^\/run\/flowd-sockets\/[0-9a-f]{16}\.sock$/);
  assert.match(systemSocket("/srv/a\\b"), /^\/run\/flowd-sockets\/[0-9a-f]{16}\.sock$/);
});

test("a socket of our own is trusted, and nothing is sent to another user's", async (t) => {
  const file = path.join(place.folder, "some.sock");
  const heard: string[] = [];
  const server = createServer((socket) => socket.on("data", (data) => heard.push(String(data)))).listen(file);
  await until(() => server.listening, "a socket");
  t.after(() => server.close());
  assert.equal(distrust(file), undefined);
  if (process.geteuid?.() !== 0) return t.skip("NOT TESTED: another user's socket, because only root can make one");
  fs.chownSync(file, 12345, 12345);
  assert.match(distrust(file, nobody)!, /belongs to another user \(12345\)/);
  assert.equal(distrust(file, { ...nobody, FLOWD_TRUST: `/nowhere:${place.folder}` }), undefined, "vouched for");
  assert.match(distrust(file, { ...nobody, FLOWD_TRUST: place.folder.slice(0, -1) })!, /belongs to/);
  const listed = { XDG_CONFIG_HOME: path.join(place.folder, "config") };
  const list = place.write("config/flowd/trusted", `${path.dirname(place.folder)}/*\n`);
  fs.chmodSync(list, 0o600);
  assert.equal(distrust(file, listed), undefined, "in the list");
  fs.chmodSync(list, 0o622);
  assert.match(distrust(file, listed)!, /belongs to/, "others may write that list");
  return undefined;
});
