/* The inner loops of every product with quantized weights.
 *
 * One function body serves all formats: the format is a constant argument of inlined functions, so
 * that each stamped-out function below compiles to loops for its format alone. A block is 32
 * weights of each row; its halves are 16.
 */
#include "quant/gemm.h"
#include "quant/codebook_formats.h"

enum {
    VECTOR_BYTES = GROUP_BYTES / VECTORS,
    CACHE_LINE = 64,
    MEMORY_PAGE = 4096,
#ifdef __wasm__
    PREFETCH_DISTANCE = 4 * MEMORY_PAGE,
#else
    PREFETCH_DISTANCE = 2048,
#endif
    PREFETCH_LINES = 4 /* of a page, in WebAssembly */
};

V_INLINE vw group_weights(const ox_format f, int unpacked, const uint8_t *tile, int group, int v) {
    if (unpacked) return vw_load(tile + (group * VECTORS + v) * sizeof(vw));
    const vu8 q = tile_group(f, tile, group, v);
    return f.is_signed ? vw_signed(q) : vw_unsigned(q);
}

/* Some vectors of a tile times a block of activations for each of some tokens. Formats with two
 * scales have sums of their own for each half. */
typedef struct tile_product {
    const ox_act_block *acts; /* [n_tokens] */
    int n_tokens, n_vectors;
    int first_half, end_half;
} tile_product;

/* acc[half][vector][token] */
typedef vacc tile_sums[2][VECTORS][V_TILE_TOKENS];

/* Subtracting the offset from every q comes to subtracting it times the sum of the activations. */
V_INLINE void init_sums(const ox_format f, const tile_product p, tile_sums acc) {
    V_UNROLL
    for (int t = 0; t < p.n_tokens; t++) {
        for (int h = p.first_half; h < p.end_half; h++) {
            const int32_t sum = f.n_scales == 1 ? p.acts[t].sum : p.acts[t].half_sum[h];
            for (int v = 0; v < p.n_vectors; v++) {
                acc[h][v][t] = vacc_init(format_has_min(f) ? 0 : -format_offset(f) * sum);
            }
        }
    }
}

/* Adds the products with one group of weights to the sums of its half, h. */
V_INLINE void add_group(const ox_format f, const int unpacked, const uint8_t *tile,
                        const tile_product p, const int group, const int h, const int widened,
                        tile_sums acc) {
    vw w[VECTORS];
    V_UNROLL
    for (int v = 0; v < p.n_vectors; v++) w[v] = group_weights(f, unpacked, tile, group, v);
    V_UNROLL
    for (int t = 0; t < p.n_tokens; t++) {
        const va a = va_load(p.acts[t].q + 4 * group);
        V_UNROLL
        for (int v = 0; v < p.n_vectors; v++) {
            vacc x = acc[h][v][t];
            x = f.is_signed ? v_dot_signed(x, w[v], a) : v_dot_unsigned(x, w[v], a);
            acc[h][v][t] = widened ? vacc_widen(x) : x;
        }
    }
}

/* Adds the sums, times the scales of weights and activations, to total[token][VECTORS]. */
V_INLINE void add_scaled(const ox_format f, const tile_product p, tile_sums acc, const vf32 *d,
                         const vf32 *m, vf32 *total) {
    V_UNROLL
    for (int t = 0; t < p.n_tokens; t++) {
        const vf32 scale = v_splat(p.acts[t].scale);
        for (int h = p.first_half; h < p.end_half; h++) {
            const float sum = f.n_scales == 1 ? p.acts[t].scaled_sum : p.acts[t].scaled_half_sum[h];
            V_UNROLL
            for (int v = 0; v < p.n_vectors; v++) {
                const int i = h * VECTORS + v;
                vf32 s = total[t * VECTORS + v];
                s = v_fma(vacc_to_f32(acc[h][v][t]), v_mul(d[i], scale), s);
                if (format_has_min(f)) s = v_fma(m[i], v_splat(sum), s);
                total[t * VECTORS + v] = s;
            }
        }
    }
}

/* block_product for some of the halves. All sums of a step are complete before the next step
 * begins: as many as there are registers for. */
