// The reference: Swagger UI on the OpenAPI document of this service.

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

// A watch does not end by itself, and Swagger UI shows no response before its end. So this ends it, once it is silent.
const SILENCE = 1_000; // ms
const LONGEST = 5_000; // ms

async function fetchBeginning(url, options) {
  const response = await fetch(url, options);
  if (!response.ok) return response;
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  const end = Date.now() + LONGEST;
  let text = "";
  while (Date.now() < end) {
    const silence = new Promise((resolve) => setTimeout(resolve, SILENCE, { done: true }));
    const { done, value } = await Promise.race([reader.read(), silence]);
    if (done) break;
    text += decoder.decode(value, { stream: true });
  }
  reader.cancel().catch(() => {});
  return new Response(text, { status: response.status, headers: response.headers });
}

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true, // each route has a link
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null, // asks nobody else
  requestInterceptor(request) {
    if (new URL(request.url, location.href).pathname.endsWith(":watch")) request.userFetch = fetchBeginning;
    return request;
  },
});

// What Swagger UI leaves out for those who read with a screen reader or a keyboard.
const reference = document.getElementById("reference");
const each = (selector, change) => reference.querySelectorAll(selector).forEach(change);
function mend() {
  each(".parameters-col_description :is(input, select, textarea):not([aria-label])", (field) => {
    field.setAttribute("aria-label", field.closest("tr").dataset.paramName);
  });
  each("textarea.body-param__text:not([aria-label])", (field) => field.setAttribute("aria-label", "Request body"));
  each(".microlight:not([tabindex])", (code) => code.setAttribute("tabindex", "0")); // so that it can be scrolled
  for (const [part, name] of [[".information-container", "About"], [".scheme-container", "Access"]]) {
    each(`${part}:not([role])`, (found) => Object.assign(found, { role: "region", ariaLabel: name }));
  }
  for (const [heading, level] of [["h3", 2], ["h4", 3], ["h5", 4]]) {
    each(`${heading}:not([aria-level])`, (found) => found.setAttribute("aria-level", level));
  }
  each("button a[href]", (link) => link.removeAttribute("href")); // the button does what the link in it would do
}

// Once for each frame that is shown, however much changes before it.
let isPending = false;
new MutationObserver(() => {
  if (isPending) return;
  isPending = true;
  requestAnimationFrame(() => {
    isPending = false;
    mend();
  });
}).observe(reference, { childList: true, subtree: true });
