/* Products with F32, F16 and BF16 weights, row-major, in float32 arithmetic.
 *
 * Where no instruction converts float16 (V_RESCALES_F16), its bits are only shifted into the places
 * of a float32, which gives the value times 2^-112. For few tokens the input is prescaled by 2^112
 * in return, and every product is the same, bit for bit. Three cases use the full conversion
 * instead: weights that are infinite or NaN, which would come out as finite numbers; large inputs;
 * and rows with many subnormal weights, because float32 subnormals take some processors a hundred
 * cycles.
 */
#include "ops/linear_float.h"
#include "quant/formats.h"

enum {
    TILE_ROWS = 4,
    TILE_TOKENS = 2,
    RESCALED_F16 = OX_F16 | 0x10000, /* F16 weights times 2^-112, and a prescaled input */
    SAMPLE = 256,                    /* weights in which each chunk looks for subnormals */
    FEW_SUBNORMALS = 2               /* that a sample may have */
};

#ifdef V_RESCALES_F16
enum { RESCALES_F16 = 1 };
#else
enum { RESCALES_F16 = 0 };
#endif

V_INLINE float weight_at(const uint32_t format, const uint8_t *row, uint32_t i) {
    if (format == OX_F32) return v_float_of_bits(v_load_u32(row + 4 * (size_t)i));
    const uint16_t half = v_load_u16(row + 2 * (size_t)i);
    if (format == OX_BF16) return v_float_of_bits((uint32_t)half << 16);
    return format == OX_F16 ? v_f16_to_f32(half) : v_f16_to_f32(half) * 0x1p-112f;
}

/* 16 weights */
V_INLINE void weights_at(const uint32_t format, const uint8_t *row, uint32_t i, vf32 *to) {
    if (format == OX_F16) {
        v_load_f16_panel(row + 2 * (size_t)i, to);
        return;
    }
    if (format == RESCALED_F16) {
        v_load_f16_panel_rescaled(row + 2 * (size_t)i, to);
        return;
    }
    for (uint32_t v = 0; v < VECTORS; v++, i += VF) {
        to[v] = format == OX_F32 ? v_load((const float *)(const void *)(row + 4 * (size_t)i))
                                 : v_load_bf16(row + 2 * (size_t)i);
    }
}

/* 1 if some float16 value in the vector is 2 or more, infinite or NaN, as the highest bit of its
 * exponent tells. */
V_INLINE int has_bit_14(vu8 halves) {
    uint16_t value[2 * VF];
    uint32_t all = 0;
    vb_store(value, halves);
    for (int i = 0; i < 2 * VF; i++) all |= value[i];
    return all >> 14 & 1;
}

/* out[token][row] for a tile of rows and tokens. Returns 0 if RESCALED_F16 may be wrong, because
 * some weight is 2 or more and may be an infinity or a NaN. */
