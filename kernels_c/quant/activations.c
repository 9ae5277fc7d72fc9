/* Rounds the inputs of a product to 8 bits, in blocks of 32 with a float32 scale. */
#include "quant/activations.h"

enum { MAX_GROUP = V_TILE_TOKENS + OX_GEMV_TOKENS };

static uint32_t group_size(uint32_t n_rows) {
    return n_rows <= OX_GEMV_TOKENS ? n_rows : V_TILE_TOKENS;
}

uint32_t ox_activation_groups(uint32_t n_rows) {
    return n_rows ? (n_rows + group_size(n_rows) - 1) / group_size(n_rows) : 0;
}

uint64_t ox_activation_bytes(uint32_t n_in, uint32_t n_rows) {
    const uint32_t group = n_rows ? group_size(n_rows) : 1;
    const uint64_t n_groups = ((uint64_t)n_rows + group - 1) / group, n_blocks = n_in / 32;
    return n_groups *
           (2 * group * n_blocks * sizeof(ox_act_block) + (n_blocks + 1) * sizeof(uint32_t));
}

ox_activations ox_activations_at(uint8_t *memory, uint32_t n_in, uint32_t n_rows) {
    const uint32_t group = group_size(n_rows), n_blocks = n_in / 32;
    const size_t n_groups = ((size_t)n_rows + group - 1) / group;
    ox_act_block *blocks = (ox_act_block *)memory;
    ox_act_block *residuals = blocks + n_groups * n_blocks * group;
    uint32_t *residual_blocks = (uint32_t *)(residuals + n_groups * n_blocks * group);
    return (ox_activations){.blocks = blocks,
                            .residuals = residuals,
                            .residual_blocks = residual_blocks,
                            .n_residuals = residual_blocks + n_groups * n_blocks,
                            .n_blocks = n_blocks,
                            .group = group};
}

/* Adding 1.5 * 2^23 rounds to an integer, which is then in the low bits. */
#define ROUND 0x1.8p23f

/* 0 for NaN. */
static int32_t rounded_integer(float x) {
    if (x != x) return 0;
    return (int32_t)(v_bits_of_float(x + ROUND) - v_bits_of_float(ROUND));
}

static float max_of_block(const float *x) {
    vf32 max = v_zero();
    for (int i = 0; i < 32; i += VF) max = v_max(max, v_abs(v_load(x + i)));
    return v_hmax(max);
}

static float inverse_scale(float max) { return max > 0x1p-100f ? 127.0f / max : 0.0f; }

/* scale = max|x| / 127, q = round(x / scale) to nearest even. The scale of a block with a NaN or an
 * infinity is NaN. A block too small to divide by becomes zero. */
static void quantize_block(const float *x, ox_act_block *to) {
    const float max = max_of_block(x), inverse = inverse_scale(max);
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
    const float sum = half_sum[0] + half_sum[1]; /* NaN if x has a NaN or an infinity */
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

/* Quantizes the residual of a block: what its rounding has left over. */
static void quantize_residual(const float *x, float scale, ox_act_block *to) {
    const vf32 round = v_splat(ROUND), factor = v_splat(inverse_scale(max_of_block(x)));
    float rest[32];
    for (int i = 0; i < 32; i += VF) {
        const vf32 q = v_sub(v_add(v_mul(v_load(x + i), factor), round), round);
        v_store(rest + i, v_sub(v_load(x + i), v_mul(q, v_splat(scale))));
    }
    quantize_block(rest, to);
}

/* A block has a residual if its squared scale is more than five times the mean over its token: some
 * 4 % of the blocks, which make half of the error and more. */
static float residual_threshold(const ox_act_block *blocks, uint32_t n_blocks, uint32_t stride) {
    float sum = 0.0f;
    for (uint32_t b = 0; b < n_blocks; b++) {
        sum += blocks[(size_t)b * stride].scale * blocks[(size_t)b * stride].scale;
    }
    return 5.0f * sum / (float)n_blocks;
}

/* The residuals of a group. If one token needs the residual of a block, every token has a place for
 * it, which is zero for the others. */
static void quantize_residuals(const ox_activations *to, uint32_t g, const float *const *rows,
                               uint32_t n_tokens) {
    const uint32_t n_blocks = to->n_blocks, group = to->group;
    const size_t first = (size_t)g * n_blocks * group;
    float threshold[MAX_GROUP];
    for (uint32_t t = 0; t < n_tokens; t++) {
        threshold[t] = residual_threshold(to->blocks + first + t, n_blocks, group);
    }
    uint32_t n_residuals = 0;
    for (uint32_t b = 0; b < n_blocks; b++) {
        const ox_act_block *block = to->blocks + first + (size_t)b * group;
        ox_act_block *residual = to->residuals + first + (size_t)n_residuals * group;
        uint32_t found = 0;
        for (uint32_t t = 0; t < n_tokens; t++) {
            found |= block[t].scale * block[t].scale > threshold[t];
        }
        if (!found) continue;
        for (uint32_t t = 0; t < n_tokens; t++) {
            if (block[t].scale * block[t].scale > threshold[t]) {
                quantize_residual(rows[t] + (size_t)b * 32, block[t].scale, residual + t);
            } else {
                __builtin_memset(residual + t, 0, sizeof *residual);
            }
        }
        to->residual_blocks[(size_t)g * n_blocks + n_residuals++] = b;
    }
    to->n_residuals[g] = n_residuals;
}

void ox_quantize_groups(const ox_activations *to, const ox_input_rows *rows, uint32_t n_rows,
                        uint32_t first, uint32_t last) {
    const uint32_t n_blocks = to->n_blocks, group = to->group;
    for (uint32_t g = first; g < last; g++) {
        const uint32_t left = n_rows - g * group, n_tokens = left < group ? left : group;
        const float *x[MAX_GROUP];
        ox_act_block *blocks = to->blocks + (size_t)g * n_blocks * group;
        for (uint32_t t = 0; t < n_tokens; t++) {
            x[t] = ox_input_row(rows, g * group + t, n_blocks * 32);
            for (uint32_t b = 0; b < n_blocks; b++) {
                quantize_block(x[t] + (size_t)b * 32, blocks + (size_t)b * group + t);
            }
        }
        quantize_residuals(to, g, x, n_tokens);
    }
}
