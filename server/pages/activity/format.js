// Numbers and times as this page writes them. Times are those of the reader's time zone.

const LANGUAGE = "en-GB";

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

const whole = new Intl.NumberFormat(LANGUAGE, { maximumFractionDigits: 0 });
const ratio = new Intl.NumberFormat(LANGUAGE, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
const dayAndMonth = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "short" });
const wholeDay = new Intl.DateTimeFormat(LANGUAGE, { weekday: "long", day: "numeric", month: "long", year: "numeric" });
const clock = new Intl.DateTimeFormat(LANGUAGE, { timeStyle: "medium" });
const minute = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });

export const formatNumber = (number) => whole.format(number);
export const formatRatio = (number, of) => (of ? ratio.format(number / of) : "–");
export const formatDay = (time) => dayAndMonth.format(time);
export const formatWholeDay = (time) => wholeDay.format(time);
export const formatMinute = (time) => minute.format(time);
export const formatClock = (time) => `${clock.format(time)}.${String(time % 1000).padStart(3, "0")}`;

export function count(number, one, many = `${one}s`) {
  return `${formatNumber(number)} ${number === 1 ? one : many}`;
}

// "12 s", "4 min", "3 h", "2 days": the largest unit of which there are at least two.
export function formatSpan(milliseconds) {
  const size = Math.abs(milliseconds);
  if (size < 1000) return `${Math.round(size)} ms`;
  for (const [unit, length] of [["days", 86400000], ["h", 3600000], ["min", 60000]]) {
    if (size >= 2 * length) return `${formatNumber(size / length)} ${unit}`;
  }
  return `${(size / 1000).toFixed(size < 10000 ? 1 : 0)} s`;
}
