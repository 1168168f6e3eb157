// Events and refusals, newest first, each once, and no more than a limit.

const isOlder = (one, other) => one.time < other.time || (one.time === other.time && one.id < other.id);

export class Feed {
  constructor(limit) {
    this.limit = limit;
    this.clear();
  }

  clear() {
    this.items = [];
    this.ids = new Set();
    this.isCut = false; // whether older ones were dropped
  }

  // Add what is not there yet. Return how many were added.
  add(items) {
    let added = 0;
    for (const item of items) {
      if (this.ids.has(item.id)) continue;
      this.ids.add(item.id);
      this.items.splice(this.findPlace(item), 0, item);
      added += 1;
    }
    this.trim();
    return added;
  }

  trim() {
    for (const { id } of this.items.splice(this.limit)) {
      this.ids.delete(id);
      this.isCut = true;
    }
  }

  findPlace(item) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (isOlder(item, this.items[middle])) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  get oldestTime() {
    return this.items.at(-1)?.time;
  }
}
