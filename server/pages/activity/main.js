// The page /activity: what the URL says is looked at, and the forms that change the URL.

import { showAmounts } from "/pages/activity/amounts.js";
import { key } from "/pages/activity/api.js";
import { showArriving } from "/pages/activity/arriving.js";
import { make, makeHidden, makeValue } from "/pages/activity/dom.js";
import { describe, makeProblem } from "/pages/activity/errors.js";
import { formatMinute } from "/pages/activity/format.js";
import { FILTERS, RANGES, readPlace, toHash, VIEWS } from "/pages/activity/place.js";
import { showRecordings } from "/pages/activity/recordings.js";

const SHOW = { arriving: showArriving, amounts: showAmounts, recordings: showRecordings };
const LABELS = {
  event_type: "event type",
  recording_id: "recording",
  user_id: "user",
  entity_type: "about",
  entity_id: "lead or contact",
  tool_signature: "tool",
  since: "since",
  until: "until",
  show: "show",
};

const find = (id) => document.getElementById(id);
const [asked, access, view] = [find("asked"), find("access"), find("view")];
let place = readPlace(location.hash);
let showing = new AbortController();
let failures = 0;

function show() {
  showing.abort();
  showing = new AbortController();
  view.replaceChildren();
  find("forget").hidden = !key.get();
  find("asking").hidden = !place.customer_id;
  const name = VIEWS[place.view];
  document.title = `${place.customer_id ? `${place.customer_id}: ${name} – ` : ""}Activity – Data Analytics Service`;
  view.setAttribute("aria-label", place.customer_id ? name : "Activity");
  if (!place.customer_id) {
    const words = "see its events as they arrive, what was refused and why, and how often recordings are viewed and shared.";
    view.append(make("p", { class: "quiet" }, `Enter a customer to ${words}`));
    find("customer_id").focus();
    return;
  }
  const { signal } = showing;
  const fail = (error) => !signal.aborted && showFailure(error);
  Promise.resolve(SHOW[place.view](view, place, signal, fail)).catch(fail);
}

function showFailure(error) {
  if (error.status === undefined) throw error; // a bug: the console has it
  showing.abort();
  if ([401, 403].includes(error.status)) {
    const others = error.status === 403 ? " Or enter another key, or another customer." : "";
    find("access-why").textContent = describe(error, "the events of this customer") + others;
    access.hidden = false;
    view.replaceChildren();
    find("key").focus();
    return;
  }
  view.replaceChildren(makeProblem(error, "the events of this customer", show));
  if (!error.passes) return;
  const { signal } = (showing = new AbortController());
  const pause = Math.max(error.retryAfter * 1000, Math.min(30_000, 2_000 * 2 ** failures++));
  const again = () => !signal.aborted && show();
  setTimeout(again, pause);
  addEventListener("online", again, { signal });
}

function go(changed) {
  const hash = toHash(changed);
  if (hash === location.hash) show();
  else location.hash = hash;
}

function makeLinks(element, texts, current, toPlace) {
  const links = Object.entries(texts).map(([name, text]) =>
    make("a", { href: toHash(toPlace(name)), "aria-current": name === current && "page" }, text),
  );
  element.replaceChildren(...links);
}

// Return what an input has for a time, in the reader's time zone: "2026-11-25T13:00".
function toLocal(time) {
  const date = new Date(time);
  return new Date(date - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

function fillForms() {
  for (const input of asked.elements) {
    if (!input.name) continue;
    const value = place[input.name];
    input.value = value && input.type === "datetime-local" ? toLocal(value) : value;
  }
  makeLinks(find("views"), VIEWS, place.view, (name) => ({ ...place, view: name }));
  const { "": always, ...others } = RANGES;
  const isCounted = place.view !== "arriving"; // What is counted has a beginning.
  const range = place.since || place.until ? undefined : place.range || (isCounted ? "30d" : "");
  const ranges = isCounted ? others : { "": always, ...others };
  makeLinks(find("ranges"), ranges, range, (name) => ({ ...place, range: name, since: "", until: "" }));
  const used = [...FILTERS, "since", "until", "show"].filter((name) => place[name]);
  find("chosen").hidden = used.length === 0;
  find("chosen").replaceChildren(
    ...used.map((name) => {
      const value = ["since", "until"].includes(name) ? formatMinute(Date.parse(place[name])) : place[name];
      const without = make("a", { href: toHash({ ...place, [name]: "" }) }, makeHidden(`Without ${LABELS[name]}`), "×");
      return make("li", {}, `${LABELS[name]} `, makeValue(value), without);
    }),
  );
}

asked.addEventListener("submit", (event) => {
  event.preventDefault();
  const changed = { ...place };
  for (const input of asked.elements) {
    if (!input.name) continue;
    const [before, now] = [place[input.name], input.value];
    if (input.type !== "datetime-local") changed[input.name] = now;
    else if (!before || now !== toLocal(before)) changed[input.name] = now && new Date(now).toISOString();
  }
  if (changed.since || changed.until) changed.range = "";
  go(changed);
});

access.addEventListener("submit", (event) => {
  event.preventDefault();
  key.set(find("key").value);
  find("key").value = "";
  access.hidden = true;
  show();
});

find("forget").addEventListener("click", () => {
  key.forget();
  show();
});

function follow() {
  place = readPlace(location.hash);
  failures = 0;
  access.hidden = true;
  fillForms();
  show();
}

addEventListener("hashchange", follow);
follow();
