/**
 * Snapshots of the model's key/value cache, kept in the browser. When a conversation is opened
 * again, the next question computes only its own tokens.
 */

import { OxiLlamaError } from "../oxillama.js";
import { clear, createStore, del, entries, get, set } from "./vendor/idb-keyval.js";

/** @import { OxiLlama } from "../oxillama.js" */
/** @import { Conversation, ConversationStore } from "./conversations.js" */

/**
 * @typedef {object} KVSnapshot
 * @property {string} model  the name of the model
 * @property {number} updated  milliseconds since 1970
 * @property {Blob} content  what OxiLlama.saveConversation returned
 */

/** Only the newest are kept: they are large, and can be computed again. */
const MAX_SNAPSHOTS = 4;
const MAX_BYTES_EACH = 128e6;
const MAX_BYTES = 256e6;
/** The model must be idle for this long before a snapshot is saved. */
const IDLE_MS = 1000;

/** The snapshots in IndexedDB. Nothing depends on them: if that fails, there are none. */
export class SnapshotStore {
  // named before snapshots were called so; users have data under this name
  #store = createStore("oxillama-sessions", "sessions");

  /**
   * @param {string} id  of the conversation
   * @returns {Promise<KVSnapshot | undefined>}
   */
  load(id) {
    return get(id, this.#store).catch(() => undefined);
  }

  /**
   * @param {string} id
   * @param {KVSnapshot} snapshot
   */
  async save(id, snapshot) {
    try {
      await set(id, snapshot, this.#store);
      await this.#evict();
    } catch {
      await this.clear(); // storage is full, and models and conversations are more important
    }
  }

  /** @param {string} id */
  remove(id) {
    return del(id, this.#store).catch(() => {});
  }

  clear() {
    return clear(this.#store).catch(() => {});
  }

  /** Remove the oldest ones if there are too many, or if they are too large together. */
  async #evict() {
    const all = /** @type {[string, KVSnapshot][]} */ (await entries(this.#store));
    all.sort(([, a], [, b]) => b.updated - a.updated);
    let bytes = 0;
    for (const [index, [id, { content }]] of all.entries()) {
      bytes += content.size;
      if (index >= MAX_SNAPSHOTS || bytes > MAX_BYTES) await this.remove(id);
    }
  }
}

/** Saves the snapshots of one loaded model while it is idle, and restores them. */
export class SnapshotKeeper {
  #llm;
  #snapshots;
  #conversations;
  /**
   * The conversation that has changed since its last snapshot.
   *
   * @type {Conversation | null}
   */
  #unsaved = null;
  #timer = 0;
  #bytesPerToken;
  /** The last actions of the model and of the store: each waits for the one before. */
  #modelQueue = Promise.resolve();
  #storeQueue = Promise.resolve();

  /**
   * @param {OxiLlama} llm
   * @param {SnapshotStore} snapshots
   * @param {ConversationStore} conversations
   */
  constructor(llm, snapshots, conversations) {
    this.#llm = llm;
    this.#snapshots = snapshots;
    this.#conversations = conversations;
    // a guess until the first snapshot: keys and values in float16, as wide as the model
    this.#bytesPerToken = 4 * llm.info.layers * llm.info.hiddenSize;
  }

  /**
   * Save a snapshot of a conversation once the model has been idle for a while.
   *
   * @param {Conversation} conversation
   */
  saveWhenIdle(conversation) {
    this.#unsaved = conversation;
    this.#timer = window.setTimeout(() => whenIdle(() => void this.saveNow()), IDLE_MS);
  }

  /** Save nothing for now: a question comes. */
  hold() {
    this.#unsaved = null;
    clearTimeout(this.#timer);
  }

  /** Resolves when nothing is being saved or restored. */
  get free() {
    return this.#modelQueue;
  }

  /** Save the unsaved conversation now. Resolves when the model is free. */
  saveNow() {
    const conversation = this.#unsaved;
    this.hold();
    if (conversation !== null) this.#enqueue(() => this.#save(conversation.id));
    return this.#modelQueue;
  }

  /**
   * Restore the snapshot of a conversation, if there is one.
   *
   * @param {Conversation} conversation
   * @param {(tokens: number) => void} onRestored  receives how many tokens the model has of it
   */
  restore({ id }, onRestored) {
    this.#enqueue(() => this.#restore(id, onRestored));
  }

  /** @param {string} id  of a conversation that was deleted */
  remove(id) {
    if (this.#unsaved?.id === id) this.#unsaved = null;
    this.#enqueue(async () => this.#write(() => this.#snapshots.remove(id)));
  }

  /** @param {string} id */
  async #save(id) {
    const tokens = this.#llm.stats?.contextTokens ?? 0;
    if (tokens * this.#bytesPerToken > MAX_BYTES_EACH) return;
    const bytes = await this.#llm.saveConversation();
    if (tokens > 0) this.#bytesPerToken = bytes.length / tokens;
    const model = this.#llm.info.name;
    const snapshot = { model, updated: Date.now(), content: new Blob([bytes]) };
    this.#write(async () => {
      const isKnown = (await this.#conversations.load(id)) !== undefined;
      if (isKnown && bytes.length <= MAX_BYTES_EACH) await this.#snapshots.save(id, snapshot);
    });
  }

  /**
   * @param {string} id
   * @param {(tokens: number) => void} onRestored
   */
  async #restore(id, onRestored) {
    await this.#storeQueue;
    const snapshot = await this.#snapshots.load(id);
    if (snapshot?.model !== this.#llm.info.name) return;
    try {
      const bytes = new Uint8Array(await snapshot.content.arrayBuffer());
      onRestored(await this.#llm.restoreConversation(bytes));
    } catch (error) {
      const isDisposed = error instanceof OxiLlamaError && error.code === "disposed";
      // else it is damaged, or of another file
      if (!isDisposed) this.#write(() => this.#snapshots.remove(id));
    }
  }

  /** @param {() => Promise<void>} action */
  #enqueue(action) {
    // a model that has ended says so when it is asked a question
    this.#modelQueue = this.#modelQueue.then(action).catch(() => {});
  }

  /** @param {() => Promise<void>} action */
  #write(action) {
    this.#storeQueue = this.#storeQueue.then(action).catch(() => {});
  }
}

/** @param {() => void} action */
function whenIdle(action) {
  if ("requestIdleCallback" in window) requestIdleCallback(action);
  else action();
}
