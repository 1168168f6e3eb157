// The three clocks of an event: how far those of the caller are from the server's, in words.

import { formatSpan } from "/pages/activity/format.js";

const QUARTER = 15 * 60000;
const FURTHEST_ZONE = 14 * 3600000;

// A text that says what its time zone is, after the time: "Z", "+01:00", "GMT+0100 (CET)", "EST".
const ZONED = /\d:\d{2}.*(Z|UTC|GMT|\b[ECMP][SD]T|[+-]\d{2}:?\d{2})(\s*\(.*\))?$/i;
const ISO = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d.*)$/;
const EPOCH = /^\d{10}(\d{3})?$/;
const SECONDS = /\d:\d{2}:\d{2}/;

// Return the time that a text means, in ms, and whether the text says in which time zone. Without one, it is read as UTC.
export function readClock(text) {
  const trimmed = text.trim();
  if (EPOCH.test(trimmed)) return { time: Number(trimmed) * (trimmed.length === 10 ? 1000 : 1), isZoned: true };
  const isZoned = ZONED.test(trimmed);
  const utc = ISO.test(trimmed) ? trimmed.replace(ISO, "$1T$2Z") : `${trimmed} UTC`;
  const time = Date.parse(isZoned ? trimmed : utc);
  return Number.isNaN(time) ? null : { time, isZoned };
}

function compare(difference, precision) {
  if (Math.abs(difference) < precision) return "the same as the server's";
  return `${formatSpan(difference)} ${difference < 0 ? "before" : "after"} the server's`;
}

function formatZone(offset) {
  const minutes = Math.abs(offset) / 60000;
  const clock = [Math.floor(minutes / 60), minutes % 60].map((each) => String(each).padStart(2, "0")).join(":");
  return offset === 0 ? "UTC" : `UTC${offset < 0 ? "−" : "+"}${clock}`;
}

// Say how a caller's clock differs from the server's. What the event took to arrive is part of it.
export function describeSkew(text, created) {
  if (text === "") return "was not sent";
  const read = readClock(text);
  if (read === null) return "is no time that this page can read";
  const precision = EPOCH.test(text.trim()) || SECONDS.test(text) ? 1000 : 60000;
  const difference = read.time - created;
  if (read.isZoned) return compare(difference, precision);
  const zone = Math.round(difference / QUARTER) * QUARTER;
  if (Math.abs(zone) > FURTHEST_ZONE) return `${compare(difference, precision)}; it names no time zone`;
  return `${compare(difference - zone, precision)}, if it is in ${formatZone(zone)}; it names no time zone`;
}