V_INLINE void halves_product(const ox_format f, const int unpacked, const uint8_t *tile,
                             const tile_product p, const vf32 *d, const vf32 *m, vf32 *total) {
    tile_sums acc;
    const int n_halves = p.end_half - p.first_half;
    const int depth = V_I16_DEPTH(f.value_bits), all = 8 / f.n_scales; /* steps of a half */
    init_sums(f, p, acc);
    V_UNROLL
    for (int step = 0; step < all * n_halves; step++) {
        /* groups 0, 4, 1, 5, and so on: two from the same bytes */
        const int group = unpacked ? all * p.first_half + step : step / 2 + 4 * (step & 1);
        const int h = f.n_scales == 1 ? 0 : group / 4;
        const int steps = n_halves == 2 ? step / 2 + 1 : step + 1;
        const int widened = steps % depth == 0 || steps == all;
        add_group(f, unpacked, tile, p, group, h, widened, acc);
        if (!unpacked && !(step & 1)) continue;
        for (int i = p.first_half; i < p.end_half; i++) {
            for (int t = 0; t < p.n_tokens; t++) {
                for (int v = 0; v < p.n_vectors; v++) {
                    acc[i][v][t] = vacc_opaque(acc[i][v][t], widened);
                }
            }
        }
    }
    add_scaled(f, p, acc, d, m, total);
}

/* Multiplies n_vectors vectors of a tile by a block of activations for each of n_tokens tokens, and
 * adds the result, scaled, to total[token][VECTORS]. d, m: [n_scales][VECTORS]. */
V_INLINE void block_product(const ox_format f, const int unpacked, const uint8_t *tile,
                            const ox_act_block *acts, const int n_tokens, const int n_vectors,
                            const vf32 *d, const vf32 *m, vf32 *total) {
    tile = v_opaque_pointer(tile);
    acts = v_opaque_pointer(acts);
    tile_product p = {acts, n_tokens, n_vectors, 0, f.n_scales};
    if (unpacked && f.n_scales == 2) { /* one half after the other needs half of the registers */
        p.end_half = 1;
        halves_product(f, 1, tile, p, d, m, total);
        p.first_half = 1, p.end_half = 2;
        halves_product(f, 1, tile, p, d, m, total);
    } else {
        halves_product(f, unpacked, tile, p, d, m, total);
    }
}

V_INLINE void load_scales(const ox_format f, const float (*d)[PANEL], const float (*m)[PANEL],
                          const int n_vectors, vf32 *d_out, vf32 *m_out) {
    for (int h = 0; h < f.n_scales; h++) {
        for (int v = 0; v < n_vectors; v++) {
            d_out[h * VECTORS + v] = v_load(d[h] + v * VF);
            m_out[h * VECTORS + v] = format_has_min(f) ? v_load(m[h] + v * VF) : v_zero();
        }
    }
}

V_INLINE void clear_sums(vf32 *sums, const int n_tokens) {
    for (int i = 0; i < n_tokens * VECTORS; i++) sums[i] = v_zero();
}

V_INLINE void store_sums(const vf32 *sums, const int n_tokens, const int n_vectors, float *out) {
    for (int t = 0; t < n_tokens; t++) {
        for (int v = 0; v < n_vectors; v++)
            v_store(out + t * PANEL + v * VF, sums[t * VECTORS + v]);
    }
}

/* Processors prefetch by themselves, but only up to the end of a page of memory. In WebAssembly
 * loads have to do it. A few at the beginning of each page are the fastest, because the processor
 * goes on from there. It can do little else while it waits for a load, so the loads of four pages
 * wait together: a page at a time is up to a tenth slower. All distances have been measured. */
