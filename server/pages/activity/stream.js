// Watches events as they are committed, and goes on after a break from where it was.

import { Refused, send } from "/pages/activity/api.js";

const PATH = "/api/v1/analytics_events:watch";
const SILENCE = 40_000; // ms; the service sends something every 15 s
const HIDDEN = 60_000; // ms after which a page that nobody sees stops to watch
const LONGEST_PAUSE = 30_000; // ms
const SETTLED = 10_000; // ms after which a connection counts as a good one

// Yield the server-sent events of a response, also those without data, which carry an id.
async function* readEvents(body, onChunk) {
  let rest = "";
  for await (const text of readTexts(body)) {
    onChunk();
    rest += text;
    const blocks = rest.split(/\r?\n\r?\n/);
    rest = blocks.pop();
    for (const block of blocks) yield readEvent(block);
  }
}

async function* readTexts(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read().catch(() => {
      throw new Refused(0); // cut off
    });
    if (done) return;
    yield value;
  }
}

function readEvent(block) {
  const event = { event: "message", data: [] };
  for (const line of block.split(/\r?\n/)) {
    const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
    if (name === "data") event.data.push(value);
    else if (name === "event" || name === "id") event[name] = value;
  }
  return { ...event, data: event.data.join("\n") };
}

// Watch until `signal` is aborted, or until the service refuses for good: then throw the Refused.
//
// `on.begin(isFresh)` is called for each connection: a fresh one has only what is committed from then on, another what was missed
// too. `on.event(record)` is called for each event, `on.pause(seconds, error)` when the connection is lost, before it is made again.
export async function watch(parameters, on, signal) {
  let token = "";
  let failures = 0;

  async function connect() {
    const ending = new AbortController();
    const attempt = AbortSignal.any([signal, ending.signal]);
    const end = () => ending.abort(new DOMException("given up", "TimeoutError"));
    let silent;
    let hidden;
    const hear = () => {
      clearTimeout(silent);
      silent = setTimeout(end, SILENCE);
    };
    const look = () => {
      clearTimeout(hidden);
      if (document.hidden) hidden = setTimeout(end, HIDDEN);
    };
    hear();
    document.addEventListener("visibilitychange", look, { signal: attempt });
    try {
      const query = new URLSearchParams(parameters);
      if (token) query.set("resumeToken", token);
      const response = await send(PATH, query, attempt, { accept: "text/event-stream" });
      const since = Date.now();
      for await (const { event, id, data } of readEvents(response.body, hear)) {
        if (Date.now() - since > SETTLED) failures = 0;
        if (event === "error") throw toRefused(data);
        if (event === "begin") on.begin(!token);
        if (event === "event") on.event(JSON.parse(data));
        if (id) token = id;
      }
      throw new Refused(0); // It has no end of its own.
    } finally {
      end();
      clearTimeout(silent);
      clearTimeout(hidden);
    }
  }

  while (!signal.aborted) {
    try {
      await untilSeen(signal);
      await connect();
    } catch (error) {
      if (signal.aborted) return;
      const lost = token && error instanceof Refused && error.status === 422;
      if (lost) token = ""; // too old
      else if (error instanceof Refused && !error.passes) throw error;
      const backoff = Math.min(LONGEST_PAUSE, 500 * 2 ** failures++) * (0.5 + Math.random() / 2);
      const pause = Math.max(backoff, 1000 * (error.retryAfter ?? 0));
      on.pause(pause, error);
      await sleep(pause, signal);
    }
  }
}

// The status of gRPC in what ends a stream, as its status over HTTP.
const STATUSES = { 3: 422, 4: 504, 5: 404, 7: 403, 8: 429, 12: 501, 14: 503, 16: 401 };

function toRefused(data) {
  const body = JSON.parse(data);
  const retry = body.details?.find((detail) => detail.retryDelay)?.retryDelay;
  return new Refused(STATUSES[body.code] ?? 500, body, parseFloat(retry) || 0);
}

// Wait until somebody looks, if nobody does.
function untilSeen(signal) {
  return new Promise((resolve) => {
    const settled = new AbortController();
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      settled.abort();
      resolve();
    };
    document.addEventListener("visibilitychange", look, { signal: settled.signal });
    signal.addEventListener("abort", look, { signal: settled.signal });
    look();
  });
}

// Wait, at most until there is a network again.
function sleep(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, milliseconds);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
