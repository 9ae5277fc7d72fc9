/* The quantized input of a product. */
#ifndef OX_ACTIVATIONS_H
#define OX_ACTIVATIONS_H

#include "internal.h"
#include "simd/simd.h"

/* 32 consecutive values of one token: x = scale * q, q in -127 .. 127. */
typedef struct ox_act_block {
    act_t q[32]; /* each four of them in the order of v_act_order */
    float scale;
    float scaled_sum;         /* scale * sum(q) */
    float scaled_half_sum[2]; /* the same for the first 16 and the last 16 */
    int32_t sum;
    int32_t half_sum[2];
    int32_t reserved;
} ox_act_block;

/* At most this many tokens are multiplied straight from the packed weights. */
enum { OX_GEMV_TOKENS = 3 };

/* Tokens are in groups of `group`, and the blocks of a group are together: block b of token t is
 * blocks[(t / group * n_blocks + b) * group + t % group].
 *
 * A few blocks hold values far larger than the others of their token, and rounding those makes most
 * of the error of a product. Their residuals, what the rounding has left over, are quantized too:
 * residual e of a group belongs to block residual_blocks[e], and is where block e would be. */
typedef struct ox_activations {
    ox_act_block *blocks;
    ox_act_block *residuals;
    uint32_t *residual_blocks; /* [groups][n_blocks] */
    uint32_t *n_residuals;     /* [groups] */
    uint32_t n_blocks;         /* for a token */
    uint32_t group; /* all tokens if there are at most OX_GEMV_TOKENS, else V_TILE_TOKENS */
} ox_activations;

uint64_t ox_activation_bytes(uint32_t n_in, uint32_t n_rows);
ox_activations ox_activations_at(uint8_t *memory, uint32_t n_in, uint32_t n_rows);
uint32_t ox_activation_groups(uint32_t n_rows);

/* Rows of n_in values: row i is row numbers[i] / divisor of an array, or row i if numbers is NULL.
 */
typedef struct ox_input_rows {
    const float *array;
    const uint32_t *numbers;
    uint32_t divisor;
} ox_input_rows;

static inline const float *ox_input_row(const ox_input_rows *rows, uint32_t i, uint32_t n_in) {
    return rows->array + (size_t)(rows->numbers ? rows->numbers[i] / rows->divisor : i) * n_in;
}

/* Quantizes the groups first .. last - 1 of n_rows rows. */
void ox_quantize_groups(const ox_activations *to, const ox_input_rows *rows, uint32_t n_rows,
                        uint32_t first, uint32_t last);

#endif