V_INLINE void prefetch(const uint8_t *column, uint32_t n_bytes, const uint8_t *end) {
    const uintptr_t first = (uintptr_t)column + PREFETCH_DISTANCE, last = first + n_bytes;
    if (last > (uintptr_t)end) return;
#ifdef __wasm__
    const uintptr_t pages = last / PREFETCH_DISTANCE * PREFETCH_DISTANCE;
    if (pages <= first || pages + PREFETCH_DISTANCE > (uintptr_t)end) return;
    for (uint32_t i = 0; i < PREFETCH_DISTANCE; i += MEMORY_PAGE) {
        for (uint32_t line = 0; line < PREFETCH_LINES; line++) {
            v_prefetch((const uint8_t *)pages + i + line * CACHE_LINE);
        }
    }
#else
    for (uintptr_t i = first; i < last; i += CACHE_LINE) v_prefetch((const uint8_t *)i);
#endif
}

/* A product with few tokens, straight from the packed weights. One token leaves registers for all
 * vectors of a panel at once; more tokens take a few vectors at a time. */
V_INLINE void gemv(const ox_format f, const int n_tokens, const uint8_t *panel, const uint8_t *end,
                   uint32_t n_columns, const ox_act_block *acts, float (*out)[PANEL]) {
    const int n_vectors = n_tokens == 1 ? VECTORS : V_TILE_VECTORS;
    vf32 sums[V_TILE_TOKENS * VECTORS];
    clear_sums(sums, n_tokens);
    for (uint32_t c = 0; c < n_columns; c++, panel += format_column_bytes(f)) {
        const uint8_t *tile = panel + format_header_bytes(f);
        uint8_t expanded[EXPANDED_BYTES];
        ox_panel_scales scales;
        prefetch(panel, format_column_bytes(f), end);
        if (f.block > 32) tile = ready_column(f, panel, expanded, &scales);
        for (uint32_t sub = 0; sub < format_sub_blocks(f); sub++, tile += ready_tile_bytes(f)) {
            vf32 d[2 * VECTORS], m[2 * VECTORS];
            if (f.block > 32) {
                const uint32_t first = sub * f.n_scales;
                load_scales(f, scales.d + first, scales.m + first, VECTORS, d, m);
            } else {
                load_d(f, panel, d);
                if (format_has_min(f)) v_load_f16_panel(panel + 2 * PANEL, m);
            }
            V_UNROLL
            for (int v0 = 0; v0 < VECTORS; v0 += n_vectors) {
                block_product(f, 0, tile + v0 * VECTOR_BYTES, acts, n_tokens, n_vectors, d + v0,
                              m + v0, sums + v0);
            }
            acts += n_tokens;
        }
    }
    store_sums(sums, n_tokens, VECTORS, out[0]);
}

/* An unpacked block: weights as the dot products take them, then d and m as float32. */
enum { UNPACKED_WEIGHTS = 8 * VECTORS * sizeof(vw) };

V_INLINE uint32_t unpacked_block_bytes(const ox_format f) {
    const uint32_t n_scales = f.n_scales * (format_has_min(f) ? 2u : 1u);
    return UNPACKED_WEIGHTS + n_scales * PANEL * sizeof(float);
}

V_INLINE void unpack(const ox_format f, const uint8_t *panel, uint32_t n_columns, uint8_t *to) {
    for (uint32_t c = 0; c < n_columns; c++) {
        uint8_t expanded[EXPANDED_BYTES];
        ox_panel_scales scales;
        const uint8_t *tile = ready_column(f, panel, expanded, &scales);
        for (uint32_t sub = 0; sub < format_sub_blocks(f); sub++) {
            V_UNROLL
            for (int group = 0; group < 8; group++) {
                V_UNROLL
                for (int v = 0; v < VECTORS; v++) {
                    vw_store(to + (group * VECTORS + v) * sizeof(vw),
                             group_weights(f, 0, tile, group, v));
                }
            }
            const uint32_t bytes = f.n_scales * PANEL * sizeof(float);
            __builtin_memcpy(to + UNPACKED_WEIGHTS, scales.d[sub * f.n_scales], bytes);
            if (format_has_min(f)) {
                __builtin_memcpy(to + UNPACKED_WEIGHTS + bytes, scales.m[sub * f.n_scales], bytes);
            }
            to += unpacked_block_bytes(f);
            tile += ready_tile_bytes(f);
        }
        panel += format_column_bytes(f);
    }
}

