// What a page does by itself: it looks again when something has happened, asks before it acts, and takes keys.
// Everything works without it, too.

const base = document.documentElement.dataset.base;
const version = document.documentElement.dataset.version;

/* ---- morphing: a part that was made anew takes the place of the old one, node by node, so that focus, selection,
   scroll and what somebody is typing stay ---------------------------------------------------------------------- */

const KEPT = { DETAILS: ["open"], DIALOG: ["open"] };

export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  if (old.dataset.live !== undefined) return;
  const kept = KEPT[old.nodeName] || [];
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !kept.includes(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (!kept.includes(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  morphChildren(old, fresh);
}

function morphChildren(old, fresh) {
  const byId = new Map();
  for (const child of old.children) if (child.id) byId.set(child.id, child);
  let at = old.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    const known = wanted.id && byId.get(wanted.id);
    if (known && known !== at) {
      old.insertBefore(known, at);
      at = known;
    }
    if (at && (known || !(at.id && !wanted.id) && sameKind(at, wanted))) {
      const next = at.nextSibling;
      morph(at, wanted);
      at = next;
    } else {
      old.insertBefore(wanted, at);
    }
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function sameKind(a, b) {
  return a.nodeType === b.nodeType && a.nodeName === b.nodeName && (a.id || "") === (b.id || "");
}

/* ---- looking again ---------------------------------------------------------------------------------------------- */

const heard = { daemon: "", mark: "now", isWanted: false, isLooking: false, isOver: false };
const shown = { daemon: "", mark: 0 };  // all that happened before this mark of this daemon is on the page
[shown.daemon, shown.mark] = (document.documentElement.dataset.known || ":0").split(":");
const seen = new Map();
const connection = document.getElementById("connection");

function tell(text, link) {
  connection.textContent = text || "";
  if (text && link) {
    const a = document.createElement("a");
    [a.href, a.textContent] = link;
    connection.append(" ", a);
  }
}

async function page(url, mark, options = {}) {
  const response = await fetch(url, { ...options, headers: { "X-Flowd-Part": mark, ...options.headers } });
  if (response.status === 401) loseSession();
  const text = await response.text();
  return { response, fresh: new DOMParser().parseFromString(text, "text/html") };
}

function loseSession() {
  heard.isOver = true;
  const next = encodeURIComponent(location.pathname.slice(base.length) + location.search);
  tell("You are not signed in any more.", [`${base}/ui/login?next=${next}`, "Sign in"]);
}

function show(fresh) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const name = part.dataset.part;
    const html = part.outerHTML;
    const old = document.querySelector(`[data-part="${CSS.escape(name)}"]`);
    if (!old || seen.get(name) === html) continue;
    seen.set(name, html);
    if (old.dataset.grows !== undefined && old.dataset.hasMore) mergeRows(old, part);
    else morph(old, part);
    tellTimes(old);
  }
  if (fresh.title) document.title = fresh.title;
}

// The first page of a list whose older pages are there already: what it pushes out stays, above those.
function mergeRows(old, fresh) {
  let at = old.firstElementChild;
  for (const wanted of [...fresh.children]) {
    const known = wanted.id && document.getElementById(wanted.id);
    if (known && known.parentElement === old) {
      if (known !== at) old.insertBefore(known, at);
      at = known.nextElementSibling;
      morph(known, wanted);
    } else {
      old.insertBefore(wanted, at);
    }
  }
}

// A page that answers slowly is asked less often, and one that nobody sees not at all.
async function look() {
  if (heard.isLooking || heard.isOver || document.hidden || !heard.isWanted) return;
  heard.isLooking = true;
  heard.isWanted = false;
  const began = performance.now();
  try {
    const { daemon, mark } = heard;
    const { response, fresh } = await page(location.href, mark);
    if (response.ok) {
      show(fresh);
      Object.assign(shown, { daemon, mark });
    }
    await lookAtOlder();
  } catch {
    heard.isWanted = true;
  }
  const took = performance.now() - began;
  setTimeout(() => { heard.isLooking = false; look(); }, Math.min(30000, 4 * took));
}

function want(mark) {
  heard.mark = mark;
  if (heard.daemon === shown.daemon && Number(mark) <= Number(shown.mark)) return;
  heard.isWanted = true;
  look();
}

// A browser has six connections to a host for all its tabs, and this takes one for as long as it is open: so only a page
// that somebody sees has it, and looks again when it is seen again.
let source = null;

function follow() {
  if (source || document.hidden || heard.isOver) return;
  source = new EventSource(`${base}/ui/changes`);
  source.addEventListener("hello", (event) => {
    const hello = JSON.parse(event.data);
    heard.daemon = hello.daemon;
    if (hello.version !== version) location.reload();
    if (connection.dataset.gone) tell("");
    delete connection.dataset.gone;
  });
  source.addEventListener("mark", (event) => want(event.data));
  source.addEventListener("error", lose);
}

async function lose() {
  const lost = source;
  if (!lost || heard.isOver) return;
  connection.dataset.gone = "1";
  tell("The daemon is away. This page goes on as soon as it is back.");
  if (lost.readyState !== EventSource.CLOSED) return;  // it tries again by itself
  source = null;
  await page(location.href, "now").catch(() => {});
  setTimeout(follow, 2000);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    source?.close();
    source = null;
  } else {
    follow();
  }
});

