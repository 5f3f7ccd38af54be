// Keeps the status page up to date without loading it anew, and says when it is old: when the time at which it
// was written is more than three intervals ago by the web server's clock, or else by this computer's.
"use strict";

const intervals = 3;
const banner = document.getElementById("old");
const status_ = () => document.getElementById("status");
const interval = () => Number(status_().dataset.interval);
let serverAhead = 0; // ms

async function update() {
  try {
    // not asked whether it changed: web servers answer that to the second only
    const answer = await fetch(document.URL, { cache: "no-store" });
    const now = Date.parse(answer.headers.get("Date"));
    if (now) serverAhead = now - Date.now();
    if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // not reached: what is shown gets old, which is said
  }
  check();
}

function show(page) {
  const fresh = page.getElementById("status");
  if (!fresh || fresh.outerHTML === status_().outerHTML) return;
  const focused = status_().contains(document.activeElement) && document.activeElement.getAttribute("href");
  status_().replaceWith(document.adoptNode(fresh));
  document.title = page.title;
  if (focused) status_().querySelector(`[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
}

function check() {
  const written = Number(status_().dataset.written);
  const age = (Date.now() + serverAhead) / 1000 - written;
  const old = written > 0 && age > intervals * interval();
  document.body.classList.toggle("is-old", old);
  banner.hidden = !old;
  if (old) {
    const text = `This page is old: nothing new for ${span(age)}. Either the status website does not write it any more, or it cannot be reached.`;
    if (banner.textContent !== text) banner.textContent = text;
  }
}

function span(seconds) {
  if (seconds < 120) return `${Math.round(seconds)} s`;
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`;
  return `${Math.round(seconds / 3600)} h`;
}

// the next question only after the answer to the last, however long that takes
async function keepUpdating() {
  await new Promise((done) => setTimeout(done, 1000 * interval()));
  await update();
  keepUpdating();
}

check();
setInterval(check, 1000);
keepUpdating();
