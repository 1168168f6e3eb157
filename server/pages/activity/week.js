// Events by hour of the week: a table whose cells are the darker the more there are.

import { make, makeHidden } from "/pages/activity/dom.js";
import { count, formatNumber, ZONE } from "/pages/activity/format.js";

const DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const SHADES = 5;

const toHour = (hour) => `${String(hour).padStart(2, "0")}:00`;

export function makeWeek(byHour) {
  const counts = DAYS.map(() => new Array(24).fill(0));
  for (const { values: [time], events } of byHour.rows) {
    const date = new Date(time);
    counts[(date.getDay() + 6) % 7][date.getHours()] += events;
  }
  const most = Math.max(1, ...counts.flat());
  const heads = counts[0].map((_, hour) =>
    make("th", { scope: "col" }, makeHidden(toHour(hour)), hour % 6 === 0 && make("span", { "aria-hidden": "true" }, hour)),
  );
  const rows = counts.map((hours, day) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, DAYS[day]),
      ...hours.map((events, hour) =>
        make(
          "td",
          { class: `shade-${Math.ceil((SHADES * events) / most)}`, title: `${DAYS[day]} ${toHour(hour)}: ${formatNumber(events)}` },
          makeHidden(formatNumber(events)),
        ),
      ),
    ),
  );
  const [day, hour] = findMost(counts, most);
  return make(
    "div",
    {},
    make("table", { class: "week" }, make("thead", {}, make("tr", {}, make("td", {}), ...heads)), make("tbody", {}, ...rows)),
    make("p", { class: "quiet" }, `Busiest: ${DAYS[day]} ${toHour(hour)}, with ${count(most, "event")}. Hours are in ${ZONE}.`),
  );
}

function findMost(counts, most) {
  const day = counts.findIndex((hours) => hours.includes(most));
  return day < 0 ? [0, 0] : [day, counts[day].indexOf(most)];
}
