// Asks the service, with the key if there is one. The key is in the storage of this tab alone.

const TIMEOUT = 20_000; // ms
const NAME = "activity key";

export const key = {
  get: () => sessionStorage.getItem(NAME) ?? "",
  set: (text) => sessionStorage.setItem(NAME, text),
  forget: () => sessionStorage.removeItem(NAME),
};

// A refusal, or that there was no response: then the status is 0.
export class Refused extends Error {
  constructor(status, body = {}, retryAfter = 0) {
    super(typeof body?.message === "string" ? body.message : "");
    this.status = status;
    const details = Array.isArray(body?.details) ? body.details : [];
    this.violations = details.flatMap((detail) => detail.fieldViolations ?? []);
    this.retryAfter = retryAfter; // s
  }

  // Whether the same request may succeed later.
  get passes() {
    return [0, 408, 409, 429, 500, 502, 503, 504].includes(this.status);
  }
}

// Send a request, and return the response. It throws Refused if there is none, or if it is a refusal.
export async function send(path, parameters, signal, headers = {}) {
  const credentials = key.get();
  let response;
  try {
    response = await fetch(`${path}?${parameters}`, {
      headers: credentials ? { ...headers, authorization: `Bearer ${credentials}` } : headers,
      signal,
      cache: "no-store",
    });
  } catch (error) {
    throw signal.aborted ? whyAborted(signal) : new Refused(0);
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => ({}));
  throw new Refused(response.status, body, Number(response.headers.get("retry-after")) || 0);
}

function whyAborted(signal) {
  return signal.reason.name === "TimeoutError" ? new Refused(504) : signal.reason;
}

// Return the text of a response.
export async function askText(path, parameters, signal) {
  const limited = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT)]);
  const response = await send(path, parameters, limited);
  try {
    return await response.text();
  } catch (error) {
    throw limited.aborted ? whyAborted(limited) : new Refused(0);
  }
}

// Return the JSON of a response.
export async function ask(path, parameters, signal) {
  const text = await askText(path, parameters, signal);
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused(502); // not from the service, then
  }
}
