/* The interface between Python (or JavaScript) and the kernels.
 *
 * Every struct has one layout on wasm32 and on 64-bit machines: addresses are uint64_t, and members
 * are ordered so that there is no padding. oxillama_web/backends/kernels/abi.py mirrors the
 * layouts with ctypes, and a test compares sizes, names and numbers.
 *
 * The caller owns all memory. Kernels allocate nothing and keep no state between calls. They check
 * their input once per model (ox_check_model) and once per call (ox_forward).
 */
#ifndef OX_H
#define OX_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define OX_EXPORT __declspec(dllexport)
#else
#define OX_EXPORT __attribute__((visibility("default")))
#endif

#define OX_ABI_VERSION 12

/* Rows of a weight matrix that are interleaved in a packed tensor: see quant/formats.h. */
#define OX_PANEL_ROWS 16

/* A weight: n_out rows of n_in elements, row-major as in GGUF (ne[0] = n_in), or in panels. */
typedef struct ox_tensor {
    uint64_t data;   /* address of the first byte; any alignment */
    uint64_t bytes;  /* size of the data */
    uint32_t format; /* ggml type number */
    uint32_t packed; /* 1: ox_pack has interleaved its rows */
    uint32_t n_in;   /* elements in a row */
    uint32_t n_out;  /* rows */
} ox_tensor;

/* An activation: float32 [rows][width]. rows: the tokens of the batch, or those whose output is
 * asked for. */
typedef struct ox_buffer {
    uint64_t data;       /* address, 64-byte aligned */
    uint32_t capacity;   /* rows that fit */
    uint32_t width;      /* float32 values in a row */
    uint32_t rows;       /* enum ox_rows */
    uint32_t replicated; /* 1: each thread computes a copy in a pass of one token, thread t in
                          * row t, which is quicker than waiting for another thread */
} ox_buffer;

enum ox_rows { OX_ROWS_BATCH = 0, OX_ROWS_OUTPUT = 1 };

/* The passes in which all threads must have finished the operations before this one: passes of
 * several tokens, of one token. */
enum ox_barriers { OX_BARRIER_MANY = 1, OX_BARRIER_ONE = 2 };

/* One step of a plan: see ops/ops.h for the kinds. */
typedef struct ox_op {
    uint32_t kind;
    uint32_t barrier; /* enum ox_barriers */
    int32_t dst;      /* number of the buffer that it writes, -1: none */
    int32_t args[13]; /* its other operands in the order of its struct in kernels_c/ops/: numbers of
                       * buffers, tensors, constants, layers and states (-1: none), integers, and
                       * floats */
} ox_op;

/* Which values of a head rotate together: (2j, 2j+1), or (j, j + n/2) */
enum ox_rope_style { OX_INTERLEAVED = 0, OX_NEOX = 1 };

/* Positions in a tile of the cache, in which keys are transposed. */
#define OX_KEY_TILE 64

/* The place of a layer's keys and values in each page of the cache, in the cache's format:
 * keys [n_heads][page_tokens / OX_KEY_TILE][k_dim][OX_KEY_TILE] at k_offset,
 * values [n_heads][page_tokens][v_dim] at v_offset. Offsets are multiples of 64. In Q8_0 the scales
 * come after each tile: see ops/kv_cache.h. */
typedef struct ox_kv_layer {
    uint64_t k_offset; /* bytes from the page's start */
    uint64_t v_offset;
    uint32_t n_heads;
    uint32_t k_dim; /* values in one head's key */
    uint32_t v_dim;
    uint32_t reserved;
} ox_kv_layer;

/* The place of a recurrent layer's state in a sequence's states: float32 [rows][width] at offset, a
 * multiple of 64. */
typedef struct ox_state {
    uint64_t offset; /* bytes */
    uint32_t rows;
    uint32_t width;
} ox_state;

typedef struct ox_model {
    uint64_t tensors;   /* address of ox_tensor[n_tensors]: the weights */
    uint64_t constants; /* address of ox_tensor[n_constants]: vectors that belong to the plan */
    uint64_t buffers;   /* address of ox_buffer[n_buffers] */
    uint64_t ops;       /* address of ox_op[n_ops] */
    uint64_t kv_layers; /* address of ox_kv_layer[n_kv_layers] */
    uint32_t n_tensors;
    uint32_t n_constants;
    uint32_t n_buffers;
    uint32_t n_ops;
    uint32_t n_kv_layers;
    uint32_t page_tokens; /* positions in a page, a power of two, at least OX_KEY_TILE */
    uint32_t kv_format;   /* ggml type number: F32, F16 or Q8_0 */
    uint32_t n_states;
    uint64_t page_bytes;
    uint64_t states;      /* address of ox_state[n_states] */
    uint64_t state_bytes; /* of a sequence's states */
} ox_model;

