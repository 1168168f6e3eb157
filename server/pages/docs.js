// The reference: Swagger UI on the OpenAPI document of this service.

const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#reference",
  deepLinking: true, // each route has a link
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  tryItOutEnabled: true,
  validatorUrl: null, // asks nobody else
});

// What Swagger UI leaves out for those who read with a screen reader or a keyboard.
const reference = document.getElementById("reference");
const each = (selector, mend) => reference.querySelectorAll(selector).forEach(mend);
new MutationObserver(() => {
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
}).observe(reference, { childList: true, subtree: true });
