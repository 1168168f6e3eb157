// What is looked at. All of it is in the URL after the #, so that a view can be sent to a colleague. A browser does not send that
// part to the server. The key is not in it.

export const VIEWS = { arriving: "Arriving", amounts: "How much", recordings: "Recordings" };
export const RANGES = { "": "Any time", today: "Today", "7d": "7 days", "30d": "30 days" };
export const FILTERS = ["event_type", "recording_id", "user_id", "entity_type", "entity_id", "tool_signature"];

const NAMES = ["customer_id", ...FILTERS, "show", "range", "since", "until"];
const DAYS_BACK = { today: 0, "7d": 6, "30d": 29 };

// Return the place that a URL names. What it does not know is passed over.
export function readPlace(hash) {
  const parameters = new URLSearchParams(hash.replace(/^#/, ""));
  const place = { view: Object.hasOwn(VIEWS, parameters.get("view")) ? parameters.get("view") : "arriving" };
  for (const name of NAMES) place[name] = parameters.get(name) ?? "";
  if (!Object.hasOwn(RANGES, place.range)) place.range = "";
  if (place.show !== "events") place.show = "";
  for (const name of ["since", "until"]) if (place.range || Number.isNaN(Date.parse(place[name]))) place[name] = "";
  return place;
}

export function toHash(place) {
  const parameters = new URLSearchParams({ view: place.view });
  for (const name of NAMES) if (place[name]) parameters.set(name, place[name]);
  return `#${parameters}`;
}

// Return when the events of a place begin and end. 0 and Infinity mean that they do not.
export function toBounds(place) {
  if (place.range) return { since: startOfDay(DAYS_BACK[place.range]), until: Infinity };
  return { since: Date.parse(place.since) || 0, until: Date.parse(place.until) || Infinity };
}

export function isFiltered(place) {
  return FILTERS.some((name) => place[name]);
}

// Return the query of the API that asks for the events of a place, whenever they were stored.
export function toFilters(place) {
  const parameters = new URLSearchParams({ customer_id: place.customer_id });
  for (const name of FILTERS) if (place[name]) parameters.set(name, place[name]);
  return parameters;
}

// Return the same query with the times.
export function toQuery(place, { since, until } = toBounds(place)) {
  const parameters = toFilters(place);
  if (since > 0) parameters.set("since", new Date(since).toISOString());
  if (until < Infinity) parameters.set("until", new Date(until).toISOString());
  return parameters;
}

// Return when the day began, so many days ago, in the reader's time zone.
export function startOfDay(daysAgo) {
  const day = new Date();
  day.setHours(0, 0, 0, 0);
  day.setDate(day.getDate() - daysAgo);
  return day.getTime();
}
