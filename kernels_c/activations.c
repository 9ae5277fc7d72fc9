/* Rounds the inputs of a linear operation to 8 bits, in blocks of 32 with a float32 scale. */
#include "activations.h"

#ifndef V_ACT_ORDER
#define V_ACT_ORDER(i) (i)
#endif

static uint32_t group_size(uint32_t n_rows) {
    return n_rows <= OX_GEMV_TOKENS ? n_rows : V_TILE_TOKENS;
}

uint64_t ox_activation_bytes(uint32_t n_in, uint32_t n_rows) {
    const uint32_t group = n_rows ? group_size(n_rows) : 1;
    const uint64_t rows = ((uint64_t)n_rows + group - 1) / group * group;
    return rows * (n_in / 32) * sizeof(ox_act_block);
}

ox_activations ox_activations_at(uint8_t *memory, uint32_t n_in, uint32_t n_rows) {
    return (ox_activations){(ox_act_block *)memory, n_in / 32, group_size(n_rows)};
}

/* scale = max|x| / 127, q = round(x / scale) to nearest even. A block with a NaN or an infinity
 * gets a NaN scale; one too small to divide by becomes zero. */
static void quantize_block(const float *x, ox_act_block *to) {
    vf32 largest = v_zero(), poison = v_zero();
    for (int i = 0; i < 32; i += VF) {
        const vf32 v = v_load(x + i);
        largest = v_max(largest, v_abs(v));
        poison = v_fma(v, v_zero(), poison); /* 0, or NaN */
    }
    const float max = v_hmax(largest);
    const float inverse = max > 0x1p-100f ? 127.0f / max : 0.0f;
    const float scale = (inverse > 0.0f ? max / 127.0f : 0.0f) + v_hsum(poison);

    /* adding 1.5 * 2^23 rounds, and leaves the integer in the low bits */
    const vf32 shift = v_splat(0x1.8p23f), factor = v_splat(inverse);
    float rounded[32];
    for (int i = 0; i < 32; i += VF) {
        v_store(rounded + i, v_add(v_mul(v_load(x + i), factor), shift));
    }
    int8_t q[32];
    for (int i = 0; i < 32; i++) q[i] = (int8_t)v_bits_of_float(rounded[i]);
    for (uint32_t i = 0; i < 32; i++) to->q[V_ACT_ORDER(i)] = q[i];
    int32_t low = 0, high = 0;
    for (int i = 0; i < 16; i++) low += q[i];
    for (int i = 16; i < 32; i++) high += q[i];
    to->scale = scale;
    to->scaled_sum = scale * (float)(low + high);
    to->scaled_half_sum[0] = scale * (float)low;
    to->scaled_half_sum[1] = scale * (float)high;
    to->sum = low + high;
    to->half_sum[0] = low;
    to->half_sum[1] = high;
    to->reserved = 0;
}

/* One token is split between threads by blocks, many by tokens. */
void ox_quantize_rows(const ox_run *run, const ox_activations *to, const float *rows,
                      uint32_t n_rows) {
    const uint32_t n_in = to->n_blocks * 32;
    uint32_t first_row = 0, last_row = n_rows, first = 0, last = to->n_blocks;
    if (n_rows >= run->n_threads) {
        ox_share(run, n_rows, &first_row, &last_row);
    } else {
        ox_share(run, to->n_blocks, &first, &last);
    }
    for (uint32_t t = first_row; t < last_row; t++) {
        ox_act_block *group = to->blocks + (size_t)(t / to->group) * to->n_blocks * to->group;
        for (uint32_t b = first; b < last; b++) {
            quantize_block(rows + (size_t)t * n_in + b * 32,
                           group + (size_t)b * to->group + t % to->group);
        }
    }
}
