/** The conversations that the browser stores, and their list on the page. */

import { make, makeButton } from "./dom.js";
import { createStore, del, get, set, values } from "./vendor/idb-keyval.js";

/** @import { ChatMessage } from "../protocol.js" */

/**
 * @typedef {object} Conversation
 * @property {string} id
 * @property {string} title
 * @property {string} model  the name of the model that answered last
 * @property {number} updated  milliseconds since 1970
 * @property {ChatMessage[]} messages
 */

const TITLE_LENGTH = 60;

/** Conversations in IndexedDB, or in memory if the browser forbids that. */
export class ConversationStore {
  #store = createStore("oxillama-conversations", "conversations");
  /** @type {Map<string, Conversation> | null} */
  #memory = null;
  #makeRoom;
  #onMemoryOnly;

  /**
   * @param {() => Promise<void>} makeRoom  called when the browser's storage is full
   * @param {() => void} onMemoryOnly  called when they are only in memory from now on
   */
  constructor(makeRoom, onMemoryOnly) {
    this.#makeRoom = makeRoom;
    this.#onMemoryOnly = onMemoryOnly;
  }

  /** @returns {Promise<Conversation[]>} newest first */
  async list() {
    const all = await this.#attempt(() => values(this.#store), (memory) => [...memory.values()]);
    return /** @type {Conversation[]} */ (all).sort((a, b) => b.updated - a.updated);
  }

  /**
   * @param {string} id
   * @returns {Promise<Conversation | undefined>}
   */
  load(id) {
    return this.#attempt(() => get(id, this.#store), (memory) => memory.get(id));
  }

  /** @param {Conversation} conversation */
  save(conversation) {
    const copy = structuredClone(conversation);
    const save = () => set(copy.id, copy, this.#store);
    return this.#attempt(
      () => save().catch(() => this.#makeRoom().then(save)),
      (memory) => void memory.set(copy.id, copy),
    );
  }

  /** @param {string} id */
  async remove(id) {
    this.#memory?.delete(id);
    await del(id, this.#store).catch(() => {}); // there is no database
  }

  /**
   * @template T
   * @param {() => Promise<T>} inDatabase
   * @param {(memory: Map<string, Conversation>) => T} inMemory
   * @returns {Promise<T>}
   */
  async #attempt(inDatabase, inMemory) {
    if (this.#memory === null) {
      try {
        return await inDatabase();
      } catch {
        this.#memory = await this.#copyAll();
        this.#onMemoryOnly();
      }
    }
    return inMemory(this.#memory);
  }

  /** @returns {Promise<Map<string, Conversation>>} those that can still be read */
  async #copyAll() {
    try {
      const all = /** @type {Conversation[]} */ (await values(this.#store));
      return new Map(all.map((conversation) => [conversation.id, conversation]));
    } catch {
      return new Map();
    }
  }
}

/** @returns {Conversation} */
export function newConversation() {
  return { id: crypto.randomUUID(), title: "", model: "", updated: Date.now(), messages: [] };
}

/**
 * Return the beginning of the first question.
 *
 * @param {ChatMessage[]} messages
 */
export function titleOf(messages) {
  const question = messages.find(({ role }) => role === "user")?.content ?? "";
  const line = question.trim().split("\n", 1)[0] ?? "";
  return line.length > TITLE_LENGTH ? `${line.slice(0, TITLE_LENGTH - 1)}…` : line;
}

/**
 * Write a conversation for people to read.
 *
 * @param {Conversation} conversation
 */
export function toMarkdown({ title, model, messages }) {
  const names = { user: "You", assistant: model || "Model", system: "Instructions" };
  const parts = messages.map(({ role, content }) => {
    const name = names[/** @type {keyof typeof names} */ (role)] ?? role;
    return `**${name}**\n\n${content.trim()}\n`;
  });
  return `# ${title || "Conversation"}\n\n${parts.join("\n")}`;
}

/** The list beside the chat. */
export class ConversationList {
  #list;
  #store;
  #onOpen;
  #onRemove;

  /**
   * @param {HTMLElement} list
   * @param {ConversationStore} store
   * @param {(id: string) => void} onOpen
   * @param {(id: string) => void} onRemove  after it was removed from the store
   */
  constructor(list, store, onOpen, onRemove) {
    this.#list = list;
    this.#store = store;
    this.#onOpen = onOpen;
    this.#onRemove = onRemove;
  }

  /** @param {string} current  id of the conversation on the page */
  async refresh(current) {
    const conversations = await this.#store.list();
    this.#list.replaceChildren(...conversations.map((one) => this.#item(one, one.id === current)));
  }

  /**
   * @param {Conversation} conversation
   * @param {boolean} isCurrent
   */
  #item({ id, title }, isCurrent) {
    const open = makeButton("conversation", title || "Untitled", () => this.#onOpen(id));
    if (isCurrent) open.setAttribute("aria-current", "true");
    const remove = makeButton("quiet icon", "×", () => void this.#remove(id, remove));
    remove.setAttribute("aria-label", `Delete “${title || "Untitled"}”`);
    return make("li", "", open, remove);
  }

  /**
   * Ask on the first click, and delete on the second.
   *
   * @param {string} id
   * @param {HTMLButtonElement} button
   */
  async #remove(id, button) {
    if (button.dataset.asked === undefined) {
      button.dataset.asked = "";
      button.textContent = "Delete?";
      button.addEventListener("blur", () => {
        delete button.dataset.asked;
        button.textContent = "×";
      }, { once: true });
      return;
    }
    await this.#store.remove(id);
    this.#onRemove(id);
  }
}