/* Consecutive tokens of one sequence in a batch, and the sequence's cache. */
typedef struct ox_sequence {
    uint64_t pages; /* address of uint64_t[n_pages]: the pages' addresses, 64-byte aligned */
    uint32_t n_pages;
    uint32_t position;    /* of the first of these tokens in the sequence */
    uint32_t first_token; /* its row in the batch: the number of tokens before it */
    uint32_t n_tokens;
    uint64_t states; /* address of its recurrent states, 64-byte aligned: as they are before these
                      * tokens, and after the pass as they are after them */
} ox_sequence;

/* Tokens of one or more sequences, sequence after sequence. A page that one of them writes to must
 * not belong to another, and neither must its states. */
typedef struct ox_batch {
    uint64_t tokens; /* address of int32_t[n_tokens] */
    uint64_t
        outputs; /* address of uint32_t[n_outputs]: rows whose output is asked for, ascending */
    uint64_t sequences; /* address of ox_sequence[n_sequences] */
    uint32_t n_tokens;
    uint32_t n_outputs;
    uint32_t n_sequences;
    uint32_t reserved;
} ox_batch;

/* What the functions below return; ox_check_model adds (index of the operation << 8). */
enum ox_status {
    OX_OK = 0,
    OX_BAD_MODEL = 1,   /* a number is outside of its table, or sizes do not fit together */
    OX_BAD_FORMAT = 2,  /* a tensor's format has no kernel */
    OX_BAD_BATCH = 3,   /* more tokens, outputs or positions than buffers or pages hold */
    OX_BAD_TOKEN = 4,   /* a token number outside of the embedding */
    OX_BAD_SCRATCH = 5, /* the scratch memory is too small */
    OX_POISONED_POOL =
        6, /* a thread of the pool has ended or hangs; the pool cannot be used again */
};

OX_EXPORT uint32_t ox_abi_version(void);

/* sizeof each struct above, in the order of their definition, for the test of the Python side. */
OX_EXPORT uint32_t ox_struct_size(uint32_t index);

/* The number of operands in ox_op.args of a kind of operation, -1 if there is no such kind. */
OX_EXPORT int32_t ox_op_words(uint32_t kind);

/* 1 if tensors of this ggml type can be matrices. */
OX_EXPORT int32_t ox_format_supported(uint32_t format);

/* Interleaves panels first_panel .. first_panel + n_panels - 1 of a row-major tensor in place, so
 * that one vector load reads the same columns of several rows. The size does not change. Rows after
 * the last whole panel stay as they are, and so do formats that gain nothing. The caller sets
 * `packed` when all panels are done. scratch: ox_pack_scratch_bytes(tensor). */
OX_EXPORT uint64_t ox_pack_scratch_bytes(const ox_tensor *tensor);
OX_EXPORT int32_t ox_pack(const ox_tensor *tensor, uint32_t first_panel, uint32_t n_panels,
                          uint8_t *scratch, uint64_t scratch_bytes);

/* Checks every number in the model against its table; call once before ox_forward. */
OX_EXPORT int32_t ox_check_model(const ox_model *model);

/* Bytes of scratch memory (64-byte aligned) that a forward pass of n_tokens tokens on n_threads
 * threads needs. */
OX_EXPORT uint64_t ox_scratch_bytes(const ox_model *model, uint32_t n_tokens, uint32_t n_threads);

/* Executes the whole plan on the calling thread. */
OX_EXPORT int32_t ox_forward(const ox_model *model, const ox_batch *batch, uint8_t *scratch,
                             uint64_t scratch_bytes);

/* How the keys of a layer are rotated when they move; n_pairs is 0 if keys have no positions. */
typedef struct ox_key_rotation {
    uint64_t table;   /* address of float32 [2 * n_pairs]: cosines, then sines, of the angles */
    uint32_t n_pairs; /* pairs of the first values of each head */
    uint32_t style;   /* enum ox_rope_style */
} ox_key_rotation;

/* Context shift: moves the positions of `sequence` n positions down in the cache, over those before
 * them. Values move as they are; keys are rotated (K-shift) and rounded again to the cache's
 * format. A page that is written to must not belong to another sequence. rotations: ox_key_rotation
 * [n_kv_layers]; scratch: one key, float32 [the largest k_dim]. */
OX_EXPORT int32_t ox_kv_shift(const ox_model *model, const ox_sequence *sequence, uint32_t n,
                              const ox_key_rotation *rotations, float *scratch, uint32_t n_scratch);

/* The k largest logits, descending, of equal ones the smaller id first; NaN counts as the smallest.
 * Returns how many it wrote (the smaller of n and k). */
OX_EXPORT uint32_t ox_top_k(const float *logits, uint32_t n, uint32_t k, uint32_t *ids,
                            float *values);

/* The fewest tokens, descending as in ox_top_k, whose probabilities of softmax(logits /
 * temperature) reach p. Returns how many, 0 if all logits are -infinity or NaN. ids and values have
 * room for n; what comes after the result is undefined. */