V_INLINE void gemm(const ox_format f, const int n_tokens, const uint8_t *unpacked,
                   uint32_t n_blocks, const ox_act_block *acts, float (*out)[PANEL]) {
#pragma GCC unroll 1
    for (int v0 = 0; v0 < VECTORS; v0 += V_TILE_VECTORS) {
        vf32 sums[V_TILE_TOKENS * VECTORS];
        clear_sums(sums, n_tokens);
        const uint8_t *block = unpacked;
        for (uint32_t b = 0; b < n_blocks; b++) {
            const float *scales = (const float *)(block + UNPACKED_WEIGHTS) + v0 * VF;
            const float (*d_at)[PANEL] = (const float (*)[PANEL])scales;
            vf32 d[2 * VECTORS], m[2 * VECTORS];
            load_scales(f, d_at, d_at + f.n_scales, V_TILE_VECTORS, d, m);
            block_product(f, 1, block + v0 * sizeof(vw), acts + (size_t)b * V_TILE_TOKENS, n_tokens,
                          V_TILE_VECTORS, d, m, sums);
            block += unpacked_block_bytes(f);
        }
        store_sums(sums, n_tokens, V_TILE_VECTORS, out[0] + v0 * VF);
    }
}

/* One token, or two or three. They are functions of their own, so that a browser compiles only the
 * one that runs. */
V_INLINE void gemv_one_or_more(const ox_format f, const int more, const uint8_t *panel,
                               const uint8_t *end, uint32_t n_columns, const ox_act_block *acts,
                               uint32_t n_tokens, float (*out)[PANEL]) {
    if (!more) gemv(f, 1, panel, end, n_columns, acts, out);
    if (more && n_tokens == 2) gemv(f, 2, panel, end, n_columns, acts, out);
    if (more && n_tokens == 3) gemv(f, 3, panel, end, n_columns, acts, out);
}

