// The output of a run: what a step prints comes as it is printed, and one jumps from error to error.

const MAX_BLOCKS = 60; // of at most 64 KiB each; what is older is a link away
const PAUSE_MS = 500;
const AWAY_MS = 2000;

let following = 0;

function streams() {
  return [...document.querySelectorAll("#output pre[data-stream]")];
}

async function follow() {
  const turn = ++following;
  while (turn === following) {
    const all = streams();
    const followed = all.filter((pre) => pre.dataset.follow);
    if (!followed.length) return;
    if (document.hidden) {
      await new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
      continue;
    }
    const query = new URLSearchParams({ attempt: document.getElementById("output").dataset.attempt, wait: "1" });
    if (query.get("attempt") === "0") return; // looked at anew as soon as one begins
    for (const pre of all) {
      query.set(pre.dataset.stream, pre.dataset.next);
      query.set(`${pre.dataset.stream}Seen`, pre.dataset.seen);
      query.set(`${pre.dataset.stream}Pen`, pre.dataset.pen);
    }
    let pause = PAUSE_MS;
    const unseen = new AbortController(); // a tab that nobody sees keeps no connection: a browser has six for all
    const leave = () => document.hidden && unseen.abort();
    document.addEventListener("visibilitychange", leave);
    try {
      const response = await fetch(`${followed[0].dataset.follow}?${query}`, { signal: unseen.signal });
      if (turn !== following) return;
      if (response.status === 401 || response.status === 404) return;
      if (response.ok) take(new DOMParser().parseFromString(await response.text(), "text/html"));
      else pause = AWAY_MS;
    } catch {
      pause = AWAY_MS;
    } finally {
      document.removeEventListener("visibilitychange", leave);
    }
    await new Promise((resolve) => { setTimeout(resolve, pause); });
  }
}

function take(fresh) {
  for (const piece of fresh.querySelectorAll("[data-stream]")) {
    const pre = document.querySelector(`#output pre[data-stream="${piece.dataset.stream}"]`);
    if (!pre || !pre.dataset.follow) continue;
    const isAtEnd = pre.scrollTop + pre.clientHeight >= pre.scrollHeight - 40;
    const [lines, open] = piece.children;
    const own = pre.querySelector("[data-lines]");
    if (lines.childNodes.length) {
      const block = document.createElement("span");
      block.append(...lines.childNodes);
      own.append(block);
      while (own.childNodes.length > MAX_BLOCKS) own.firstChild.remove();
    }
    pre.querySelector("[data-open]").replaceChildren(...open.childNodes);
    Object.assign(pre.dataset, { next: piece.dataset.next, seen: piece.dataset.seen, pen: piece.dataset.pen });
    if (piece.dataset.end) delete pre.dataset.follow;
    if (Number(piece.dataset.seen)) {
      pre.parentElement.hidden = false;
      pre.parentElement.querySelector("[data-size]").textContent = piece.dataset.size;
      pre.parentElement.querySelector("[data-whole]").hidden = false;
      document.querySelector("[data-nothing]")?.remove();
    }
    if (isAtEnd) pre.scrollTop = pre.scrollHeight;
  }
}

// Another attempt has begun: its output takes the place of the last one's, unless somebody looks at that one by name.
async function turnTo(latest) {
  const section = document.getElementById("output");
  if (!section || section.dataset.chosen !== undefined || section.dataset.attempt === latest) return;
  const response = await fetch(location.href);
  if (!response.ok) return;
  const fresh = new DOMParser().parseFromString(await response.text(), "text/html").getElementById("output");
  if (!fresh) return;
  section.replaceWith(fresh);
  begin();
}

function nextError() {
  const hot = streams().filter((pre) => !pre.parentElement.hidden).flatMap((pre) => [...pre.querySelectorAll(".hot")]);
  if (!hot.length) return;
  const at = hot.findIndex((line) => line.classList.contains("here"));
  hot[at]?.classList.remove("here");
  const next = hot[(at + 1) % hot.length];
  next.classList.add("here");
  next.scrollIntoView({ block: "center" });
}

function begin() {
  for (const pre of streams()) if (!location.search.includes(`${pre.dataset.stream}=`)) pre.scrollTop = pre.scrollHeight;
  const button = document.getElementById("next-error");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", nextError);
  }
  follow();
}

document.addEventListener("keydown", (event) => {
  if (event.key !== "e" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches?.("input, textarea, select") || document.querySelector("dialog[open]")) return;
  nextError();
});

const attempts = document.querySelector("[data-latest]");
new MutationObserver(() => turnTo(attempts.dataset.latest)).observe(attempts, { attributeFilter: ["data-latest"] });
begin();
