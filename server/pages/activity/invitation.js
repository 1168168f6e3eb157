// What is shown where there is nothing: how to send an event, or what the filters leave out.

import { key } from "/pages/activity/api.js";
import { make } from "/pages/activity/dom.js";
import { isFiltered, toBounds, toHash } from "/pages/activity/place.js";

// Quote a text for a shell, whatever is in it.
const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;

function makeCommand(place) {
  const event = {
    customer_id: place.customer_id,
    entity_type: "lead",
    entity_id: "lead-1",
    user_id: "user-1",
    recording_id: "rec-1",
    event_type: "view",
  };
  const lines = [
    `curl ${quote(`${location.origin}/api/v1/analytics_events`)} -H 'content-type: application/json'`,
    ...(key.get() ? [`-H "authorization: Bearer $KEY"`] : []),
    `-d ${quote(JSON.stringify(event))}`,
  ];
  return lines.join(" \\\n  ");
}

function makeCopied(text) {
  const button = make("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  });
  return navigator.clipboard ? button : undefined; // It does not exist on pages without TLS, but for localhost.
}

export function makeInvitation(place, isLive) {
  const { since, until } = toBounds(place);
  const anytime = { ...place, range: "", since: "", until: "" };
  const bare = { view: place.view, customer_id: place.customer_id, range: place.range, since: place.since, until: place.until };
  if (isFiltered(place) || since > 0 || until < Infinity) {
    return make(
      "div",
      { class: "note" },
      make("p", {}, make("strong", {}, "No event matches."), isLive ? " What arrives is shown here as soon as it does." : ""),
      make(
        "ul",
        {},
        isFiltered(place) && make("li", {}, make("a", { href: toHash(bare) }, "Without the filters")),
        (since > 0 || until < Infinity) && make("li", {}, make("a", { href: toHash(anytime) }, "At any time")),
      ),
    );
  }
  const command = makeCommand(place);
  return make(
    "div",
    { class: "note" },
    make("p", {}, make("strong", {}, "There are no events of this customer yet."), " Send one, and see it arrive:"),
    make("pre", { tabindex: "0", role: "region", "aria-label": "A command that sends an event" }, command),
    makeCopied(command),
    make("p", { class: "quiet" }, "IDs are case-sensitive: acme and ACME are two customers."),
  );
}