#define X(NAME, ...)                                                                               \
    NOINLINE static void gemv_##NAME(const uint8_t *panel, const uint8_t *end, uint32_t n_columns, \
                                     const ox_act_block *acts, float (*out)[PANEL]) {              \
        gemv_one_or_more(FORMAT_##NAME, 0, panel, end, n_columns, acts, 1, out);                   \
    }                                                                                              \
    NOINLINE static void gemv_more_##NAME(const uint8_t *panel, const uint8_t *end,                \
                                          uint32_t n_columns, const ox_act_block *acts,            \
                                          uint32_t n_tokens, float (*out)[PANEL]) {                \
        gemv_one_or_more(FORMAT_##NAME, 1, panel, end, n_columns, acts, n_tokens, out);            \
    }                                                                                              \
    NOINLINE static void unpack_##NAME(const uint8_t *panel, uint32_t n_columns,                   \
                                       uint8_t *unpacked) {                                        \
        unpack(FORMAT_##NAME, panel, n_columns, unpacked);                                         \
    }
OX_EACH_BIT_FIELD_FORMAT(X)
#undef X

/* Expanded formats with the same number of scales differ only in block size and offset. */
V_INLINE ox_format expanded(const ox_format *format, const uint8_t n_scales,
                            const uint8_t value_bits) {
    return (ox_format){.number = format->number,
                       .block = 256,
                       .block_bytes = format->block_bytes,
                       .bits = 8,
                       .value_bits = value_bits,
                       .offset = format->offset,
                       .coding = CODING_CODEBOOK,
                       .n_scales = n_scales,
                       .scales = SCALES_D};
}

/* 1 if sums of values of value_bits bits must be widened sooner than those of 4 bits. */
#define IS_WIDE(value_bits) (V_I16_DEPTH(value_bits) < V_I16_DEPTH(4))

V_INLINE void gemv_of_expanded(const ox_format *format, const int more, const uint8_t *panel,
                               const uint8_t *end, uint32_t n_columns, const ox_act_block *acts,
                               uint32_t n_tokens, float (*out)[PANEL]) {
    if (format->n_scales == 2) {
        gemv_one_or_more(expanded(format, 2, 7), more, panel, end, n_columns, acts, n_tokens, out);
    } else {
        const uint8_t value_bits = IS_WIDE(7) ? 7 : 4;
        gemv_one_or_more(expanded(format, 1, value_bits), more, panel, end, n_columns, acts,
                         n_tokens, out);
    }
}

NOINLINE static void gemv_expanded(const ox_format *format, const uint8_t *panel,
                                   const uint8_t *end, uint32_t n_columns, const ox_act_block *acts,
                                   float (*out)[PANEL]) {
    gemv_of_expanded(format, 0, panel, end, n_columns, acts, 1, out);
}

NOINLINE static void gemv_more_expanded(const ox_format *format, const uint8_t *panel,
                                        const uint8_t *end, uint32_t n_columns,
                                        const ox_act_block *acts, uint32_t n_tokens,
                                        float (*out)[PANEL]) {
    gemv_of_expanded(format, 1, panel, end, n_columns, acts, n_tokens, out);
}

NOINLINE static void unpack_expanded(const ox_format *format, const uint8_t *panel,
                                     uint32_t n_columns, uint8_t *unpacked) {
    if (format->n_scales == 2) {
        unpack(expanded(format, 2, 7), panel, n_columns, unpacked);
    } else {
        unpack(expanded(format, 1, 7), panel, n_columns, unpacked);
    }
}

/* Fewer tokens than a tile has. */
V_INLINE void gemm_of_rest(const ox_format f, const uint8_t *unpacked, uint32_t n_blocks,
                           const ox_act_block *acts, uint32_t n_tokens, float (*out)[PANEL]) {
    uint32_t t = 0;
    if (V_TILE_TOKENS > 4 && n_tokens >= 4) {
        gemm(f, 4, unpacked, n_blocks, acts, out);
        t = 4;
    }
    if (n_tokens - t >= 2) {
        gemm(f, 2, unpacked, n_blocks, acts + t, out + t);
        t += 2;
    }
    if (n_tokens > t) gemm(f, 1, unpacked, n_blocks, acts + t, out + t);
}

/* X(name, bits of q (8: signed), scales for 32 weights, has min, ...): what the code of gemm
 * depends on. Formats of the same shape share it. */
#define EACH_SHAPE(X, ...)                                                                         \
    X(signed, 8, 1, 0, __VA_ARGS__)                                                                \
    X(d_4, 4, 1, 0, __VA_ARGS__)                                                                   \
    X(d_5, 5, 1, 0, __VA_ARGS__)                                                                   \
    X(d_7, 7, 1, 0, __VA_ARGS__)                                                                   \
    X(dm_4, 4, 1, 1, __VA_ARGS__)                                                                  \
    X(dm_5, 5, 1, 1, __VA_ARGS__)                                                                  \
    X(two_d_4, 4, 2, 0, __VA_ARGS__)                                                               \
    X(two_d_5, 5, 2, 0, __VA_ARGS__)                                                               \
    X(two_d_6, 6, 2, 0, __VA_ARGS__)                                                               \
    X(two_d_7, 7, 2, 0, __VA_ARGS__)                                                               \
    X(two_dm_4, 4, 2, 1, __VA_ARGS__)

/* 1 if gemm of the first shape computes products of the second. Shapes of more than 4 bits are used
 * only where their sums must be widened sooner. */
#define SHAPE_FITS(BITS, N_SCALES, MIN, OF_BITS, OF_N_SCALES, OF_MIN)                              \
    (((BITS) == 8 || (BITS) <= 4 || IS_WIDE(BITS)) && ((BITS) == 8) == ((OF_BITS) == 8) &&         \
     (N_SCALES) == (OF_N_SCALES) && (MIN) == (OF_MIN) &&                                           \
     V_I16_DEPTH(BITS) == V_I16_DEPTH(OF_BITS))

#define ONE_IF_FITS(NAME, BITS, N_SCALES, MIN, ...) +SHAPE_FITS(BITS, N_SCALES, MIN, __VA_ARGS__)
#define X(NAME, NUMBER, BLOCK, BLOCK_BYTES, LOW, LOW_AT, HIGH, HIGH_AT, CODING, VALUE_BITS,        \
          OFFSET, N_SCALES, SCALES, ...)                                                           \
    _Static_assert((0 EACH_SHAPE(ONE_IF_FITS, VALUE_BITS, N_SCALES, HAS_MIN(SCALES))) == 1,        \
                   #NAME " must fit exactly one shape of gemm: see EACH_SHAPE");
OX_EACH_FORMAT(X)
#undef X
#undef ONE_IF_FITS

V_INLINE ox_format shape(const uint8_t value_bits, const uint8_t n_scales, const int has_min,
                         uint8_t offset) {
    return (ox_format){.value_bits = value_bits,
                       .offset = offset,
                       .is_signed = value_bits == 8,
                       .n_scales = n_scales,
                       .scales = has_min ? SCALES_DM : SCALES_D};
}

#define X(NAME, BITS, N_SCALES, MIN, ...)                                                          \
    NOINLINE static void gemm_##NAME(uint8_t offset, const uint8_t *unpacked, uint32_t n_blocks,   \
                                     const ox_act_block *acts, float (*out)[PANEL]) {              \
        gemm(shape(BITS, N_SCALES, MIN, offset), V_TILE_TOKENS, unpacked, n_blocks, acts, out);    \
    }                                                                                              \
    NOINLINE static void gemm_rest_##NAME(uint8_t offset, const uint8_t *unpacked,                 \
                                          uint32_t n_blocks, const ox_act_block *acts,             \
                                          uint32_t n_tokens, float (*out)[PANEL]) {                \
        gemm_of_rest(shape(BITS, N_SCALES, MIN, offset), unpacked, n_blocks, acts, n_tokens, out); \
    }
