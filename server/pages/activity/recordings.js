// The view "Recordings": which are looked at, by how many, and how many shares there are per view.

import { make, makeValue } from "/pages/activity/dom.js";
import { formatMinute, formatNumber, formatRatio } from "/pages/activity/format.js";
import { makeInvitation } from "/pages/activity/invitation.js";
import { toHash } from "/pages/activity/place.js";
import { summarize, toPeriod } from "/pages/activity/summary.js";

const PAGE = 100; // rows
const COLUMNS = {
  recording: { label: "Recording", get: (row) => row.recording, first: "ascending" },
  views: { label: "Views", get: (row) => row.views },
  viewers: { label: "Viewers", get: (row) => row.viewers },
  shares: { label: "Shares", get: (row) => row.shares },
  rate: { label: "Shares per view", get: (row) => (row.views ? row.shares / row.views : -1) },
  seen: { label: "Last seen", get: (row) => row.seen },
};

// Return a row for each recording.
function gather(summary) {
  const rows = new Map();
  for (const { values: [recording, type], events, users, lastCreatedAt } of summary.rows) {
    const row = rows.get(recording) ?? { recording, views: 0, viewers: 0, shares: 0, seen: 0 };
    if (type === "view") [row.views, row.viewers] = [events, users];
    if (type === "share") row.shares = events;
    row.seen = Math.max(row.seen, Date.parse(lastCreatedAt));
    rows.set(recording, row);
  }
  return [...rows.values()];
}

function makeRow(row, place) {
  const link = toHash({ ...place, view: "arriving", recording_id: row.recording });
  const cells = {
    views: formatNumber(row.views),
    viewers: formatNumber(row.viewers),
    shares: formatNumber(row.shares),
    rate: formatRatio(row.shares, row.views),
    seen: make("time", { datetime: new Date(row.seen).toISOString() }, formatMinute(row.seen)),
  };
  return make(
    "tr",
    { role: "row" },
    make("th", { scope: "row", role: "rowheader" }, make("a", { href: link }, makeValue(row.recording))),
    ...Object.entries(cells).map(([name, cell]) =>
      make("td", { class: "number", role: "cell" }, make("span", { class: "name", "aria-hidden": "true" }, COLUMNS[name].label), cell),
    ),
  );
}

export async function showRecordings(view, place, signal) {
  const wait = make("p", { class: "quiet", role: "status" }, "Counting …");
  view.append(wait);
  const summary = await summarize(place, ["recording_id", "event_type"], signal);
  wait.remove();
  const rows = gather(summary);
  if (rows.length === 0) {
    view.append(makeInvitation({ ...place, range: place.since || place.until ? "" : place.range || "30d" }, false));
    return;
  }
  let shown = PAGE;
  let by = "views";
  let isAscending = false;
  const head = make("tr", { role: "row" });
  const body = make("tbody", { role: "rowgroup" });
  const more = make("button", { type: "button", onclick: () => render((shown += PAGE)) }, "Show more");
  const note = make("p", { class: "quiet", role: "status" });

  function sortBy(name) {
    isAscending = name === by ? !isAscending : COLUMNS[name].first === "ascending";
    by = name;
    render();
    head.querySelector("[aria-sort] button").focus();
  }

  function render() {
    const { get } = COLUMNS[by];
    const order = (one, other) => (get(one) < get(other) ? -1 : get(one) > get(other) ? 1 : 0);
    rows.sort((one, other) => (isAscending ? 1 : -1) * order(one, other));
    head.replaceChildren(
      ...Object.entries(COLUMNS).map(([name, { label }]) =>
        make(
          "th",
          { scope: "col", role: "columnheader", class: name === "recording" ? "" : "number", "aria-sort": name === by && (isAscending ? "ascending" : "descending") },
          make("button", { type: "button", onclick: () => sortBy(name) }, label),
        ),
      ),
    );
    body.replaceChildren(...rows.slice(0, shown).map((row) => makeRow(row, place)));
    more.hidden = shown >= rows.length;
    const cut = summary.more ? " There are more, with fewer events." : "";
    note.textContent = `${formatNumber(Math.min(shown, rows.length))} of ${formatNumber(rows.length)} recordings.${cut}`;
  }

  view.append(
    make(
      "p",
      { class: "quiet" },
      `Since ${formatMinute(toPeriod(place).since)}. A view is an event of the type `,
      make("code", {}, "view"),
      ", a share one of the type ",
      make("code", {}, "share"),
      ". Last seen is the newest event of any type.",
    ),
    make("table", { class: "recordings", role: "table" }, make("thead", { role: "rowgroup" }, head), body),
    make("div", { class: "end" }, more, note),
  );
  render();
}
