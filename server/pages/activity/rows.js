// The rows on screen. A row stays the same element as long as it is shown, so that it stays open and keeps the focus.

import { make } from "/pages/activity/dom.js";
import { formatWholeDay } from "/pages/activity/format.js";

const MOST_MARKED = 20; // new rows: to animate hundreds would take all the time there is

export class Rows {
  constructor(list) {
    this.list = list;
    this.made = new Map(); // by id: the row, and the version of what it shows
  }

  // Show these items, each made by `create`, with a heading where a day begins.
  show(items, getVersion, create) {
    const isFirst = this.made.size === 0;
    const wanted = new Map();
    for (const item of items) {
      const day = formatWholeDay(item.time);
      if (!wanted.has(day)) wanted.set(day, { version: 0, create: () => make("li", { class: "day" }, make("h2", {}, day)) });
      wanted.set(item.id, { version: getVersion(item), create: () => create(item) });
    }
    const added = [];
    let next = this.list.firstChild;
    for (const [id, { version, create: createRow }] of wanted) {
      const known = this.made.get(id);
      const row = known?.version === version ? known.row : createRow();
      if (row === next) next = next.nextSibling;
      else this.list.insertBefore(row, next);
      if (row === known?.row) continue;
      this.made.set(id, { version, row });
      if (!known) added.push(row);
    }
    if (!isFirst && added.length <= MOST_MARKED) for (const row of added) row.classList.add("new");
    while (next) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
    for (const id of this.made.keys()) if (!wanted.has(id)) this.made.delete(id);
  }
}
