// What was refused of a customer's events, and which of them were sent again. They are asked for every few seconds.

import { ask } from "/pages/activity/api.js";
import { FILTERS, toBounds } from "/pages/activity/place.js";

const PATH = "/api/v1/refusals";
const PAGE = 100;
const PACE = 2_000; // ms
const OVERLAP = 10_000; // ms; the workers write down what they refuse about once a second
const MOST = 2_000; // that are kept

const toItem = (refusal) => ({ id: refusal.id, time: Date.parse(refusal.created_at), refusal });

export class Refusals {
  constructor(place, signal) {
    this.place = place;
    this.signal = signal;
    this.bounds = toBounds(place);
    this.items = []; // in no order
    this.replays = new Map(); // by the id of the event
    this.seen = new Set();
    this.newest = 0;
    this.next = this.toQuery(this.bounds.since);
  }

  // Whether the filters leave any refusals: of those, only the tool is known.
  get areShown() {
    return this.place.show !== "events" && !FILTERS.some((name) => name !== "tool_signature" && this.place[name]);
  }

  toQuery(since) {
    const query = new URLSearchParams({ customer_id: this.place.customer_id, pageSize: PAGE, includeReplays: "true" });
    if (since > 0) query.set("since", new Date(since).toISOString());
    return query;
  }

  // Ask for a page. Return the query of the next one, or null, and what was not seen before.
  async read(query) {
    const page = await ask(PATH, query, this.signal);
    const items = page.refusals.map(toItem).filter((item) => !this.seen.has(item.id));
    const next = page.nextPageToken ? new URLSearchParams(query) : null;
    next?.set("pageToken", page.nextPageToken);
    const shown = [];
    for (const item of items) {
      this.seen.add(item.id);
      this.newest = Math.max(this.newest, item.time);
      const { replayedEventId, tool_signature: tool } = item.refusal;
      if (replayedEventId) this.replays.set(replayedEventId, [...(this.replays.get(replayedEventId) ?? []), item]);
      else if (this.areShown && (!this.place.tool_signature || tool === this.place.tool_signature)) shown.push(item);
    }
    const fitting = shown.filter((item) => item.time < this.bounds.until);
    this.items = [...this.items, ...fitting].slice(-MOST);
    return { next, items: fitting, oldest: Math.min(...page.refusals.map((refusal) => Date.parse(refusal.created_at))) };
  }

  // Read back to a time. Return what is not older than that.
  async reachBack(time) {
    while (this.next) {
      const { next, oldest } = await this.read(this.next);
      this.next = next;
      if (oldest < time) break;
    }
    return this.items.filter((item) => item.time >= time);
  }

  // Call `take` with what is new, every few seconds while somebody looks. It ends when the signal is aborted, or with a Refused.
  async follow(take) {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, PACE));
      if (this.signal.aborted) return;
      if (document.hidden) continue;
      try {
        let query = this.toQuery(Math.max(this.bounds.since, this.newest - OVERLAP));
        while (query) {
          const { next, items } = await this.read(query);
          take(items);
          query = items.length ? next : null;
        }
      } catch (error) {
        if (this.signal.aborted) return;
        if (!error.passes) throw error;
      }
    }
  }
}
