/* What both kinds of OX_LINEAR, with quantized weights or not, compute. */
#ifndef OX_PRODUCT_H
#define OX_PRODUCT_H

#include "quant/activations.h"

/* bias may be NULL, and have any alignment. src: n_rows x n_in; dst: n_out values in rows that are
 * dst_stride apart, 0 .. n_rows - 1 or those in dst_rows.
 */
typedef struct ox_product {
    const ox_tensor *weight;
    const float *bias;
    const float *src;
    float *dst;
    uint32_t dst_stride;
    const uint32_t *dst_rows; /* [n_rows], or NULL */
    uint32_t n_rows;
} ox_product;

static inline float *ox_product_row(const ox_product *product, uint32_t row) {
    const size_t at = product->dst_rows ? product->dst_rows[row] : row;
    return product->dst + at * product->dst_stride;
}

static inline float bias_of(const ox_product *product, uint32_t row) {
    return product->bias ? v_float_of_bits(v_load_u32(product->bias + row)) : 0.0f;
}

enum { TURN_BYTES = 128 << 10, MOST_TURNS = 4 };

/* How many of n panels or tiles of rows a thread takes at once: few, so that all threads end
 * together. For a few tokens every thread takes up to MOST_TURNS parts of at least TURN_BYTES of
 * weights: to take a turn costs up to half a microsecond, and weights are read best in long runs.
 */
static inline uint32_t rows_at_once(const ox_run *run, const ox_product *product, uint32_t n) {
    if (product->n_rows > OX_GEMV_TOKENS) return 1;
    uint64_t turns = product->weight->bytes / TURN_BYTES / run->n_threads;
    if (turns > MOST_TURNS) turns = MOST_TURNS;
    const uint64_t all = (turns < 1 ? 1 : turns) * run->n_threads;
    return (uint32_t)((n + all - 1) / all);
}

#endif
