// What a refusal means to who reads this page, and what to do about it.

import { key } from "/pages/activity/api.js";
import { make, makeValue } from "/pages/activity/dom.js";

function explain(error, what) {
  const sent = key.get();
  switch (error.status) {
    case 0:
      return navigator.onLine === false
        ? ["This device is offline.", "The page goes on as soon as there is a network."]
        : ["The service cannot be reached from here.", "Check your network, or tell whoever operates the service."];
    case 401:
      return sent
        ? ["The key was not accepted.", "It may be mistyped, expired or revoked. Enter another one."]
        : ["The service asks for a key.", "It needs the scope events:read, for this customer."];
    case 403:
      return [
        `This key may not read ${what}.`,
        "It needs the scope events:read, for this customer. If it is for some users only, filter by one of them.",
      ];
    case 404:
    case 405:
    case 501:
      return [`This service does not offer ${what}.`, "It may run an older version. Ask whoever operates it."];
    case 422:
      return ["The service did not accept the question.", error.violations.length ? "Correct this:" : error.message];
    case 421:
      return ["The service does not answer to this name.", "Open this page as localhost, or ask the operator for a key."];
    case 429:
      return ["The service is busy, or you have your share of it.", "The page retries by itself."];
    case 503:
    case 504:
      return ["The service is not up, or was too slow.", "The page retries by itself."];
    default:
      return ["Something went wrong in the service.", "If it stays so, tell whoever operates it."];
  }
}

// Return a note that says why there is nothing to see. `what` is that which was asked for, such as "events".
export function makeProblem(error, what, retry) {
  const [fact, advice] = explain(error, what);
  const violations = error.violations.map(({ field, description }) =>
    make("li", {}, make("code", {}, makeValue(field)), `: ${description}`),
  );
  return make(
    "div",
    { class: "note problem", role: "alert" },
    make("p", {}, make("strong", {}, fact), ` ${advice}`),
    violations.length > 0 && make("ul", {}, ...violations),
    retry && make("button", { type: "button", onclick: retry }, "Try again"),
  );
}

export function describe(error, what) {
  return explain(error, what).join(" ");
}
