// Makes cards/<tag>.md and cards/<tag>.json in the workspace. The default export makes this script module-style: flowd
// calls it with the context, and what it returns is the step's result.
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

interface Context {
  flow: {
    config: { link: string };
    event: { id: string; occurredAt?: string; receivedAt: string; payload: { repo: string; tag: string; title?: string } };
  };
}

export default async function makeCard({ flow }: Context) {
  const { repo, tag, title } = flow.event.payload;
  const card = {
    title: title ?? `${repo} ${tag}`,
    date: (flow.event.occurredAt ?? flow.event.receivedAt).slice(0, 10),
    link: flow.config.link.replace("{repo}", encodeURI(repo)).replace("{tag}", encodeURIComponent(tag)),
  };
  console.log(`making a card for ${card.title}`);

  const folder = join(process.cwd(), "cards"); // the step's cwd is "@", the workspace
  const name = tag.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^\.+/, "");
  await mkdir(folder, { recursive: true });
  await write(join(folder, `${name}.json`), JSON.stringify(card, null, 2) + "\n");
  await write(join(folder, `${name}.md`), `### [${card.title}](${card.link})\n\nReleased on ${card.date}.\n`);
  return {
    status: "changed",
    message: `Made a card for ${card.title}.`,
    artifacts: { path: join(folder, `${name}.md`), card },
  };
}

async function write(path: string, text: string) {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}
