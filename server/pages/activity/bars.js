// Stacked bars as SVG, as wide as there is room, and the same numbers as a table.

import { make, makeSvg, makeValue } from "/pages/activity/dom.js";
import { formatNumber } from "/pages/activity/format.js";

const HEIGHT = 240;
const TOP = 8;
const BOTTOM = 24; // of the labels
const WIDEST = 72; // of a bar
const LABEL = 56; // the least between two labels

const sum = (values) => values.reduce((total, value) => total + value, 0);

// Return the values at the lines of an axis: 0, and up to 5 round ones.
export function makeTicks(most) {
  const rough = Math.max(1, most / 4);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  return Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) => index * step);
}

function drawColumn(column, x, width, toY) {
  const bars = [];
  let below = 0;
  column.values.forEach((value, index) => {
    if (value === 0) return;
    const [y, base] = [toY(below + value), toY(below)];
    bars.push(makeSvg("rect", { class: `series-${index}`, x, y, width, height: Math.max(base - y, 0.5) }));
    below += value;
  });
  return bars;
}

function draw(width, { columns }, label, describe) {
  const most = Math.max(1, ...columns.map((column) => sum(column.values)));
  const ticks = makeTicks(most);
  const left = 12 + 7.5 * formatNumber(ticks.at(-1)).length;
  const step = (width - left) / columns.length;
  const toY = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / ticks.at(-1));
  const gap = Math.max(Math.min(8, step / 5), step - WIDEST);
  const every = Math.ceil(LABEL / step);
  const svg = makeSvg("svg", { role: "img", "aria-label": label, width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` });
  for (const tick of ticks) {
    svg.append(
      makeSvg("line", { class: "grid", x1: left, x2: width, y1: toY(tick), y2: toY(tick) }),
      makeSvg("text", { x: left - 8, y: toY(tick) + 4, "text-anchor": "end" }, formatNumber(tick)),
    );
  }
  columns.forEach((column, index) => {
    const x = left + index * step;
    const back = makeSvg("rect", { class: "back", x, y: TOP, width: step, height: HEIGHT - TOP - BOTTOM });
    const all = makeSvg("g", { class: "column" }, back, ...drawColumn(column, x + gap / 2, step - gap, toY));
    all.addEventListener("pointerenter", () => describe(column));
    svg.append(all);
    if (index % every === 0 && x + LABEL / 2 < width) {
      svg.append(makeSvg("text", { x: x + step / 2, y: HEIGHT - 6, "text-anchor": "middle" }, column.label));
    }
  });
  svg.addEventListener("pointerleave", () => describe(null));
  return svg;
}

function makeTable({ columns, series }, unit) {
  const heads = [unit, "all", ...series];
  const rows = columns.map(({ title, values }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, title),
      ...[sum(values), ...values].map((value) => make("td", { class: "number" }, formatNumber(value))),
    ),
  );
  return make(
    "table",
    {},
    make("thead", {}, make("tr", {}, ...heads.map((head, index) => make("th", { scope: "col", class: index ? "number" : "" }, makeValue(head))))),
    make("tbody", {}, ...rows.reverse()),
  );
}

// Draw the bars into a figure, and again whenever its width changes, until `signal` is aborted.
export function drawBars(figure, data, unit, signal) {
  const pointed = make("p", { class: "pointed", "aria-hidden": "true" });
  const describe = (column) => {
    const parts = column?.values.map((value, index) => value && `${data.series[index]} ${formatNumber(value)}`).filter(Boolean);
    pointed.textContent = column ? `${column.title}: ${formatNumber(sum(column.values))}${parts.length ? ` (${parts.join(", ")})` : ""}` : "";
  };
  const legend = data.series.map((name, index) => make("li", { class: `series-${index}` }, makeValue(name)));
  const plot = make("div", { class: "plot" });
  const table = make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "The numbers of the bars" }, makeTable(data, unit));
  const label = `Bars: the events of each ${unit} by type. The table below has the numbers.`;
  figure.append(make("ul", { class: "legend" }, ...legend), plot, pointed, make("details", {}, make("summary", {}, "As a table"), table));
  let width = 0;
  const observer = new ResizeObserver(() => {
    if (plot.clientWidth === width || plot.clientWidth === 0) return;
    width = plot.clientWidth;
    plot.replaceChildren(draw(width, data, label, describe));
  });
  observer.observe(plot);
  signal.addEventListener("abort", () => observer.disconnect());
}
