// Runs before a raw step that imports the helpers of the packages that flows were written for.

import path from "node:path";

import { provideHelpers } from "./helpers.mjs";

await provideHelpers(path.resolve(process.argv[1] ?? "."));
