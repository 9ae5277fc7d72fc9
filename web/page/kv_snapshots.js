/**
 * What the model has read and written of a conversation (its key/value cache), kept in the browser:
 * when the conversation is opened again, the next question reads only its own tokens.
 */

import { clear, createStore, del, entries, get, set } from "./vendor/idb-keyval.js";
import { OxiLlamaError } from "../oxillama.js";

/** @import { OxiLlama } from "../oxillama.js" */
/** @import { Conversation, ConversationStore } from "./conversations.js" */

/**
 * @typedef {object} KeptSession
 * @property {string} model  its name
 * @property {number} updated  milliseconds since 1970
 * @property {Blob} content  of OxiLlama.saveSession
 */

/** Of the newest conversations only: they are large, and can be computed again. */
const MOST_SESSIONS = 4;
const MOST_BYTES_EACH = 128e6;
const MOST_BYTES = 256e6;
/** So long nobody asks anything before the model's time is taken for this. */
const IDLE_MS = 1000;

/** Sessions in IndexedDB. Nothing depends on them: where that fails, there are none. */
export class SessionStore {
  #store = createStore("oxillama-sessions", "sessions");

  /**
   * @param {string} id  of the conversation
   * @returns {Promise<KeptSession | undefined>}
   */
  load(id) {
    return get(id, this.#store).catch(() => undefined);
  }

  /**
   * @param {string} id
   * @param {KeptSession} session
   */
  async save(id, session) {
    try {
      await set(id, session, this.#store);
      await this.#drop();
    } catch {
      await this.clear(); // the storage is full, and models and conversations need it more
    }
  }

  /** @param {string} id */
  remove(id) {
    return del(id, this.#store).catch(() => {});
  }

  clear() {
    return clear(this.#store).catch(() => {});
  }

  /** Take away the oldest ones, as far as there are too many, or too large ones. */
  async #drop() {
    const all = /** @type {[string, KeptSession][]} */ (await entries(this.#store));
    all.sort(([, a], [, b]) => b.updated - a.updated);
    let bytes = 0;
    for (const [index, [id, { content }]] of all.entries()) {
      bytes += content.size;
      if (index >= MOST_SESSIONS || bytes > MOST_BYTES) await this.remove(id);
    }
  }
}

/** Keeps the sessions of one loaded model while it is idle, and brings them back. */
export class SessionKeeper {
  #llm;
  #sessions;
  #conversations;
  /**
   * What the model holds beyond what is kept.
   *
   * @type {Conversation | null}
   */
  #unkept = null;
  #timer = 0;
  #bytesPerToken;
  /** The model is asked for one thing after the other, and so is the store. */
  #asked = Promise.resolve();
  #stored = Promise.resolve();

  /**
   * @param {OxiLlama} llm
   * @param {SessionStore} sessions
   * @param {ConversationStore} conversations
   */
  constructor(llm, sessions, conversations) {
    this.#llm = llm;
    this.#sessions = sessions;
    this.#conversations = conversations;
    // until the first one tells: keys and values of float16, in all of the model's width
    this.#bytesPerToken = 4 * llm.info.layers * llm.info.hiddenSize;
  }

  /**
   * An answer is complete. It is kept when nothing else was asked for a while.
   *
   * @param {Conversation} conversation
   */
  answered(conversation) {
    this.#unkept = conversation;
    this.#timer = window.setTimeout(() => whenIdle(() => void this.keep()), IDLE_MS);
  }

  /** A question comes: nothing is kept until it is answered. */
  hold() {
    this.#unkept = null;
    clearTimeout(this.#timer);
  }

  /** Resolves when nothing is being kept or brought back. */
  get free() {
    return this.#asked;
  }

  /** Keep what was not kept yet, now. Resolves when the model is free. */
  keep() {
    const conversation = this.#unkept;
    this.hold();
    if (conversation !== null) this.#ask(() => this.#save(conversation.id));
    return this.#asked;
  }

  /**
   * Go on from what was kept of this conversation, if that is possible.
   *
   * @param {Conversation} conversation
   * @param {(tokens: number) => void} onRestored  how many of its tokens the model has
   */
  restore({ id }, onRestored) {
    this.#ask(() => this.#restore(id, onRestored));
  }

  /** @param {string} id  of a conversation that is no more */
  forget(id) {
    if (this.#unkept?.id === id) this.#unkept = null;
    this.#ask(async () => this.#write(() => this.#sessions.remove(id)));
  }

  /** @param {string} id */
  async #save(id) {
    const tokens = this.#llm.stats?.contextTokens ?? 0;
    if (tokens * this.#bytesPerToken > MOST_BYTES_EACH) return;
    const bytes = await this.#llm.saveSession();
    if (tokens > 0) this.#bytesPerToken = bytes.length / tokens;
    const model = this.#llm.info.name;
    const session = { model, updated: Date.now(), content: new Blob([bytes]) };
    this.#write(async () => {
      const isKnown = (await this.#conversations.load(id)) !== undefined;
      if (isKnown && bytes.length <= MOST_BYTES_EACH) await this.#sessions.save(id, session);
    });
  }

  /**
   * @param {string} id
   * @param {(tokens: number) => void} onRestored
   */
  async #restore(id, onRestored) {
    await this.#stored;
    const session = await this.#sessions.load(id);
    if (session?.model !== this.#llm.info.name) return;
    try {
      const bytes = new Uint8Array(await session.content.arrayBuffer());
      onRestored(await this.#llm.loadSession(bytes));
    } catch (error) {
      const isLeaving = error instanceof OxiLlamaError && error.code === "disposed";
      if (!isLeaving) this.#write(() => this.#sessions.remove(id)); // damaged, or of another file
    }
  }

  /** @param {() => Promise<void>} action */
  #ask(action) {
    // a model that is no more tells so when it is asked a question
    this.#asked = this.#asked.then(action).catch(() => {});
  }

  /** @param {() => Promise<void>} action */
  #write(action) {
    this.#stored = this.#stored.then(action).catch(() => {});
  }
}

/** @param {() => void} action */
function whenIdle(action) {
  if ("requestIdleCallback" in window) requestIdleCallback(action);
  else action();
}
