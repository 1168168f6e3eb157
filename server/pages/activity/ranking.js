// A table of groups, those with the most events first, with a bar for each.

import { make, makeValue } from "/pages/activity/dom.js";
import { formatNumber } from "/pages/activity/format.js";

export function makeRanking(summary, name) {
  const most = summary.rows[0]?.events ?? 1;
  const rows = summary.rows.map(({ values: [value], events, users }) => {
    const bar = make("span", { class: "bar-of" });
    bar.style.width = `${(100 * events) / most}%`;
    return make(
      "tr",
      {},
      make("th", { scope: "row" }, makeValue(value || "(none)"), bar),
      make("td", { class: "number" }, formatNumber(events)),
      make("td", { class: "number" }, formatNumber(users)),
    );
  });
  const heads = [
    make("th", { scope: "col" }, name),
    make("th", { scope: "col", class: "number" }, "Events"),
    make("th", { scope: "col", class: "number" }, "Users"),
  ];
  const table = make("table", { class: "ranking" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows));
  return make("div", {}, table, summary.more && make("p", { class: "quiet" }, `These are the first ${formatNumber(rows.length)}.`));
}
