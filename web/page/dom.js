/** Helpers for the page's elements. */

/**
 * Return the element with this id.
 *
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function element(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * @param {string} id
 * @param {boolean} visible
 */
export function show(id, visible) {
  element(id, HTMLElement).hidden = !visible;
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, ...children) {
  const result = document.createElement(tag);
  if (className !== "") result.className = className;
  result.append(...children);
  return result;
}

/**
 * @param {string} className
 * @param {string} label
 * @param {() => void} onClick
 */
export function makeButton(className, label, onClick) {
  const button = make("button", className, label);
  button.type = "button";
  button.addEventListener("click", onClick);
  return button;
}

/** @param {number} bytes */
export function megabytes(bytes) {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * Save a file among the browser's downloads.
 *
 * @param {string} name
 * @param {Blob} content
 */
export function saveFile(name, content) {
  const link = make("a", "");
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