V_INLINE int tile(const uint32_t format, const int n_rows, const int n_tokens, const uint8_t *rows,
                  uint64_t row_bytes, const float *src, uint32_t n_in,
                  float out[TILE_TOKENS][TILE_ROWS]) {
    vu8 all = vb_splat(0); /* the weights, combined by or */
    vf32 acc[TILE_TOKENS][TILE_ROWS];
    float tail[TILE_TOKENS][TILE_ROWS] = {{0}};
    for (int t = 0; t < n_tokens; t++) {
        for (int r = 0; r < n_rows; r++) acc[t][r] = v_zero();
    }
    uint32_t i = 0;
    for (; i + 16 <= n_in; i += 16) {
        for (int r = 0; r < n_rows; r++) {
            const uint8_t *row = rows + r * row_bytes;
            vf32 w[VECTORS];
            weights_at(format, row, i, w);
            for (int v = 0; v < VECTORS && format == RESCALED_F16; v += 2) {
                all = vb_or(all, vb_load(row + 2 * (size_t)(i + v * VF)));
            }
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
    return format != RESCALED_F16 || !has_bit_14(all);
}

/* Rows r .. r + n_rows - 1 of the product, for all tokens. src: the input, prescaled for
 * RESCALED_F16. Returns 0 as tile does. */
V_INLINE int row_group(const uint32_t format, const ox_product *product, const float *src,
                       uint32_t r, uint32_t n_rows, const uint8_t *rows) {
    const uint32_t n_in = product->weight->n_in;
    const uint64_t row_bytes = (uint64_t)n_in * (format == OX_F32 ? 4 : 2);
    int right = 1;
    for (uint32_t t = 0; t < product->n_rows; t += TILE_TOKENS, src += TILE_TOKENS * (size_t)n_in) {
        const uint32_t left = product->n_rows - t;
        const uint32_t n_tokens = left < TILE_TOKENS ? left : TILE_TOKENS;
        float out[TILE_TOKENS][TILE_ROWS];
        if (n_rows == TILE_ROWS && n_tokens == TILE_TOKENS) {
            right &= tile(format, TILE_ROWS, TILE_TOKENS, rows, row_bytes, src, n_in, out);
        } else if (n_rows == TILE_ROWS) {
            right &= tile(format, TILE_ROWS, 1, rows, row_bytes, src, n_in, out);
        } else {
            right &= tile(format, (int)n_rows, (int)n_tokens, rows, row_bytes, src, n_in, out);
        }
        for (uint32_t j = 0; j < n_tokens; j++) {
            float *to = ox_product_row(product, t + j) + r;
            for (uint32_t i = 0; i < n_rows; i++) {
                to[i] = out[j][i] * product->scale + bias_of(product, r + i);
            }
        }
    }
    return right;
}

#define X(NAME, FORMAT)                                                                            \
    NOINLINE static int NAME(const ox_product *product, const float *src, uint32_t r,              \
                             uint32_t n_rows, const uint8_t *rows) {                               \
        return row_group(FORMAT, product, src, r, n_rows, rows);                                   \
    }
X(row_group_f32, OX_F32)
X(row_group_f16, OX_F16)
X(row_group_bf16, OX_BF16)
X(row_group_rescaled, RESCALED_F16)
#undef X

V_INLINE void widen(const uint32_t format, const uint8_t *from, uint32_t n, float *to) {
    uint32_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vf32 w[VECTORS];
        weights_at(format, from, i, w);
        for (int v = 0; v < VECTORS; v++) v_store(to + i + v * VF, w[v]);
    }
    for (; i < n; i++) to[i] = weight_at(format, from, i);
}

/* For many tokens, 16-bit weights are widened to float32 once, not for every tile. */
static int widens(const ox_tensor *weight, uint32_t n_rows) {
    return weight->format != OX_F32 && n_rows > 2 * TILE_TOKENS;
}

uint64_t ox_linear_float_local_bytes(const ox_tensor *weight, uint32_t n_rows) {
    const uint64_t row_bytes = (uint64_t)weight->n_in * sizeof(float);
    if (widens(weight, n_rows)) return TILE_ROWS * row_bytes;
    return RESCALES_F16 && weight->format == OX_F16 ? n_rows * row_bytes : 0;
}

/* to = the input times 2^112. Returns 0 if some value is too large for that. */
static int prescale_input(const ox_product *product, float *to) {
    const size_t n = (size_t)product->n_rows * product->weight->n_in;
    int fits = 1;
    for (size_t i = 0; i < n; i++) {
        const float x = product->src[i];
        fits &= x > -0x1p15f && x < 0x1p15f; /* false for NaN */
        to[i] = x * 0x1p112f;
    }
    return fits;
}

static int has_many_subnormals(const uint8_t *weights, size_t n) {
    uint32_t found = 0;
    for (size_t i = 0; i < n && i < SAMPLE; i++) {
        found += (v_load_u16(weights + 2 * i) & 0x7fffu) - 1u < 0x3ff;
    }
    return found > FEW_SUBNORMALS;
}

static int all_finite(const uint8_t *weights, size_t n) {
    int finite = 1;
    for (size_t i = 0; i < n; i++) finite &= (v_load_u16(weights + 2 * i) & 0x7c00) != 0x7c00;
    return finite;
}

/* A whole tile of F16 rows as RESCALED_F16, with a prescaled input. Returns 0 if the results are
 * not right. */
static int multiply_rescaled(const ox_product *product, const float *prescaled, uint32_t r,
                             const uint8_t *rows) {
    return row_group_rescaled(product, prescaled, r, TILE_ROWS, rows) ||
           all_finite(rows, (size_t)TILE_ROWS * product->weight->n_in);
}

/* TILE_ROWS rows, for all tokens. prescaled: the input for RESCALED_F16, or NULL. */
V_INLINE void multiply_tile(const uint32_t format, const ox_run *run, const ox_product *product,
                            const float *prescaled, uint32_t r) {
    const uint32_t n_in = product->weight->n_in, left = product->weight->n_out - r;
    const uint32_t n_rows = left < TILE_ROWS ? left : TILE_ROWS;
    const uint64_t row_bytes = (uint64_t)n_in * (format == OX_F32 ? 4 : 2);
    const uint8_t *rows = (const uint8_t *)(uintptr_t)product->weight->data + r * row_bytes;
    if (format == OX_F16 && prescaled && n_rows == TILE_ROWS) {
        if (multiply_rescaled(product, prescaled, r, rows)) return;
    }
    if (widens(product->weight, product->n_rows)) {
        for (uint32_t i = 0; i < n_rows; i++) {
            widen(format, rows + i * row_bytes, n_in, (float *)run->local + (size_t)i * n_in);
        }
        row_group_f32(product, product->src, r, n_rows, run->local);
    } else if (format == OX_F32) {
        row_group_f32(product, product->src, r, n_rows, rows);
    } else if (format == OX_F16) {
        row_group_f16(product, product->src, r, n_rows, rows);
    } else {
        row_group_bf16(product, product->src, r, n_rows, rows);
    }
}

V_INLINE void multiply(const uint32_t format, const ox_run *run, ox_queue *queue,
                       const ox_product *product) {
    const uint32_t n_in = product->weight->n_in, n_out = product->weight->n_out;
    const uint8_t *weights = (const uint8_t *)(uintptr_t)product->weight->data;
    const uint32_t n_tiles = n_out / TILE_ROWS + (n_out % TILE_ROWS != 0);
    const uint32_t per_chunk = tiles_per_chunk(run, product, n_tiles);
    const float *prescaled = NULL;
    if (RESCALES_F16 && format == OX_F16 && !widens(product->weight, product->n_rows)) {
        prescaled = prescale_input(product, (float *)run->local) ? (const float *)run->local : NULL;
    }
    uint32_t chunk;
    while (ox_next_chunk(queue, (n_tiles + per_chunk - 1) / per_chunk, &chunk)) {
        const uint32_t first = chunk * per_chunk, left = n_tiles - first;
        const size_t done = (size_t)first * TILE_ROWS * n_in, all = (size_t)n_out * n_in;
        const int rescales = prescaled && !has_many_subnormals(weights + 2 * done, all - done);
        for (uint32_t i = 0; i < per_chunk && i < left; i++) {
            multiply_tile(format, run, product, rescales ? prescaled : NULL,
                          (first + i) * TILE_ROWS);
        }
    }
}

void ox_linear_float(const ox_run *run, ox_queue *queue, const ox_product *product) {
    if (product->weight->format == OX_F32) multiply(OX_F32, run, queue, product);
    if (product->weight->format == OX_F16) multiply(OX_F16, run, queue, product);
    if (product->weight->format == OX_BF16) multiply(OX_BF16, run, queue, product);
}
