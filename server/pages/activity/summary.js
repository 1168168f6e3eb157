// Counts of events and of their users, as the service makes them.

import { ask } from "/pages/activity/api.js";
import { startOfDay, toBounds, toQuery } from "/pages/activity/place.js";

const MOST = 10_000; // groups
export const DAY = 86_400_000; // ms

// Return the time that is counted: where the place names none, the last 30 days.
export function toPeriod(place) {
  const { since, until } = toBounds(place);
  if (since > 0) return { since, until };
  return { since: until < Infinity ? until - 30 * DAY : startOfDay(29), until };
}

// Return the counts by up to two fields.
export function summarize(place, by, signal, top = MOST) {
  const query = toQuery(place, toPeriod(place));
  for (const name of by) query.append("by", name);
  query.set("top", top);
  return ask("/api/v1/analytics_events:summary", query, signal);
}
