// One row of what arrived: an event or a refusal, which opens to all that is known of it.

import { askText } from "/pages/activity/api.js";
import { describeSkew } from "/pages/activity/clocks.js";
import { append, make, makeHidden, makeValue } from "/pages/activity/dom.js";
import { describe } from "/pages/activity/errors.js";
import { count, formatClock, formatMinute, formatNumber } from "/pages/activity/format.js";
import { indent } from "/pages/activity/json.js";
import { toHash } from "/pages/activity/place.js";

const CLOCKS = { created_at: "The server", javascript_local_time: "The browser", apex_local_time: "Apex" };
const LINKS = {
  event_type: "this event type",
  recording_id: "this recording",
  user_id: "this user",
  entity_id: "this lead or contact",
  tool_signature: "this tool",
};

function makeCell(name, label, ...content) {
  return make("span", { class: `cell ${name}` }, makeHidden(`${label} `), ...content);
}

function makeTime(time) {
  return make("time", { class: "cell time", datetime: new Date(time).toISOString() }, formatClock(time));
}

function openOnce(details, fill) {
  details.addEventListener("toggle", () => details.open && details.childElementCount === 1 && fill(details));
  return details;
}

// The three clocks. The first is the measure of the others.
function makeClocks(record, created) {
  const rows = Object.entries(CLOCKS).map(([name, whose]) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, whose, " ", make("code", {}, name)),
      make("td", {}, makeValue(record[name])),
      make("td", {}, name === "created_at" ? "when it was received" : describeSkew(record[name], created)),
    ),
  );
  const head = ["Clock", "Says", "Compared"].map((text) => make("th", { scope: "col" }, text));
  return make("table", { class: "clocks" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
}

function makeLinks(record, place) {
  const links = Object.entries(LINKS)
    .filter(([name]) => record[name] && record[name] !== place[name])
    .map(([name, words]) => {
      const kind = name === "entity_id" ? { entity_type: record.entity_type } : {};
      return make("a", { href: toHash({ ...place, ...kind, [name]: record[name] }) }, `Only ${words}`);
    });
  return make("p", { class: "links" }, ...links);
}

// The event as the service has it now, with all digits of its numbers.
async function showRecord(code, item, place, signal) {
  code.textContent = indent(JSON.stringify(item.record));
  const query = new URLSearchParams({ customer_id: place.customer_id });
  try {
    code.textContent = indent(await askText(`/api/v1/analytics_events/${encodeURIComponent(item.id)}`, query, signal));
  } catch (error) {
    if (signal.aborted) return;
    const why = error.status === 404 ? "It has been erased since." : describe(error, "this event");
    code.before(make("p", { class: "quiet" }, `This is the event as it arrived. ${why}`));
  }
}

function makeReplays(replays) {
  const times = replays.map((replay) => formatMinute(replay.time)).join(", ");
  return make("p", {}, `Sent again, and stored only once: ${times}.`);
}

// What the columns are, for who sees them; the rows have it in words.
export function makeHeads() {
  const heads = ["Time", "Type", "Recording", "Lead or contact", "User", "Tool"].map((text) => make("span", {}, text));
  return make("div", { class: "heads", "aria-hidden": "true" }, ...heads);
}

export function makeEventRow(item, replays, place, signal) {
  const { record, time } = item;
  const summary = make(
    "summary",
    {},
    makeTime(time),
    makeCell("type", "", makeValue(record.event_type, { class: "tag" })),
    makeCell("what", "recording", makeValue(record.recording_id)),
    make("span", { class: "cell about" }, `${record.entity_type} `, makeValue(record.entity_id)),
    makeCell("who", "by user", makeValue(record.user_id)),
    makeCell(record.tool_signature ? "tool" : "tool none", "with tool", makeValue(record.tool_signature)),
    replays.length > 0 && make("span", { class: "tag again" }, replays.length > 1 ? `replayed ×${replays.length}` : "replayed"),
  );
  const fill = (details) => {
    const code = make("pre", { tabindex: "0", role: "region", "aria-label": "The event as JSON" });
    details.append(
      make(
        "div",
        { class: "inside" },
        makeClocks(record, time),
        replays.length > 0 && makeReplays(replays),
        makeLinks(record, place),
        code,
      ),
    );
    showRecord(code, item, place, signal);
  };
  return make("li", { class: "event" }, openOnce(make("details", {}, summary), fill));
}

// A field and the rule that it breaks. Where the whole event is at fault, there is no field.
// A name that the API does not have is not kept.
function makeRule({ field, description }) {
  if (field === "?") return [`some field: ${description}`];
  return field ? [make("code", {}, makeValue(field)), `: ${description}`] : [description];
}

export function makeRefusalRow({ refusal, time }) {
  const { violations } = refusal;
  const others = violations.length > 1 && ` and ${count(violations.length - 1, "other fault")}`;
  const rule = violations.length > 0 ? [...makeRule(violations[0]), others] : [refusal.code];
  const summary = make(
    "summary",
    {},
    makeTime(time),
    makeCell("type", "", make("span", { class: "tag refused" }, "refused")),
    makeCell("rule", "because", ...rule),
    makeCell(refusal.tool_signature ? "tool" : "tool none", "with tool", makeValue(refusal.tool_signature)),
    refusal.omitted > 0 && make("span", { class: "tag again" }, `+ ${formatNumber(refusal.omitted)} more`),
  );
  const facts = {
    Call: refusal.rpc,
    "Sent as": refusal.door === "grpc" ? "gRPC" : "JSON",
    Status: refusal.code,
    "Request id": refusal.requestId,
    "Not listed": refusal.omitted > 0 && count(refusal.omitted, "other refusal") + " at about that time",
  };
  const fill = (details) =>
    append(
      details,
      make(
        "div",
        { class: "inside" },
        make("p", {}, "It was not stored. What was sent is not kept; these are the fields at fault and the rules that they break."),
        make("ul", {}, ...violations.map((violation) => make("li", {}, ...makeRule(violation)))),
        make(
          "dl",
          { class: "facts" },
          ...Object.entries(facts)
            .filter(([, value]) => value)
            .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, makeValue(value))]),
        ),
      ),
    );
  return make("li", { class: "refusal" }, openOnce(make("details", {}, summary), fill));
}
