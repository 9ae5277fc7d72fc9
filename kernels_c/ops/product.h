/* A matrix product. */
#ifndef OX_PRODUCT_H
#define OX_PRODUCT_H

#include "quant/activations.h"

/* dst[row of t] = scale * weight @ src[t] + bias for t in 0 .. n_rows - 1. */
typedef struct ox_product {
    const ox_tensor *weight; /* (n_out, n_in) */
    const float *bias;       /* (n_out), of any alignment, or NULL */
    float scale;
    const float *src; /* (n_rows, n_in) */
    float *dst;
    uint32_t dst_stride;      /* values from one row to the next */
    const uint32_t *dst_rows; /* (n_rows) the row of each t, or NULL: row t */
    uint32_t n_rows;
} ox_product;

static inline float *ox_product_row(const ox_product *product, uint32_t row) {
    const size_t at = product->dst_rows ? product->dst_rows[row] : row;
    return product->dst + at * product->dst_stride;
}

static inline float bias_of(const ox_product *product, uint32_t row) {
    return product->bias ? v_float_of_bits(v_load_u32(product->bias + row)) : 0.0f;
}

enum { CHUNK_BYTES = 128 << 10, MAX_CHUNKS = 4 };

/* How many of n tiles (panels, or tiles of rows) make a chunk. Chunks are small, so that all
 * threads finish together. With few tokens a thread takes up to MAX_CHUNKS chunks of at least
 * CHUNK_BYTES of weights: taking a chunk costs up to half a microsecond, and weights are read best
 * in long runs. */
static inline uint32_t tiles_per_chunk(const ox_run *run, const ox_product *product, uint32_t n) {
    if (product->n_rows > OX_GEMV_TOKENS) return 1;
    uint64_t n_chunks = product->weight->bytes / CHUNK_BYTES / run->n_threads;
    if (n_chunks > MAX_CHUNKS) n_chunks = MAX_CHUNKS;
    const uint64_t of_all = (n_chunks < 1 ? 1 : n_chunks) * run->n_threads;
    return (uint32_t)((n + of_all - 1) / of_all);
}

#endif