/* ---- times in the reader's own words ---------------------------------------------------------------------------- */

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });

function tellTimes(place, which = "time[datetime]") {
  const today = new Date().toDateString();
  for (const time of place.querySelectorAll(which)) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) continue;
    const text = time.dataset.since !== undefined ? span(Date.now() - at)
      : at.toDateString() === today ? clock.format(at) : day.format(at);
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) time.title = at.toLocaleString();
  }
}

function span(ms) {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
}

/* ---- asking before acting --------------------------------------------------------------------------------------- */

function ask(question) {
  const dialog = document.createElement("dialog");
  const title = document.createElement("h2");
  title.textContent = question;
  title.id = "ask-title";
  dialog.setAttribute("aria-labelledby", title.id);
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "row";
  for (const [value, text, kind] of [["yes", "Yes", "main"], ["no", "No", ""]]) {
    const button = document.createElement("button");
    Object.assign(button, { value, textContent: text, className: kind });
    form.append(button);
  }
  dialog.append(title, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
  });
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  const question = event.submitter?.dataset.ask ?? form.dataset.ask;
  if (form.method !== "post" || question === undefined) return;
  event.preventDefault();
  const url = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
  if (!(await ask(question))) return;
  const fields = new URLSearchParams(new FormData(form, event.submitter));
  fields.set("sure", "1");
  try {
    const { response, fresh } = await page(url, "now", { method: "POST", body: fields });
    const problem = fresh.querySelector("[data-problem]");
    if (problem) tell(problem.textContent);
    else if (response.redirected && new URL(response.url).pathname !== location.pathname) location.assign(response.url);
    else if (response.ok) {
      tell("");
      show(fresh);
      form.reset();
      // The button that had the focus may be gone, with what it was about.
      if (document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
    }
  } catch {
    tell("The daemon has gone. Look whether this was done once it is back.");
  }
});

// Enter in a form of several buttons means the one that is marked, and not the first.
document.addEventListener("keydown", (event) => {
  const marked = event.key === "Enter" && event.target.matches?.("input") && event.target.form?.querySelector("[data-default]");
  if (!marked) return;
  event.preventDefault();
  event.target.form.requestSubmit(marked);
});

/* ---- older rows as one scrolls ---------------------------------------------------------------------------------- */

const scrolled = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) more(target);
}, { rootMargin: "1200px" });

