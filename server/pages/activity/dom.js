// Makes elements. All text becomes text nodes, whoever wrote it: nothing on this page is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== undefined) element.setAttribute(name, value);
  }
  return append(element, ...children);
}

// Append what there is of these children.
export function append(element, ...children) {
  element.append(...children.filter((child) => child !== undefined && child !== null && child !== false));
  return element;
}

export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function makeSvg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

// What somebody sent. Its writing direction stays its own, and what is cut off can be read in its title.
export function makeValue(text, attributes = {}) {
  return make("bdi", text ? { title: text, ...attributes } : attributes, text || "–");
}

// Read aloud, but not shown.
export function makeHidden(text) {
  return make("span", { class: "unseen" }, text);
}
