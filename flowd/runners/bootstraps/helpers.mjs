// Gives steps the helpers of the packages that flows were written for, under the names that those have.

import fs from "node:fs";
import nodeModule from "node:module";
import path from "node:path";

import * as standIn from "./flow_runtime.mjs";

export const CONTEXT = Symbol.for("flowd.context");

const HELPERS = /^@peezy[-.]tech\/(?:codex-flows\/)?flow-runtime(?:\/(?:bun|node))?$/;
const HELPER_NAMES = [];
for (const scope of ["@peezy-tech", "@peezy.tech"]) {
  for (const base of [`${scope}/codex-flows/flow-runtime`, `${scope}/flow-runtime`]) {
    HELPER_NAMES.push(base, `${base}/bun`, `${base}/node`);
  }
}

// Let the script import them where they are not installed. What can really be resolved always comes first.
export async function provideHelpers(script) {
  if (typeof Bun !== "undefined") return provideHelpersToBun(script);
  provideHelpersToRequire();
  const stub = import.meta.resolve("./flow_runtime.mjs");
  if (nodeModule.registerHooks) {
    nodeModule.registerHooks({
      resolve(specifier, context, nextResolve) {
        if (!HELPERS.test(specifier)) return nextResolve(specifier, context);
        try {
          return nextResolve(specifier, context);
        } catch {
          return { url: stub, format: "module", shortCircuit: true };
        }
      },
    });
    return;
  }
  // Older Nodes run the hook in a thread of its own, which costs milliseconds: only where it can matter.
  if (!nodeModule.register || !fs.readFileSync(script, "latin1").includes("flow-runtime")) return;
  const hook = `export async function resolve(specifier, context, nextResolve) {
    if (!${HELPERS}.test(specifier)) return nextResolve(specifier, context);
    try { return await nextResolve(specifier, context); }
    catch { return { url: ${JSON.stringify(stub)}, format: "module", shortCircuit: true }; }
  }`;
  nodeModule.register(`data:text/javascript,${encodeURIComponent(hook)}`);
}

// Where a transpiler (tsx) turns the script's imports into require calls.
function provideHelpersToRequire() {
  const load = nodeModule._load;
  nodeModule._load = function (request, ...rest) {
    if (!HELPERS.test(request)) return load.call(this, request, ...rest);
    try {
      return load.call(this, request, ...rest);
    } catch (error) {
      if (error?.code !== "MODULE_NOT_FOUND") throw error;
      return standIn;
    }
  };
}

function provideHelpersToBun(script) {
  const missing = HELPER_NAMES.filter((name) => !isInstalled(name, script) && !isMapped(name, script));
  if (missing.length === 0) return;
  Bun.plugin({
    name: "flow-runtime",
    setup(build) {
      for (const name of missing) build.module(name, () => ({ exports: { ...standIn }, loader: "object" }));
    },
  });
}

// By folder, because Bun's own resolution may go to the network for a package that is missing.
function isInstalled(name, script) {
  const folder = name.split("/").slice(0, 2).join("/");
  return foldersUp(script).some((at) => fs.existsSync(path.join(at, "node_modules", folder)));
}

// By `paths` of a tsconfig.json, or as a package of a workspace. Bun is asked only where such a file speaks of it.
function isMapped(name, script) {
  const scope = name.split("/")[0];
  const speaksOfIt = foldersUp(script).some((at) =>
    ["tsconfig.json", "jsconfig.json", "package.json"].some((file) => textOf(path.join(at, file)).includes(scope)),
  );
  if (!speaksOfIt) return false;
  try {
    Bun.resolveSync(name, path.dirname(script));
    return true;
  } catch {
    return false;
  }
}

// A configuration with what it extends, or nothing.
function textOf(file, depth = 0) {
  let text;
  try {
    text = fs.readFileSync(file, "utf8");
  } catch {
    return "";
  }
  const parent = depth < 5 ? /"extends"\s*:\s*"(\.[^"]*)"/.exec(text)?.[1] : undefined;
  if (parent === undefined) return text;
  const found = path.resolve(path.dirname(file), parent);
  return text + textOf(found.endsWith(".json") ? found : `${found}.json`, depth + 1);
}

function foldersUp(script) {
  const folders = [];
  for (let at = path.dirname(fs.realpathSync(script)); ; at = path.dirname(at)) {
    folders.push(at);
    if (at === path.dirname(at)) return folders;
  }
}
