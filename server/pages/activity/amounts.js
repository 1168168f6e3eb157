// The view "How much": events by time and type, by tool, and by hour of the week.

import { drawBars } from "/pages/activity/bars.js";
import { append, make } from "/pages/activity/dom.js";
import { formatMinute, formatNumber, ZONE } from "/pages/activity/format.js";
import { makeInvitation } from "/pages/activity/invitation.js";
import { makeRanking } from "/pages/activity/ranking.js";
import { DAY, summarize, toPeriod } from "/pages/activity/summary.js";
import { makeWeek } from "/pages/activity/week.js";

const HOUR = 3_600_000; // ms
const TYPES = 6; // colours; the others are one
const TOOLS = 20;

function makeFigure(value, label) {
  return make("div", {}, make("dt", {}, label), make("dd", {}, value));
}

// Return the beginning of each column, and the beginning of the column that a time is in.
function makeColumns({ since, until }, unit) {
  const floor = (time) => {
    const date = new Date(time);
    if (unit === "hour") date.setMinutes(0, 0, 0);
    else if (unit === "day") date.setHours(0, 0, 0, 0);
    else date.setUTCHours(0, 0, 0, 0);
    return date.getTime();
  };
  const step = unit === "hour" ? HOUR : DAY;
  const starts = [];
  const end = Math.min(until, Date.now() + 1);
  // From the middle of a column on, as not each day has 24 hours.
  for (let start = floor(since); start < end; start = floor(start + 1.5 * step)) starts.push(start);
  return { starts, floor };
}

// Return the columns and series of the bars.
function gather(summary, period, unit) {
  const totals = new Map();
  for (const { values, events } of summary.rows) totals.set(values[1], (totals.get(values[1]) ?? 0) + events);
  const names = [...totals.keys()].sort((one, other) => totals.get(other) - totals.get(one));
  const series = names.slice(0, TYPES).map((name) => name || "(none)");
  if (names.length > TYPES) series.push(`${names.length - TYPES} others`);
  const { starts, floor } = makeColumns(period, unit);
  const columns = new Map(starts.map((start) => [start, series.map(() => 0)]));
  for (const { values: [time, type], events } of summary.rows) {
    const column = columns.get(floor(Date.parse(time)));
    if (column) column[Math.min(names.indexOf(type), TYPES)] += events;
  }
  const zone = unit === "UTC day" ? { timeZone: "UTC" } : {};
  const title = new Intl.DateTimeFormat("en-GB", {
    weekday: "short", day: "numeric", month: "short", ...(unit === "hour" && { hour: "2-digit", minute: "2-digit" }), ...zone,
  });
  const label = new Intl.DateTimeFormat("en-GB", unit === "hour" ? { hour: "2-digit", minute: "2-digit" } : { day: "numeric", month: "short", ...zone });
  return {
    series,
    columns: [...columns].map(([start, values]) => ({ label: label.format(start), title: title.format(start), values })),
  };
}

export async function showAmounts(view, place, signal) {
  const period = toPeriod(place);
  const length = Math.min(period.until, Date.now()) - period.since;
  const wait = make("p", { class: "quiet", role: "status" }, "Counting …");
  view.append(wait);

  // By the hour, days are those of the reader, and the week comes with it. Of a long time, there would be too many groups.
  let byHour = length <= 31 * DAY ? await summarize(place, ["hour", "event_type"], signal) : null;
  const isFine = byHour !== null && !byHour.more;
  const byTime = isFine ? byHour : await summarize(place, ["day", "event_type"], signal);
  if (!isFine) byHour = await summarize(place, ["hour"], signal);
  const byTool = await summarize(place, ["tool_signature"], signal, TOOLS);

  const { events, users } = byTime;
  wait.remove();
  if (events === 0) {
    view.append(makeInvitation({ ...place, range: place.since || place.until ? "" : place.range || "30d" }, false));
    return;
  }
  const unit = !isFine ? "UTC day" : length <= 2 * DAY ? "hour" : "day";
  const until = period.until < Infinity ? formatMinute(period.until) : "now";
  const bars = make("figure", {});
  append(
    view,
    make("p", { class: "quiet" }, `${formatMinute(period.since)} to ${until}, ${ZONE}.`),
    make(
      "dl",
      { class: "figures" },
      makeFigure(formatNumber(events), "events"),
      makeFigure(formatNumber(users), "distinct users"),
      makeFigure((events / users).toLocaleString("en-GB", { maximumFractionDigits: 1 }), "events per user"),
    ),
    make("h2", {}, unit === "hour" ? "By hour and type" : "By day and type"),
    bars,
    unit === "UTC day" && make("p", { class: "quiet" }, "These days begin at midnight in UTC."),
    byTime.more && make("p", { class: "quiet" }, "The smallest groups are left out, as there are too many."),
    make(
      "div",
      { class: "pair" },
      make("section", {}, make("h2", {}, "By tool"), makeRanking(byTool, "Tool")),
      make("section", {}, make("h2", {}, "By hour of the week"), makeWeek(byHour)),
    ),
  );
  drawBars(bars, gather(byTime, period, unit), unit === "hour" ? "hour" : "day", signal);
}
