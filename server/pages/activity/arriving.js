// The view "Arriving": events as they are committed, and what is refused among them, newest first.

import { ask } from "/pages/activity/api.js";
import { make } from "/pages/activity/dom.js";
import { describe, makeProblem } from "/pages/activity/errors.js";
import { Feed } from "/pages/activity/feed.js";
import { formatNumber, formatSpan, ZONE } from "/pages/activity/format.js";
import { makeInvitation } from "/pages/activity/invitation.js";
import { toBounds, toFilters, toQuery } from "/pages/activity/place.js";
import { Refusals } from "/pages/activity/refusals.js";
import { makeEventRow, makeHeads, makeRefusalRow } from "/pages/activity/row.js";
import { Rows } from "/pages/activity/rows.js";
import { makeSaver } from "/pages/activity/save.js";
import { watch } from "/pages/activity/stream.js";

const LIMIT = 500; // rows, and as many that wait
const LONGEST = 2_000; // rows, after "Show older"
const PAGE = 100; // the first one
const LONG_PAGE = 200; // older ones
const RENDER_DELAY = 250; // ms, however much arrives

const toItem = (record) => ({ id: record.id, time: Date.parse(record.created_at), record });

// Show the view until `signal` is aborted. `fail` is called with a Refused that ends it.
export function showArriving(view, place, signal, fail) {
  const bounds = toBounds(place);
  const isLive = bounds.until > Date.now();
  const feed = new Feed(LIMIT);
  const waiting = new Feed(LIMIT); // what came while the rows stand still
  const refusals = new Refusals(place, signal);
  let waited = 0; // also those that `waiting` has dropped
  let older = null; // the query of the page before the oldest row, or null if there is none
  let isPaused = false;
  let isLoaded = false;
  let timer;

  const state = make("p", { class: "live", role: "status" });
  const pause = make("button", { type: "button", onclick: () => setPaused(!isHeld()) });
  const more = make("button", { type: "button", onclick: showOlder }, "Show older");
  const note = make("p", { class: "quiet" });
  const remark = make("p", { class: "quiet" });
  const empty = make("div");
  const problem = make("div");
  const list = make("ol", { class: "feed", "aria-label": "What arrived" });
  const heads = makeHeads();
  const rows = new Rows(list);
  list.addEventListener("toggle", schedule, true);
  const end = make("div", { class: "end" }, more, note);
  const saver = makeSaver(place, signal);
  view.append(make("div", { class: "bar" }, state, pause), remark, empty, heads, list, problem, end, saver);

  // An open row is being read, so the rows stay where they are.
  const isHeld = () => isPaused || list.querySelector("details[open]") !== null;

  function setPaused(paused) {
    isPaused = paused;
    if (!paused) {
      for (const open of list.querySelectorAll("details[open]")) open.open = false;
      feed.limit = LIMIT;
    }
    render();
  }

  function take(items) {
    if (isHeld()) waited += waiting.add(items);
    else feed.add(items);
    schedule();
  }

  function schedule() {
    timer ??= setTimeout(() => {
      timer = undefined;
      if (!signal.aborted) render();
    }, RENDER_DELAY);
  }

  function render() {
    if (!isHeld()) {
      feed.add(waiting.items);
      feed.trim();
      waiting.clear();
      waited = 0;
      showRows();
    }
    pause.textContent = !isHeld() ? "Pause" : waited ? `Show ${formatNumber(waited)} new` : "Resume";
    pause.hidden = !isLive || !isLoaded;
    const shown = feed.items.length;
    more.hidden = older === null || shown >= LONGEST;
    const full = older !== null && shown >= LONGEST ? " There is no room for more: set “Until” to go further back." : "";
    note.textContent = shown ? `${older ? "The newest" : "All"} ${formatNumber(shown)} are shown. Times are in ${ZONE}.${full}` : "";
    list.hidden = heads.hidden = saver.hidden = shown === 0;
    empty.replaceChildren(...(isLoaded && shown === 0 ? [makeInvitation(place, isLive)] : []));
  }

  function showRows() {
    if (feed.isCut) {
      // From the millisecond of the oldest row on, as there may be others in it.
      older = toQuery(place, { since: bounds.since, until: feed.oldestTime + 1 });
      feed.isCut = false;
    }
    const getReplays = (item) => refusals.replays.get(item.id) ?? [];
    const create = (item) =>
      item.record ? makeEventRow(item, getReplays(item), place, signal) : makeRefusalRow(item);
    rows.show(feed.items, (item) => getReplays(item).length, create);
  }

  // Read so many events that are not shown yet, or a few more, and the refusals among them.
  async function load(query, count) {
    const items = [];
    do {
      query.set("pageSize", count);
      const page = await ask("/api/v1/analytics_events", query, signal);
      older = page.nextPageToken ? new URLSearchParams(query) : null;
      older?.set("pageToken", page.nextPageToken);
      query = older;
      items.push(...page.events.map(toItem).filter((item) => !feed.ids.has(item.id)));
    } while (older && items.length < count);
    feed.limit = Math.max(LIMIT, Math.min(LONGEST, feed.items.length + items.length));
    feed.add(items);
    const oldest = older ? feed.oldestTime : bounds.since;
    await refusals.reachBack(oldest).then((found) => feed.add(found), leaveOutRefusals);
    isLoaded = true;
  }

  async function showOlder() {
    isPaused = isLive;
    problem.replaceChildren();
    try {
      await load(older, LONG_PAGE);
    } catch (error) {
      if (!signal.aborted) problem.replaceChildren(makeProblem(error, "older events", showOlder));
    }
    showRows();
    render();
  }

  async function begin() {
    feed.clear();
    waiting.clear();
    try {
      await load(toQuery(place), PAGE);
      render();
    } catch (error) {
      fail(error);
    }
  }

  function leaveOutRefusals(error) {
    if (!signal.aborted) remark.textContent = `Without refusals and replays. ${describe(error, "the refusals of this customer")}`;
  }

  function setState(name, words) {
    state.dataset.state = name;
    if (state.textContent !== words) state.textContent = words; // Only a change is read aloud.
  }

  async function follow() {
    setState("waiting", "Connecting …");
    const on = {
      begin(isFresh) {
        setState("live", "Live");
        if (isFresh) begin();
      },
      event: (record) => take([toItem(record)]),
      pause(milliseconds, error) {
        setState("waiting", `Not live. ${describe(error, "this")} Next attempt in ${formatSpan(milliseconds)}.`);
        if (!isLoaded) begin();
      },
    };
    try {
      await watch(toFilters(place), on, signal);
    } catch (error) {
      if (![404, 501].includes(error.status)) return fail(error);
      setState("off", "Not live: this service does not offer it. Reload the page to see what is new.");
      await begin();
    }
  }

  if (!refusals.areShown && place.show !== "events") {
    remark.textContent = "Refusals are not shown with these filters: what was sent in those fields is not kept.";
  }
  refusals.follow(take).catch(leaveOutRefusals);
  if (isLive) follow();
  else {
    setState("off", "Not live: these are the events until the time that you set.");
    begin();
  }
}
