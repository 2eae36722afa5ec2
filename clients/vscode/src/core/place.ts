/**
 * Where a workspace is, and where its daemon listens, by the rules of flowd's own clients: settings, environment, files.
 * Reads the disk, connects to nothing.
 */

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { parse } from "smol-toml";
import { textOf } from "./small_file.ts";

const MARKERS = [".codex/flowd", ".codex/flows", ".codex/flowd.toml"];
const SYSTEM_SOCKETS = "/run/flowd-sockets";

export type Environment = Readonly<Record<string, string | undefined>>;

/** The nearest of a folder and those above it that is a workspace; the folder itself where none is. */
export function findWorkspace(folder: string): string {
  for (let at = path.resolve(folder); ; at = path.dirname(at)) {
    if (isWorkspace(at)) return at;
    if (at === path.dirname(at)) return path.resolve(folder);
  }
}

export function isWorkspace(folder: string): boolean {
  if (MARKERS.some((marker) => fs.existsSync(path.join(folder, marker)))) return true;
  try {
    return fs
      .readdirSync(path.join(folder, "flows"))
      .some((name) => fs.existsSync(path.join(folder, "flows", name, "flow.toml")));
  } catch {
    return false;
  }
}

/**
 * Where the daemon of a workspace listens, whether or not one does now.
 *
 * @param told A path that somebody has set for this editor; it counts before all else, and is relative to the workspace.
 */
export function findSocket(workspace: string, told = "", environment: Environment = process.env): string {
  const root = realOr(workspace);
  if (told) return within(root, told);
  const state =
    setting(root, "state_dir", ["FLOWD_STATE_DIR", "CODEX_FLOW_BACKEND_DATA_DIR"], environment) ??
    path.join(root, ".codex/flowd");
  const wanted = setting(root, "socket", ["FLOWD_SOCKET"], environment) ?? path.join(state, "flowd.sock");
  if (fs.existsSync(wanted)) return wanted;
  const pointed = textOf(`${wanted}.path`).trim(); // left there by a daemon for which that path was too long
  if (pointed) return path.resolve(path.dirname(wanted), pointed);
  const system = systemSocket(root);
  return fs.existsSync(system) ? system : wanted;
}

/** Where systemd holds the socket of a system service. */
export function systemSocket(workspace: string): string {
  const isPlain = /^[ !#-&(-[\]-~]*$/.test(workspace);
  const name = isPlain ? workspace : `/${createHash("sha256").update(workspace).digest("hex").slice(0, 16)}`;
  return `${SYSTEM_SOCKETS}${name}.sock`;
}

/**
 * Why a socket is not to be spoken to; undefined where it is. Whoever can make a socket where a daemon's would be could
 * read what is sent there, and answer what they like. A person may have vouched for the folder: by `flowd trust`.
 */
export function distrust(socket: string, environment: Environment = process.env): string | undefined {
  const user = process.geteuid?.();
  const owner = fs.statSync(socket).uid;
  if (user === undefined || owner === user || owner === 0) return undefined;
  const place = realOr(socket);
  const folders = [SYSTEM_SOCKETS, ...trusted(environment)];
  if (folders.some((folder) => folder === "*" || lies(place, realOr(folder)))) return undefined;
  return `${socket} belongs to another user (${owner}), and nothing was sent there; \`flowd trust\` says that it may be`;
}

/** The folders that somebody has vouched for: in the environment, or in a list that nobody else could write. */
function trusted(environment: Environment): string[] {
  const list = path.join(userFolder(environment), "flowd/trusted");
  const entries = (environment["FLOWD_TRUST"] ?? "").split(":");
  try {
    const { uid, mode } = fs.statSync(list);
    if ((uid === process.geteuid?.() || uid === 0) && !(mode & 0o022)) entries.push(...textOf(list).split("\n"));
  } catch {
    // There is none.
  }
  return entries.filter(Boolean).map((entry) => (entry.endsWith("/*") ? entry.slice(0, -2) || "/" : entry));
}

function lies(file: string, folder: string): boolean {
  return file === folder || file.startsWith(folder.endsWith("/") ? folder : `${folder}/`);
}

function userFolder(environment: Environment): string {
  return environment["XDG_CONFIG_HOME"] || path.join(os.homedir(), ".config");
}

function setting(root: string, key: string, names: string[], environment: Environment): string | undefined {
  for (const name of names) {
    const value = environment[name];
    if (value) return within(root, value);
  }
  for (const file of [path.join(root, ".codex/flowd.toml"), path.join(userFolder(environment), "flowd/config.toml")]) {
    const value = configured(file, key);
    if (value) return within(root, value);
  }
  return undefined;
}

/** A path from a settings file. One that cannot be read is the daemon's to complain about. */
function configured(file: string, key: string): string | undefined {
  const text = textOf(file).replace(/^\uFEFF/, "");
  if (!text.includes(key)) return undefined;
  try {
    const value = parse(text)[key];
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}

function within(root: string, value: string): string {
  const home = value === "~" || value.startsWith("~/") ? path.join(os.homedir(), value.slice(1)) : value;
  return path.resolve(root, home);
}

function realOr(file: string): string {
  try {
    return fs.realpathSync(file);
  } catch {
    return path.resolve(file);
  }
}
