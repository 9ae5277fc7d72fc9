/** Markdown that grows while it is written. */

import DOMPurify from "./vendor/dompurify.js";
import { marked } from "./vendor/marked.js";
import { make, makeButton } from "./dom.js";

const COPIED_MS = 1500;
// a line of a poem is a line
const OPTIONS = { gfm: true, breaks: true };

// No images: the address of one could carry what was written to a stranger.
const SANITIZE = {
  RETURN_DOM_FRAGMENT: /** @type {const} */ (true),
  USE_PROFILES: { html: true },
  FORBID_TAGS: ["img", "picture", "video", "audio", "style", "form", "button", "textarea"],
  FORBID_ATTR: ["style", "id", "name"],
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("target", "_blank");
    node.setAttribute("rel", "noopener noreferrer");
  }
});

/** Shows a text as Markdown; `update` touches only what changed, usually the last block. */
export class MarkdownView {
  #container;
  /** @type {string[]} */
  #sources = [];

  /** @param {HTMLElement} container */
  constructor(container) {
    this.#container = container;
    container.classList.add("markdown");
  }

  /** @param {string} text  all of it */
  update(text) {
    const tokens = marked.lexer(text, OPTIONS);
    tokens.forEach((token, index) => {
      if (this.#sources[index] === token.raw) return;
      this.#sources[index] = token.raw;
      const block = this.#container.children[index] ?? this.#container.appendChild(make("div", ""));
      block.replaceChildren(sanitized(marked.parser([token], OPTIONS)));
      for (const code of block.querySelectorAll("pre > code")) decorate(code);
    });
    this.#sources.length = tokens.length;
    while (this.#container.children.length > tokens.length) this.#container.lastChild?.remove();
  }
}

/** @param {string} html */
function sanitized(html) {
  return DOMPurify.sanitize(html, SANITIZE);
}

/**
 * A head with the language and a button that copies.
 *
 * @param {Element} code
 */
function decorate(code) {
  const language = /language-(\S+)/.exec(code.className)?.[1] ?? "text";
  const copy = makeButton("quiet", "Copy", () => void copyText(code.textContent ?? "", copy));
  copy.setAttribute("aria-label", `Copy this ${language}`);
  const head = make("div", "code-head", make("span", "", language), copy);
  const pre = /** @type {HTMLElement} */ (code.parentElement);
  pre.tabIndex = 0; // it scrolls, also by keyboard
  const block = make("div", "code");
  pre.replaceWith(block);
  block.append(head, pre);
}

/**
 * Puts a text on the clipboard and says so on the button that asked for it.
 *
 * @param {string} text
 * @param {HTMLButtonElement} button
 */
export async function copyText(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Not allowed";
  }
  setTimeout(() => (button.textContent = label), COPIED_MS);
}
