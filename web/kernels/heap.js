/** An allocator over a WebAssembly memory, which grows as needed. */

const ALIGNMENT = 64;
const PAGE_BYTES = 65536;
/** Growing is expensive, so it is never by less. */
const MIN_GROWTH_PAGES = 16;

/**
 * First fit over a list of holes. There are few blocks, and large ones: a model, its work buffers,
 * and pages of the conversation.
 */
export class KernelHeap {
  #memory;
  /** Where the last block ends; everything after it is free. */
  #top;
  /** Everything from this address on was never allocated, and is zero. */
  #untouched;
  /** @type {Map<number, number>} end of each block by its address */
  #blocks = new Map();
  /** @type {{start: number, end: number}[]} between blocks, by address; adjacent ones are merged */
  #holes = [];

  /**
   * @param {WebAssembly.Memory} memory
   * @param {number} start  the first byte that is free
   */
  constructor(memory, start) {
    this.#memory = memory;
    this.#top = this.#untouched = align(start);
  }

  /**
   * @param {number} bytes
   * @returns {number} the address of zeroed bytes, a multiple of 64; 0 if there is no room
   */
  allocate(bytes) {
    const size = align(Math.max(bytes, 1));
    const index = this.#holes.findIndex(({ start, end }) => end - start >= size);
    const hole = this.#holes[index];
    const start = hole?.start ?? this.#top;
    const end = start + size;
    if (hole === undefined) {
      if (!this.#reach(end)) return 0;
      this.#top = end;
    } else if (hole.end === end) this.#holes.splice(index, 1);
    else hole.start = end;
    this.#blocks.set(start, end);
    const used = Math.min(end, this.#untouched);
    if (used > start) new Uint8Array(this.#memory.buffer, start, used - start).fill(0);
    this.#untouched = Math.max(this.#untouched, end);
    return start;
  }

  /**
   * @param {number} address  of the block with the highest address
   * @param {number} bytes  its new size; its content stays
   * @returns {boolean} false if there is no room
   */
  resizeLast(address, bytes) {
    const end = address + align(bytes);
    if (this.#blocks.get(address) !== this.#top) throw new Error("only the last block can grow");
    if (!this.#reach(end)) return false;
    this.#blocks.set(address, end);
    this.#top = end;
    this.#untouched = Math.max(this.#untouched, end);
    return true;
  }

  /** @param {number} address  that `allocate` returned */
  free(address) {
    const end = this.#blocks.get(address);
    if (end === undefined) throw new Error(`no block begins at ${address}`);
    this.#blocks.delete(address);
    const at = this.#holes.findIndex((hole) => hole.start > address);
    const index = at < 0 ? this.#holes.length : at;
    const hole = { start: address, end };
    const [before, after] = [this.#holes[index - 1], this.#holes[index]];
    const joinsBefore = before?.end === hole.start;
    const joinsAfter = after?.start === hole.end;
    if (joinsBefore) hole.start = before.start;
    if (joinsAfter) hole.end = after.end;
    const first = index - (joinsBefore ? 1 : 0);
    this.#holes.splice(first, (joinsBefore ? 1 : 0) + (joinsAfter ? 1 : 0), hole);
    if (hole.end !== this.#top) return;
    this.#holes.pop();
    this.#top = hole.start;
  }

  /** @param {number} end  @returns {boolean} whether the memory reaches up to there */
  #reach(end) {
    const missing = Math.ceil((end - this.#memory.buffer.byteLength) / PAGE_BYTES);
    if (missing <= 0) return true;
    return this.#grow(Math.max(missing, MIN_GROWTH_PAGES)) || this.#grow(missing);
  }

  /** @param {number} pages */
  #grow(pages) {
    try {
      this.#memory.grow(pages);
      return true;
    } catch {
      return false;
    }
  }
}

/** @param {number} bytes */
function align(bytes) {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
