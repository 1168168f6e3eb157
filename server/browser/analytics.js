// Sends analytics events from a page, or from an extension and its service worker: see docs/browsers.md.
//
// An event is kept in IndexedDB until the service has answered for it. It has an idempotency key, so it may be sent more
// than once: after a reload, by two tabs, or as a beacon when the page goes away.
//
// An item is an event on its way: its `text` as JSON, the `time` it was tracked, and its `id` in the database.

const MAX_WAITING = 1000; // events
const MAX_BYTES = 60000; // of an event and of a request: a browser carries 64 KiB for a page that has gone
const MAX_AGE = 28 * 86400000; // ms: for 30 days the service makes sure that no event comes back that it has erased
const BATCH_DELAY = 1000; // ms
const MAX_BACKOFF = 300000; // ms
const TIMEOUT = 30000; // ms

const inProgress = /another call/; // the one refusal of an event that passes
const encoder = new TextEncoder();
const wrap = (items) => `{"events":[${items.map((item) => item.text)}]}`;
const measure = (text) => encoder.encode(text).length;

const warn = (event, violations) => console.warn("analytics: an event was refused", event, violations);

function makeKey() {
  // crypto.randomUUID does not exist on pages without TLS.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function openDatabase(name) {
  return new Promise((resolve, reject) => {
    setTimeout(reject, 10000);
    const request = indexedDB.open(name);
    request.onupgradeneeded = () => request.result.createObjectStore("events", { keyPath: "id", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = reject;
  });
}

// Return as many of the first items as fit into one request.
function cut(items) {
  let room = MAX_BYTES - 13;
  const end = items.findIndex((item) => (room -= measure(item.text) + 1) < 0);
  return end < 0 ? items : items.slice(0, end);
}

export function createAnalytics({ url = new URL(import.meta.url).origin, key = "", onRefused = warn } = {}) {
  const address = `${url.replace(/\/$/, "")}/api/v1/events:batch`;
  const name = `analytics ${url} ${typeof key == "string" ? key : ""}`;
  const database = openDatabase(name);
  database.catch(() => {}); // Without a database, as in a sandboxed frame, events are kept in memory alone.
  const own = new Set(); // what this page has tracked and, as far as it knows, nobody has acknowledged
  let credential = typeof key == "string" ? key : ""; // the last one that was sent
  let timer;
  let failures = 0;
  let resumeAt = 0; // when the next request may be sent
  let queue = Promise.resolve();

  // Do `work` on the store, and return the result of its last request once it is committed.
  async function useStore(mode, work) {
    const transaction = (await database).transaction("events", mode);
    return new Promise((resolve, reject) => {
      const request = work(transaction.objectStore("events"));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => reject(transaction.error);
      transaction.commit(); // The browser finishes it even if the page goes away now.
    });
  }

  function refuse(event, violations) {
    Promise.resolve().then(() => onRefused(event, violations)); // An error there is the page's own.
  }

  async function forget(items) {
    const ids = new Set(items.map((item) => item.id));
    for (const item of own) if (items.includes(item) || (item.id && ids.has(item.id))) own.delete(item);
    const kept = items.filter((item) => item.id);
    if (kept[0]) await useStore("readwrite", (store) => kept.map((item) => store.delete(item.id)).pop());
  }

  function refuseAll(items, violations) {
    items.forEach((item) => refuse(JSON.parse(item.text), violations));
    return forget(items);
  }

  async function track(event) {
    const item = { time: Date.now() };
    try {
      const added = { javascript_local_time: new Date().toISOString(), ...event, idempotency_key: makeKey() };
      item.text = JSON.stringify(event.idempotency_key ? event : added);
      if (measure(item.text) > MAX_BYTES - 14) throw `is over ${MAX_BYTES} bytes`;
    } catch (error) {
      return refuse(event, [{ field: "", description: `${error}` }]);
    }
    own.add(item);
    schedule(BATCH_DELAY);
    let waiting = own.size - 1;
    try {
      const { text, time } = item;
      item.id = await useStore("readwrite", (store) => {
        store.count().onsuccess = ({ target }) => (waiting = target.result);
        return store.add({ text, time });
      });
    } catch {}
    if (waiting >= MAX_WAITING) await refuseAll([item], [{ field: "", description: `${MAX_WAITING} events wait already` }]);
    else if (!own.has(item)) await forget([item]); // It was sent before it was kept.
  }

  // Send one batch of what waits. Return whether there may be more.
  async function sendBatch() {
    const known = [...own].filter((item) => item.id);
    const kept = await useStore("readonly", (store) => store.getAll()).catch(() => null);
    const ids = new Set(kept?.map((item) => item.id));
    if (kept) for (const item of known) if (!ids.has(item.id)) own.delete(item); // Another tab has sent it.
    const waiting = [...(kept || []), ...[...own].filter((item) => !ids.has(item.id))];
    const old = waiting.filter((item) => item.time < Date.now() - MAX_AGE);
    if (old[0]) await refuseAll(old, [{ field: "", description: "could not be sent for 28 days" }]);
    const batch = cut(waiting.filter((item) => !old.includes(item)));
    if (!batch[0]) return false;
    credential = typeof key == "string" ? key : await key();
    const response = await fetch(address, {
      method: "POST",
      body: wrap(batch),
      headers: { "content-type": "application/json", ...(credential && { authorization: `Bearer ${credential}` }) },
      credentials: "omit",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    const { status } = response;
    resumeAt = Date.now() + 1000 * (+response.headers.get("retry-after") || 0);
    const answer = await response.json();
    if (status == 200) {
      const done = answer.outcomes.filter((outcome) => {
        if (!outcome.refused) return true;
        const violations = outcome.refused.violations || [];
        if (violations.some((each) => inProgress.test(each.description))) return false;
        refuse(JSON.parse(batch[outcome.index].text), violations);
        return true;
      });
      await forget(done.map((outcome) => batch[outcome.index]));
      if (done.length < batch.length) throw "in progress";
    } else if (answer.code && status < 500 && ![408, 409, 429].includes(status) && (status != 401 || typeof key == "string")) {
      const violations = answer.details.flatMap((detail) => detail.fieldViolations || []);
      await refuseAll(batch, violations[0] ? violations : [{ field: "", description: answer.message }]);
    } else throw status;
    failures = 0;
    return true;
  }

  async function sendAll() {
    try {
      while (Date.now() >= resumeAt) if (!(await sendBatch())) return;
    } catch {
      const backoff = Math.min(2 ** failures++ * 1000, MAX_BACKOFF) * (0.5 + Math.random());
      resumeAt = Math.max(resumeAt, Date.now() + backoff);
    }
    schedule(0);
  }

  // One tab sends at a time, where the browser has locks.
  function send() {
    clearTimeout(timer);
    timer = undefined;
    queue = queue.then(async () => navigator.locks.request(name, sendAll)).catch(sendAll);
  }

  function schedule(delay) {
    timer ??= setTimeout(send, Math.min(Math.max(delay, resumeAt - Date.now()), MAX_BACKOFF));
  }

  function leave() {
    let rest = [...own].filter((item) => !item.left);
    while (rest[0]) {
      const batch = cut(rest);
      const body = wrap(batch);
      if (!credential || credential.startsWith("pk_")) {
        if (!navigator.sendBeacon(address + (credential && `?key=${encodeURIComponent(credential)}`), body)) return;
      } else {
        const headers = { authorization: `Bearer ${credential}` }; // A token may not stand in a URL.
        fetch(address, { method: "POST", body, headers, credentials: "omit", keepalive: true }).catch(() => {});
      }
      batch.forEach((item) => (item.left = true));
      rest = rest.slice(batch.length);
    }
  }

  if (globalThis.document) {
    addEventListener("pagehide", leave);
    document.addEventListener("visibilitychange", () => document.visibilityState == "hidden" && leave());
  }
  addEventListener("online", () => {
    resumeAt = 0;
    send();
  });
  send(); // What was left from before.
  return { track };
}
