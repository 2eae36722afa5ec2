// Bundles the extension into dist/, or the tests into build/test: Node before 22 takes no TypeScript.
import { readdirSync, rmSync } from "node:fs";
import { build } from "esbuild";

const common = { bundle: true, platform: "node", target: "node18", format: "cjs", logLevel: "warning" };

async function extension() {
  await build({
    ...common,
    entryPoints: ["src/extension.ts"],
    outfile: "dist/extension.js",
    external: ["vscode"],
    minify: true,
    legalComments: "external",
  });
}

async function tests() {
  rmSync("build/test", { recursive: true, force: true });
  const entryPoints = readdirSync("test")
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `test/${name}`);
  await build({ ...common, entryPoints, outdir: "build/test", sourcemap: "inline" });
}

await { extension, tests }[process.argv[2]]();