EACH_SHAPE(X, )
#undef X

void ox_panel_gemv(const ox_format *format, const uint8_t *panel, const uint8_t *end,
                   uint32_t n_columns, const ox_act_block *acts, uint32_t n_tokens,
                   float (*out)[PANEL]) {
    const int more = n_tokens > 1;
    switch (format->number) {
#define X(NAME, ...)                                                                               \
    case OX_##NAME:                                                                                \
        if (more)                                                                                  \
            gemv_more_##NAME(panel, end, n_columns, acts, n_tokens, out);                          \
        else                                                                                       \
            gemv_##NAME(panel, end, n_columns, acts, out);                                         \
        break;
        OX_EACH_BIT_FIELD_FORMAT(X)
#undef X
    default:
        if (more)
            gemv_more_expanded(format, panel, end, n_columns, acts, n_tokens, out);
        else
            gemv_expanded(format, panel, end, n_columns, acts, out);
    }
}

uint64_t ox_unpacked_bytes(const ox_format *format, uint32_t n_in) {
    return (uint64_t)(n_in / 32) * unpacked_block_bytes(*format);
}

void ox_panel_unpack(const ox_format *format, const uint8_t *panel, uint32_t n_columns,
                     uint8_t *unpacked) {
    switch (format->number) {
#define X(NAME, ...)                                                                               \
    case OX_##NAME:                                                                                \
        unpack_##NAME(panel, n_columns, unpacked);                                                 \
        break;
        OX_EACH_BIT_FIELD_FORMAT(X)
#undef X
    default:
        unpack_expanded(format, panel, n_columns, unpacked);
    }
}

void ox_panel_gemm(const ox_format *format, const uint8_t *unpacked, uint32_t n_blocks,
                   const ox_act_block *acts, uint32_t n_tokens, float (*out)[PANEL]) {
    const int has_min = format_has_min(*format), is_whole = n_tokens == V_TILE_TOKENS;
#define X(NAME, BITS, N_SCALES, MIN, ...)                                                          \
    if (SHAPE_FITS(BITS, N_SCALES, MIN, format->value_bits, format->n_scales, has_min)) {          \
        if (is_whole)                                                                              \
            gemm_##NAME(format->offset, unpacked, n_blocks, acts, out);                            \
        else                                                                                       \
            gemm_rest_##NAME(format->offset, unpacked, n_blocks, acts, n_tokens, out);             \
    }
    EACH_SHAPE(X, )
#undef X
}