async function more(link) {
  scrolled.unobserve(link);
  let answer;
  try {
    answer = await page(link.href, "now");
  } catch {
    setTimeout(() => scrolled.observe(link), 3000);  // the daemon is away
    return;
  }
  const { response, fresh } = answer;
  if (!response.ok) return;
  const rows = fresh.querySelector("[data-grows]");
  const pages = document.querySelector(".pages");
  for (const row of [...rows.children]) if (document.getElementById(row.id)) row.remove();
  rows.dataset.url = link.href;
  pages.firstElementChild.dataset.hasMore = "1";
  pages.append(rows);
  const next = fresh.querySelector("[data-more]");
  if (next) { link.replaceWith(next); scrolled.observe(next); } else link.remove();
  tellTimes(rows);
}

// Of the older pages of a list only those are asked for again that somebody sees, and where something is under way.
async function lookAtOlder() {
  for (const rows of document.querySelectorAll("[data-grows][data-url]")) {
    const { top, bottom } = rows.getBoundingClientRect();
    if (bottom < 0 || top > innerHeight || !rows.querySelector(".s-running, .s-queued")) continue;
    const { response, fresh } = await page(rows.dataset.url, heard.mark);
    for (const row of response.ok ? fresh.querySelectorAll("[data-row]") : []) {
      const old = document.getElementById(row.id);
      if (old) {
        morph(old, row);
        tellTimes(old);
      }
    }
  }
}

// What is empty is not in the address.
document.addEventListener("formdata", (event) => {
  if (event.target.method !== "get") return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-submits] select")) event.target.form.requestSubmit();
});

/* ---- keys ------------------------------------------------------------------------------------------------------- */

const KEYS = [["?", "These keys"], ["g n", "Now"], ["g r", "Runs"], ["g f", "Flows"], ["j, k", "The next row, the one before"],
  ["Enter", "Open the row"], ["/", "Search"], ["e", "The next error of an output"],
  ["Esc", "Close, or leave the field"]];

function showKeys() {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "keys-title");
  dialog.innerHTML = '<h2 id="keys-title">Keys</h2><dl></dl><form method="dialog"><button>Close</button></form>';
  for (const [keys, text] of KEYS) {
    const dt = document.createElement("dt");
    const kbd = document.createElement("kbd");
    kbd.textContent = keys;
    dt.append(kbd);
    const dd = document.createElement("dd");
    dd.textContent = text;
    dialog.querySelector("dl").append(dt, dd);
  }
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.showModal();
}

let isGoing = false;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const isTyping = event.target.matches?.("input, textarea, select, [contenteditable]");
  if (event.key === "Escape" && isTyping) { event.target.blur(); return; }
  if (isTyping) return;
  if (isGoing) {
    isGoing = false;
    const link = document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`);
    if (link) { event.preventDefault(); link.click(); }
    return;
  }
  switch (event.key) {
    case "?": showKeys(); break;
    case "g": isGoing = true; setTimeout(() => { isGoing = false; }, 1500); break;
    case "/": document.querySelector("[data-search]")?.focus(); event.preventDefault(); break;
    case "j": step(1); break;
    case "k": step(-1); break;
    default: return;
  }
});

function step(by) {
  const rows = [...document.querySelectorAll("[data-row]")];
  if (!rows.length) return;
  const here = rows.indexOf(document.activeElement?.closest("[data-row]"));
  const next = rows[Math.max(0, Math.min(rows.length - 1, here < 0 ? (by > 0 ? 0 : rows.length - 1) : here + by))];
  next.querySelector("a").focus();
  next.scrollIntoView({ block: "nearest" });
}

/* ---- begin ------------------------------------------------------------------------------------------------------ */

tellTimes(document);
setInterval(() => tellTimes(document, "time[data-since]"), 1000);
const keysButton = document.getElementById("keys-button");
if (keysButton) {
  keysButton.hidden = false;
  keysButton.addEventListener("click", showKeys);
  for (const part of document.querySelectorAll("[data-part]")) seen.set(part.dataset.part, "");
  for (const link of document.querySelectorAll("[data-more]")) scrolled.observe(link);
  follow();
}