OX_EXPORT uint32_t ox_top_p(const float *logits, uint32_t n, float temperature, double p,
                            uint32_t *ids, float *values);

/* log(sum(exp(logits / temperature))) */
OX_EXPORT float ox_logsumexp(const float *logits, uint32_t n, float temperature);

/* The entropy of softmax(logits / temperature), in nats. */
OX_EXPORT float ox_entropy(const float *logits, uint32_t n, float temperature);

/* The first index whose cumulative softmax(logits / temperature) exceeds u (0 <= u < 1). */
OX_EXPORT uint32_t ox_sample(const float *logits, uint32_t n, float temperature, double u);

/* A vocabulary's bytes: token t is bytes[offsets[t]] to bytes[offsets[t + 1]] (exclusive). */
typedef struct ox_vocabulary {
    uint64_t bytes;   /* uint8 [n_bytes] */
    uint64_t offsets; /* uint32 [n_tokens + 1] */
    uint32_t n_bytes;
    uint32_t n_tokens;
} ox_vocabulary;

/* An automaton over bytes with a table of transitions that may be incomplete: state 0 is dead, and
 * an entry of n_states or more is a missing transition. */
typedef struct ox_automaton {
    uint64_t classes; /* uint8 [256], each below n_classes */
    uint64_t table;   /* uint16 [n_states * n_classes] */
    uint32_t n_classes;
    uint32_t n_states;
} ox_automaton;

enum { OX_TRANSITION_MISSING = 0xfffe }; /* one that has been reported */

/* Sets the bits of the tokens that the automaton accepts from a state on, in mask, uint32
 * [ceil(n_tokens / 32)]. Tokens without bytes are never accepted. Those of the n_ids ids that reach
 * a missing transition move to the front of ids; returns how many. The indices of these transitions
 * are written to missing, uint32 [max_missing], and their number to n_missing; in the table they
 * become OX_TRANSITION_MISSING. */
OX_EXPORT uint32_t ox_match_tokens(const ox_vocabulary *vocabulary, const ox_automaton *automaton,
                                   uint32_t state, uint32_t *ids, uint32_t n_ids, uint32_t *mask,
                                   uint32_t *missing, uint32_t max_missing, uint32_t *n_missing);

/* Sets logits to -infinity whose bit in mask, uint32 [ceil(n_mask / 32)], is not set, and those
 * from n_mask on. */
OX_EXPORT void ox_mask_logits(float *logits, uint32_t n, const uint32_t *mask, uint32_t n_mask);

/* Skips up to n_strings strings of a GGUF header (text/strings.c). Returns how many of them are
 * complete in these bytes, and in `end` where the last of those ends. */
OX_EXPORT uint64_t ox_skip_strings(const uint8_t *bytes, uint64_t n_bytes, uint64_t n_strings,
                                   uint64_t *end);

/* Copies such strings to text, uint8 [n_bytes], with a 0 after each. Returns the number of bytes
 * written, 0 if a string is incomplete or contains a 0. */
OX_EXPORT uint64_t ox_join_strings(const uint8_t *bytes, uint64_t n_bytes, uint64_t n_strings,
                                   uint8_t *text);

/* XXH64 with seed 0. */
OX_EXPORT uint64_t ox_checksum(const uint8_t *bytes, uint64_t n_bytes);

#if !defined(__wasm__) || defined(__wasm_atomics__)
/* ox_forward on all threads of a pool, the caller's among them. */
typedef struct ox_pool ox_pool;
OX_EXPORT int32_t ox_pool_forward(ox_pool *pool, const ox_model *model, const ox_batch *batch,
                                  uint8_t *scratch, uint64_t scratch_bytes);
#endif

#ifdef __wasm_atomics__
/* A pool of web workers: zeroed memory of ox_pool_bytes(), 64-byte aligned. Each worker but the
 * first calls ox_pool_work, which returns when the pool stops. The pool is poisoned when a thread
 * keeps the others waiting for longer than timeout_ms; a worker that fails calls ox_pool_poison. */
OX_EXPORT uint32_t ox_pool_bytes(void);
OX_EXPORT void ox_pool_init(ox_pool *pool, uint32_t n_threads, uint32_t timeout_ms);
OX_EXPORT void ox_pool_work(ox_pool *pool, uint32_t thread);
OX_EXPORT void ox_pool_poison(ox_pool *pool);
#endif

#ifndef __wasm__
/* A pool of native threads, or NULL if they cannot be created. */
OX_EXPORT ox_pool *ox_pool_create(uint32_t n_threads);
OX_EXPORT void ox_pool_destroy(ox_pool *pool);

/* Instruction sets of this processor: bit 0 AVX2+FMA+F16C, bit 1 AVX-512 (F, BW, VL, VNNI),
 * bit 2 Arm dot product. */
OX_EXPORT uint32_t ox_cpu_features(void);
#endif

#endif
