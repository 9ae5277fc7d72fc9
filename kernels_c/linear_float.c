/* Products with F32, F16 and BF16 weights, row-major, in float32 arithmetic. */
#include "linear.h"
#include "formats.h"

enum { TILE_ROWS = 4, TILE_TOKENS = 2 };

V_INLINE float weight_at(const uint32_t format, const uint8_t *row, uint32_t i) {
    if (format == OX_F32) return v_float_of_bits(v_load_u32(row + 4 * (size_t)i));
    const uint16_t half = v_load_u16(row + 2 * (size_t)i);
    return format == OX_F16 ? v_f16_to_f32(half) : v_float_of_bits((uint32_t)half << 16);
}

/* 16 weights */
V_INLINE void weights_at(const uint32_t format, const uint8_t *row, uint32_t i, vf32 *to) {
    if (format == OX_F16) {
        v_load_f16_panel(row + 2 * (size_t)i, to);
        return;
    }
    for (uint32_t v = 0; v < VECTORS; v++, i += VF) {
        to[v] = format == OX_F32 ? v_load((const float *)(const void *)(row + 4 * (size_t)i))
                                 : v_load_bf16(row + 2 * (size_t)i);
    }
}

/* out[token][row] for a tile of rows and tokens; strides in bytes and values */
V_INLINE void tile(const uint32_t format, const int n_rows, const int n_tokens, const uint8_t *rows,
                   uint64_t row_bytes, const float *src, uint32_t n_in,
                   float out[TILE_TOKENS][TILE_ROWS]) {
    vf32 acc[TILE_TOKENS][TILE_ROWS];
    float tail[TILE_TOKENS][TILE_ROWS] = {{0}};
    for (int t = 0; t < n_tokens; t++) {
        for (int r = 0; r < n_rows; r++) acc[t][r] = v_zero();
    }
    uint32_t i = 0;
    for (; i + 16 <= n_in; i += 16) {
        for (int r = 0; r < n_rows; r++) {
            vf32 w[VECTORS];
            weights_at(format, rows + r * row_bytes, i, w);
            for (int t = 0; t < n_tokens; t++) {
                const float *x = src + (size_t)t * n_in + i;
                for (int v = 0; v < VECTORS; v++) {
                    acc[t][r] = v_fma(w[v], v_load(x + v * VF), acc[t][r]);
                }
            }
        }
    }
    for (; i < n_in; i++) {
        for (int r = 0; r < n_rows; r++) {
            const float w = weight_at(format, rows + r * row_bytes, i);
            for (int t = 0; t < n_tokens; t++) tail[t][r] += w * src[(size_t)t * n_in + i];
        }
    }
    for (int t = 0; t < n_tokens; t++) {
        for (int r = 0; r < n_rows; r++) out[t][r] = v_hsum(acc[t][r]) + tail[t][r];
    }
}

/* Rows r .. r + n_rows - 1 of the product, for all tokens. */
V_INLINE void row_group(const uint32_t format, const ox_product *product, uint32_t r,
                        uint32_t n_rows, const uint8_t *rows) {
    const uint32_t n_in = product->weight->n_in;
    const uint64_t row_bytes = (uint64_t)n_in * (format == OX_F32 ? 4 : 2);
    for (uint32_t t = 0; t < product->n_rows; t += TILE_TOKENS) {
        const uint32_t left = product->n_rows - t;
        const uint32_t n_tokens = left < TILE_TOKENS ? left : TILE_TOKENS;
        const float *src = product->src + (size_t)t * n_in;
        float out[TILE_TOKENS][TILE_ROWS];
        if (n_rows == TILE_ROWS && n_tokens == TILE_TOKENS) {
            tile(format, TILE_ROWS, TILE_TOKENS, rows, row_bytes, src, n_in, out);
        } else if (n_rows == TILE_ROWS) {
            tile(format, TILE_ROWS, 1, rows, row_bytes, src, n_in, out);
        } else {
            tile(format, (int)n_rows, (int)n_tokens, rows, row_bytes, src, n_in, out);
        }
        for (uint32_t j = 0; j < n_tokens; j++) {
            float *to = ox_product_row(product, t + j) + r;
            for (uint32_t i = 0; i < n_rows; i++) {
                to[i] = out[j][i] + bias_of(product, r + i);
            }
        }
    }
}

V_INLINE void widen(const uint32_t format, const uint8_t *from, uint32_t n, float *to) {
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vf32 w[VECTORS];
        weights_at(format, from, i, w);
        for (int v = 0; v < VECTORS; v++) v_store(to + i + v * VF, w[v]);
    }
    for (; i < n; i++) to[i] = weight_at(format, from, i);
}

/* For many tokens 16-bit weights are made float32 once, not for every tile. */
static int widens(const ox_tensor *weight, uint32_t n_rows) {
    return weight->format != OX_F32 && n_rows > 2 * TILE_TOKENS;
}

uint64_t ox_linear_float_local_bytes(const ox_tensor *weight, uint32_t n_rows) {
    return widens(weight, n_rows) ? (uint64_t)TILE_ROWS * weight->n_in * sizeof(float) : 0;
}

/* TILE_ROWS rows, for all tokens. */
V_INLINE void multiply_tile(const uint32_t format, const ox_run *run, const ox_product *product,
                            uint32_t r) {
    const uint32_t n_in = product->weight->n_in, left = product->weight->n_out - r;
    const uint32_t n_rows = left < TILE_ROWS ? left : TILE_ROWS;
    const uint64_t row_bytes = (uint64_t)n_in * (format == OX_F32 ? 4 : 2);
    const uint8_t *rows = (const uint8_t *)(uintptr_t)product->weight->data + r * row_bytes;
    if (widens(product->weight, product->n_rows)) {
        for (uint32_t i = 0; i < n_rows; i++) {
            widen(format, rows + i * row_bytes, n_in, (float *)run->local + (size_t)i * n_in);
        }
        row_group(OX_F32, product, r, n_rows, run->local);
    } else {
        row_group(format, product, r, n_rows, rows);
    }
}

V_INLINE void multiply(const uint32_t format, const ox_run *run, ox_turns *turns,
                       const ox_product *product) {
    const uint32_t n_out = product->weight->n_out;
    const uint32_t n_tiles = n_out / TILE_ROWS + (n_out % TILE_ROWS != 0);
    const uint32_t at_once = rows_at_once(run, product, n_tiles);
    uint32_t turn;
    while (ox_take_turn(turns, (n_tiles + at_once - 1) / at_once, &turn)) {
        const uint32_t first = turn * at_once, left = n_tiles - first;
        for (uint32_t i = 0; i < at_once && i < left; i++) {
            multiply_tile(format, run, product, (first + i) * TILE_ROWS);
        }
    }
}

void ox_linear_float(const ox_run *run, ox_turns *turns, const ox_product *product) {
    if (product->weight->format == OX_F32) multiply(OX_F32, run, turns, product);
    if (product->weight->format == OX_F16) multiply(OX_F16, run, turns, product);
    if (product->weight->format == OX_BF16) multiply(OX_BF16, run, turns, product);
}
