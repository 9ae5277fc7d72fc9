/* Rounds the inputs of a linear operation to 8 bits, in blocks of 32 with a float32 scale. */
#include "activations.h"

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

/* Adding 1.5 * 2^23 rounds to an integer, and leaves it in the low bits. */
#define ROUND 0x1.8p23f

static int32_t rounded_integer(float x) {
    return (int32_t)(v_bits_of_float(x + ROUND) - v_bits_of_float(ROUND));
}

/* scale = max|x| / 127, q = round(x / scale) to nearest even. A block with a NaN or an infinity
 * gets a NaN scale; one too small to divide by becomes zero. */
static void quantize_block(const float *x, ox_act_block *to) {
    vf32 largest = v_zero();
    for (int i = 0; i < 32; i += VF) largest = v_max(largest, v_abs(v_load(x + i)));
    const float max = v_hmax(largest);
    const float inverse = max > 0x1p-100f ? 127.0f / max : 0.0f;

    const vf32 round = v_splat(ROUND), factor = v_splat(inverse);
    float rounded[32], half_sum[2];
    for (int h = 0; h < 2; h++) {
        vf32 sum = v_zero();
        for (int i = 16 * h; i < 16 * h + 16; i += VF) {
            const vf32 v = v_add(v_mul(v_load(x + i), factor), round);
            v_store(rounded + i, v_act_order(v));
            sum = v_add(sum, v_sub(v, round));
        }
        half_sum[h] = v_hsum(sum);
    }
    for (int i = 0; i < 32; i++) to->q[i] = (int8_t)v_bits_of_float(rounded[i]);
    const float sum = half_sum[0] + half_sum[1]; /* NaN where x has one, or an infinity */
    const float scale = (inverse > 0.0f ? max / 127.0f : 0.0f) + sum * 0.0f;
    to->scale = scale;
    to->scaled_sum = scale * sum;
    to->sum = rounded_integer(sum);
    for (int h = 0; h < 2; h++) {
        to->scaled_half_sum[h] = scale * half_sum[h];
        to->half_sum[h] = rounded_integer(half_sum[h]);
    }
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
