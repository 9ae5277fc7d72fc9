/* ox_multiply_tile: a loop for each number of rows and each format of the cache.
 *
 * The sums stay in registers: one row takes many vectors of columns at a time, four rows take two.
 * A vector of columns is loaded and converted once for all rows.
 */
#include "ops/attention_gemm.h"

enum { TILE_SUMS = V_TILE_TOKENS * V_TILE_VECTORS, TILE_VECTORS = KEYS / VF };

/* Vectors of columns that ROWS rows take at a time: a power of two, at least two. */
#define COLUMNS(ROWS)                                                                              \
    (TILE_SUMS < 4 * (ROWS) ? 2 : TILE_SUMS < 8 * (ROWS) || TILE_VECTORS < 8 ? 4 : 8)

typedef struct sums {
    vf32 of[TILE_ROWS][8];
} sums;

/* Value i of all rows times the columns. */
V_INLINE void multiply_values(const float *const *a, int i, const uint8_t *b, sums *s,
                              const int rows, const int columns, const uint32_t format) {
    vf32 x[TILE_ROWS];
    V_UNROLL
    for (int r = 0; r < rows; r++) x[r] = v_splat(a[r][i]);
    V_UNROLL
    for (int v = 0; v < columns; v++) {
        const vf32 y = load_cached(b + (size_t)v * VF * cached_value_bytes(format), format);
        V_UNROLL
        for (int r = 0; r < rows; r++) s->of[r][v] = v_fma(x[r], y, s->of[r][v]);
    }
    V_UNROLL
    for (int v = 0; v < columns; v++) {
        V_UNROLL
        for (int r = 0; r < rows; r++) s->of[r][v] = v_opaque(s->of[r][v]);
    }
}

/* All values of each row times `columns` vectors of columns from `first` on. */
V_INLINE void multiply_columns(const ox_tile_product *p, uint32_t first, const int rows,
                               const int columns, const uint32_t format) {
    enum { UNROLLED = 4 };
    const uint8_t *b = p->b + (size_t)first * cached_value_bytes(format), *scales = p->scales;
    const float *a[TILE_ROWS];
    float *c = p->c + first;
    sums s;
    V_UNROLL
    for (int r = 0; r < rows; r++) {
        a[r] = p->a + r * p->a_stride;
        V_UNROLL
        for (int v = 0; v < columns; v++) {
            s.of[r][v] = p->add && !scales ? v_load(c + r * p->c_stride + v * VF) : v_zero();
        }
    }
    uint32_t n = p->n;
    for (; n >= UNROLLED; n -= UNROLLED) {
        V_UNROLL
        for (int i = 0; i < UNROLLED; i++, b = v_opaque_pointer(b + p->b_stride))
            multiply_values(a, i, b, &s, rows, columns, format);
        V_UNROLL
        for (int r = 0; r < rows; r++) a[r] = v_opaque_pointer(a[r] + UNROLLED);
    }
    for (uint32_t i = 0; i < n; i++, b += p->b_stride)
        multiply_values(a, (int)i, b, &s, rows, columns, format);
    V_UNROLL
    for (int v = 0; v < columns; v++) {
        const vf32 scale = scales ? v_load_f16(scales + 2 * (first + v * VF)) : v_zero();
        V_UNROLL
        for (int r = 0; r < rows; r++) {
            float *to = c + r * p->c_stride + v * VF;
            if (scales) s.of[r][v] = v_fma(s.of[r][v], scale, p->add ? v_load(to) : v_zero());
            v_store(to, s.of[r][v]);
        }
    }
}

V_INLINE void multiply_rows(const ox_tile_product *p, const int rows, const int columns,
                            const uint32_t format) {
    uint32_t first = 0;
    for (; first + columns * VF <= p->width; first += columns * VF)
        multiply_columns(p, first, rows, columns, format);
    if (columns == 2) return;
    for (; first < p->width; first += 2 * VF) multiply_columns(p, first, rows, 2, format);
}

#define NOINLINE_ROWS(NAME, N, FORMAT)                                                             \
    NOINLINE static void NAME##_##N(const ox_tile_product *p) {                                    \
        multiply_rows(p, N, COLUMNS(N), FORMAT);                                                   \
    }
#define X(NAME, FORMAT)                                                                            \
    NOINLINE_ROWS(NAME, 1, FORMAT)                                                                 \
    NOINLINE_ROWS(NAME, 2, FORMAT)                                                                 \
    NOINLINE_ROWS(NAME, 3, FORMAT)                                                                 \
    NOINLINE_ROWS(NAME, 4, FORMAT)                                                                 \
    static void NAME(const ox_tile_product *p) {                                                   \
        switch (p->n_rows) {                                                                       \
        case 1:                                                                                    \
            NAME##_1(p);                                                                           \
            break;                                                                                 \
        case 2:                                                                                    \
            NAME##_2(p);                                                                           \
            break;                                                                                 \
        case 3:                                                                                    \
            NAME##_3(p);                                                                           \
            break;                                                                                 \
        default:                                                                                   \
            NAME##_4(p);                                                                           \
        }                                                                                          \
    }
X(multiply_f32, OX_F32)
X(multiply_f16, OX_F16)
X(multiply_q8_0, OX_Q8_0)
#undef X
#undef NOINLINE_ROWS

void ox_multiply_tile(const ox_tile_product *p, uint32_t format) {
    switch (format) {
    case OX_F32:
        multiply_f32(p);
        break;
    case OX_F16:
        multiply_f16(p);
        break;
    default:
        multiply_q8_0(p);
    }
}

V_INLINE void load_all(const uint8_t *from, uint32_t n, const uint32_t format, float *to) {
    const uint32_t bytes = cached_value_bytes(format);
    uint32_t i = 0;
    for (; i + VF <= n; i += VF) v_store(to + i, load_cached(from + (size_t)i * bytes, format));
    for (; i < n; i++) {
        to[i] = load_cached_one(from + (size_t)i * bytes, format) * cached_unit(format);
    }
}

void ox_load_cached(const uint8_t *from, uint32_t n, uint32_t format, float *to) {
    switch (format) {
    case OX_F32:
        load_all(from, n, OX_F32, to);
        break;
    case OX_F16:
        load_all(from, n, OX_F16, to);
        break;
    default:
        load_all(from, n, OX_Q8_0, to);
    }
}
