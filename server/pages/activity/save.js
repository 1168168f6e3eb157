// Saves all events of a place to a file, as the service exports them: one as JSON on each line.

import { Refused, send } from "/pages/activity/api.js";
import { append, make } from "/pages/activity/dom.js";
import { describe } from "/pages/activity/errors.js";
import { count } from "/pages/activity/format.js";
import { toQuery } from "/pages/activity/place.js";

const NEWLINE = 10;
const PART = 4 << 20; // bytes
const TAIL = 1_000; // bytes: the last line is shorter

// Return the file. It throws if the export was cut off, which it was where its last line does not say that it is the end.
async function download(query, onProgress, signal) {
  const response = await send("/api/v1/analytics_events:export", query, signal);
  const parts = [];
  let chunks = [];
  let size = 0;
  let lines = 0;
  const keep = () => {
    parts.push(new Blob(chunks)); // The browser keeps large ones on disk.
    chunks = [];
    size = 0;
  };
  const reader = response.body.getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
    if ((size += value.length) > PART) keep();
    for (const byte of value) lines += byte === NEWLINE;
    onProgress(lines);
  }
  keep();
  const blob = new Blob(parts, { type: "application/x-ndjson" });
  const last = (await blob.slice(-TAIL).text()).trimEnd().split("\n").pop();
  if (!last.startsWith('{"end"')) throw new Refused(last.startsWith('{"error"') ? 503 : 0);
  return blob;
}

function offer(blob, name) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Return a button that saves, and what it says about it.
export function makeSaver(place, signal) {
  const words = make("span", { class: "quiet", role: "status" });
  const button = make("button", { type: "button" }, "Save all as JSON lines");
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const blob = await download(toQuery(place), (lines) => (words.textContent = `${count(lines, "line")} …`), signal);
      offer(blob, `events-${new Date().toISOString().slice(0, 10)}.ndjson`);
      words.textContent = "Saved.";
    } catch (error) {
      if (!signal.aborted) words.textContent = `Nothing was saved. ${describe(error, "exports")}`;
    }
    button.disabled = false;
  });
  return append(make("div", { class: "end" }), button, words);
}
