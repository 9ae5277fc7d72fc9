/* The inner loops of every quantized matrix product.
 *
 * One function body serves all formats: the format is a constant argument of inlined functions, so
 * that each call below compiles to loops for that format alone.
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
    const vu8 u = tile_group(f, tile, group, v);
    return f.is_signed ? vw_signed(u) : vw_unsigned(u);
}

/* block_product for some of a block's halves. All sums of a step are there before the next one
 * begins: as many as there are registers for. */
V_INLINE void halves_product(const ox_format f, const int unpacked, const uint8_t *tile,
                             const ox_act_block *acts, const int n_tokens, const int n_vectors,
                             const int first_half, const int n_halves, const vf32 *d, const vf32 *m,
                             vf32 *sums) {
    vacc acc[2][VECTORS][V_TILE_TOKENS];
    const int run = V_I16_DEPTH(f.range), last_half = first_half + n_halves;
    const int all = 8 / f.halves; /* steps of a half */
    V_UNROLL
    for (int t = 0; t < n_tokens; t++) {
        for (int h = first_half; h < last_half; h++) {
            const int32_t sum = f.halves == 1 ? acts[t].sum : acts[t].half_sum[h];
            for (int v = 0; v < n_vectors; v++) {
                acc[h][v][t] = vacc_init(format_has_min(f) ? 0 : -format_offset(f) * sum);
            }
        }
    }
    V_UNROLL
    for (int step = 0; step < all * n_halves; step++) {
        /* 0, 4, 1, 5: two from the same bytes */
        const int group = unpacked ? all * first_half + step : step / 2 + 4 * (step & 1);
        const int h = f.halves == 1 ? 0 : group / 4;
        const int steps = n_halves == 2 ? step / 2 + 1 : step + 1;
        const int widened = steps % run == 0 || steps == all;
        vw w[VECTORS];
        V_UNROLL
        for (int v = 0; v < n_vectors; v++) {
            w[v] = group_weights(f, unpacked, tile, group, v);
        }
        V_UNROLL
        for (int t = 0; t < n_tokens; t++) {
            const va a = va_load(acts[t].q + 4 * group);
            V_UNROLL
            for (int v = 0; v < n_vectors; v++) {
                vacc x = acc[h][v][t];
                x = f.is_signed ? v_dot_signed(x, w[v], a) : v_dot_unsigned(x, w[v], a);
                acc[h][v][t] = widened ? vacc_widen(x) : x;
            }
        }
        if (!unpacked && !(step & 1)) continue;
        for (int i = first_half; i < last_half; i++) {
            for (int t = 0; t < n_tokens; t++) {
                for (int v = 0; v < n_vectors; v++) {
                    acc[i][v][t] = vacc_opaque(acc[i][v][t], widened);
                }
            }
        }
    }
    V_UNROLL
    for (int t = 0; t < n_tokens; t++) {
        const vf32 scale = v_splat(acts[t].scale);
        for (int h = first_half; h < last_half; h++) {
            const float sum = f.halves == 1 ? acts[t].scaled_sum : acts[t].scaled_half_sum[h];
            V_UNROLL
            for (int v = 0; v < n_vectors; v++) {
                const int i = h * VECTORS + v;
                vf32 s = sums[t * VECTORS + v];
                s = v_fma(vacc_to_f32(acc[h][v][t]), v_mul(d[i], scale), s);
                if (format_has_min(f)) s = v_fma(m[i], v_splat(sum), s);
                sums[t * VECTORS + v] = s;
            }
        }
    }
}

/* Multiplies n_vectors vectors of a tile by n_tokens blocks of activations, and adds the result,
 * scaled, to sums[token][VECTORS]. d, m: [halves][VECTORS]. */
V_INLINE void block_product(const ox_format f, const int unpacked, const uint8_t *tile,
                            const ox_act_block *acts, const int n_tokens, const int n_vectors,
                            const vf32 *d, const vf32 *m, vf32 *sums) {
    tile = v_opaque_pointer(tile);
    acts = v_opaque_pointer(acts);
    if (unpacked && f.halves == 2) { /* one after the other, which needs half of the sums */
        halves_product(f, 1, tile, acts, n_tokens, n_vectors, 0, 1, d, m, sums);
        halves_product(f, 1, tile, acts, n_tokens, n_vectors, 1, 1, d, m, sums);
    } else {
        halves_product(f, unpacked, tile, acts, n_tokens, n_vectors, 0, f.halves, d, m, sums);
    }
}

V_INLINE void load_scales(const ox_format f, const float (*d)[PANEL], const float (*m)[PANEL],
                          const int n_vectors, vf32 *d_out, vf32 *m_out) {
    for (int h = 0; h < f.halves; h++) {
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

/* Processors read ahead by themselves, but only up to the end of a page of memory. Where loads have
 * to do it, a few at the beginning of each page are the fastest: the processor goes on from there.
 * It can do little else until a load has its value, so those of four pages wait together: a page at
 * a time is up to a tenth slower. All distances are measured ones. */
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

/* The scales of a column of 32 weights. */
V_INLINE void load_column_scales(const ox_format f, const uint8_t *column, const int normal,
                                 vf32 *d, vf32 *m) {
    if (normal) {
        v_load_f16_normal(column, d);
        if (format_has_min(f)) v_load_f16_normal(column + 2 * PANEL, m);
    } else {
        load_d(f, column, d);
        if (format_has_min(f)) v_load_f16_panel(column + 2 * PANEL, m);
    }
}

/* Whether it pays to look at a column for whether its scales are ordinary, as most are. */
V_INLINE int may_be_normal(const ox_format f, const int n_tokens) {
    const int are_f16 = f.scales == SCALES_D || f.scales == SCALES_DM;
    return V_F16_NORMAL && n_tokens == 1 && f.block == 32 && are_f16;
}

typedef struct panel_part {
    const uint8_t *panel; /* its next column */
    const uint8_t *end;
    const ox_act_block *acts;
    uint32_t n_columns;
} panel_part;

/* Adds columns to sums: one, or all up to the first whose scales are not ordinary. One token leaves
 * registers for all vectors of a panel at once; more take a few at a time. */
V_INLINE panel_part add_columns(const ox_format f, panel_part part, const int n_tokens,
                                const int normal, vf32 *sums) {
    const int n_vectors = n_tokens == 1 ? VECTORS : V_TILE_VECTORS;
    for (; part.n_columns > 0; part.n_columns--) {
        const uint8_t *tile = part.panel + format_header_bytes(f);
        uint8_t expanded[EXPANDED_BYTES];
        ox_panel_scales scales;
        if (normal && !v_are_f16_normal(part.panel, format_has_min(f) ? 2 * PANEL : PANEL)) break;
        prefetch(part.panel, format_column_bytes(f), part.end);
        if (f.block > 32) tile = ready_column(f, part.panel, expanded, &scales);
        for (uint32_t sub = 0; sub < format_sub_blocks(f); sub++) {
            vf32 d[2 * VECTORS], m[2 * VECTORS];
            if (f.block > 32) {
                load_scales(f, scales.d + sub * f.halves, scales.m + sub * f.halves, VECTORS, d, m);
            } else {
                load_column_scales(f, part.panel, normal, d, m);
            }
            V_UNROLL
            for (int v0 = 0; v0 < VECTORS; v0 += n_vectors) {
                block_product(f, 0, tile + v0 * VECTOR_BYTES, part.acts, n_tokens, n_vectors,
                              d + v0, m + v0, sums + v0);
            }
            tile += ready_tile_bytes(f);
            part.acts += n_tokens;
        }
        part.panel += format_column_bytes(f);
        if (!normal && may_be_normal(f, n_tokens)) {
            part.n_columns--;
            break;
        }
    }
    return part;
}

V_INLINE void gemv(const ox_format f, const int n_tokens, const uint8_t *panel, const uint8_t *end,
                   uint32_t n_columns, const ox_act_block *acts, float (*out)[PANEL]) {
    vf32 sums[V_TILE_TOKENS * VECTORS];
    panel_part part = {panel, end, acts, n_columns};
    clear_sums(sums, n_tokens);
    while (part.n_columns > 0) {
        if (may_be_normal(f, n_tokens)) part = add_columns(f, part, n_tokens, 1, sums);
        part = add_columns(f, part, n_tokens, 0, sums);
    }
    store_sums(sums, n_tokens, VECTORS, out[0]);
}

/* An unpacked block: weights as the dot products take them, then d and m as float32. */
enum { UNPACKED_WEIGHTS = 8 * VECTORS * sizeof(vw) };

V_INLINE uint32_t unpacked_block_bytes(const ox_format f) {
    const uint32_t n_scales = f.halves * (format_has_min(f) ? 2u : 1u);
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
            const uint32_t bytes = f.halves * PANEL * sizeof(float);
            __builtin_memcpy(to + UNPACKED_WEIGHTS, scales.d[sub * f.halves], bytes);
            if (format_has_min(f)) {
                __builtin_memcpy(to + UNPACKED_WEIGHTS + bytes, scales.m[sub * f.halves], bytes);
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
            load_scales(f, d_at, d_at + f.halves, V_TILE_VECTORS, d, m);
            block_product(f, 1, block + v0 * sizeof(vw), acts + (size_t)b * V_TILE_TOKENS, n_tokens,
                          V_TILE_VECTORS, d, m, sums);
            block += unpacked_block_bytes(f);
        }
        store_sums(sums, n_tokens, V_TILE_VECTORS, out[0] + v0 * VF);
    }
}

/* One token, or two or three: not one function, of which a browser would compile more than runs. */
V_INLINE void gemv_of(const ox_format f, const int several, const uint8_t *panel,
                      const uint8_t *end, uint32_t n_columns, const ox_act_block *acts,
                      uint32_t n_tokens, float (*out)[PANEL]) {
    if (!several) gemv(f, 1, panel, end, n_columns, acts, out);
    if (several && n_tokens == 2) gemv(f, 2, panel, end, n_columns, acts, out);
    if (several && n_tokens == 3) gemv(f, 3, panel, end, n_columns, acts, out);
}

#define X(F)                                                                                       \
    NOINLINE static void F##_gemv(const uint8_t *panel, const uint8_t *end, uint32_t n_columns,    \
                                  const ox_act_block *acts, float (*out)[PANEL]) {                 \
        gemv_of(F, 0, panel, end, n_columns, acts, 1, out);                                        \
    }                                                                                              \
    NOINLINE static void F##_gemv_of_several(const uint8_t *panel, const uint8_t *end,             \
                                             uint32_t n_columns, const ox_act_block *acts,         \
                                             uint32_t n_tokens, float (*out)[PANEL]) {             \
        gemv_of(F, 1, panel, end, n_columns, acts, n_tokens, out);                                 \
    }                                                                                              \
    NOINLINE static void F##_unpack(const uint8_t *panel, uint32_t n_columns, uint8_t *unpacked) { \
        unpack(F, panel, n_columns, unpacked);                                                     \
    }
OX_EACH_BIT_FIELD(X)
#undef X

/* Coded formats with as many scales are alike after expansion, but for the size and the offset. */
V_INLINE ox_format coded(const ox_format *format, const uint8_t halves, const uint8_t range) {
    return (ox_format){.number = format->number,
                       .block = 256,
                       .block_bytes = format->block_bytes,
                       .bits = 8,
                       .range = range,
                       .offset = format->offset,
                       .codes = CODES_BOOK,
                       .halves = halves,
                       .scales = SCALES_D};
}

/* 1 if sums of values of so many bits must be widened sooner than those of four. */
V_INLINE int is_wide(const int range) {
    (void)range; /* the macro may not use it */
    return V_I16_DEPTH(range) < V_I16_DEPTH(4);
}

V_INLINE void coded_gemv_of(const ox_format *format, const int several, const uint8_t *panel,
                            const uint8_t *end, uint32_t n_columns, const ox_act_block *acts,
                            uint32_t n_tokens, float (*out)[PANEL]) {
    if (format->halves == 2) {
        gemv_of(coded(format, 2, 7), several, panel, end, n_columns, acts, n_tokens, out);
    } else if (is_wide(7)) {
        gemv_of(coded(format, 1, 7), several, panel, end, n_columns, acts, n_tokens, out);
    } else {
        gemv_of(coded(format, 1, 4), several, panel, end, n_columns, acts, n_tokens, out);
    }
}

NOINLINE static void coded_gemv(const ox_format *format, const uint8_t *panel, const uint8_t *end,
                                uint32_t n_columns, const ox_act_block *acts, float (*out)[PANEL]) {
    coded_gemv_of(format, 0, panel, end, n_columns, acts, 1, out);
}

NOINLINE static void coded_gemv_of_several(const ox_format *format, const uint8_t *panel,
                                           const uint8_t *end, uint32_t n_columns,
                                           const ox_act_block *acts, uint32_t n_tokens,
                                           float (*out)[PANEL]) {
    coded_gemv_of(format, 1, panel, end, n_columns, acts, n_tokens, out);
}

NOINLINE static void coded_unpack(const ox_format *format, const uint8_t *panel, uint32_t n_columns,
                                  uint8_t *unpacked) {
    if (format->halves == 2) {
        unpack(coded(format, 2, 7), panel, n_columns, unpacked);
    } else {
        unpack(coded(format, 1, 7), panel, n_columns, unpacked);
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

/* X(name, is_signed, halves, scales, range): what the sums of unpacked blocks depend on. */
#define EACH_SHAPE(X)                                                                              \
    X(shape_signed, 1, 1, SCALES_D, 8)                                                             \
    X(shape_d_4, 0, 1, SCALES_D, 4)                                                                \
    X(shape_d_5, 0, 1, SCALES_D, 5)                                                                \
    X(shape_d_7, 0, 1, SCALES_D, 7)                                                                \
    X(shape_dm_4, 0, 1, SCALES_DM, 4)                                                              \
    X(shape_dm_5, 0, 1, SCALES_DM, 5)                                                              \
    X(shape_halves_d_4, 0, 2, SCALES_D, 4)                                                         \
    X(shape_halves_d_5, 0, 2, SCALES_D, 5)                                                         \
    X(shape_halves_d_6, 0, 2, SCALES_D, 6)                                                         \
    X(shape_halves_d_7, 0, 2, SCALES_D, 7)                                                         \
    X(shape_halves_dm_4, 0, 2, SCALES_DM, 4)

V_INLINE ox_format shape(const uint8_t is_signed, const uint8_t halves, const uint8_t scales,
                         const uint8_t range, uint8_t offset) {
    return (ox_format){.range = range,
                       .offset = offset,
                       .is_signed = is_signed,
                       .halves = halves,
                       .scales = scales};
}

#define X(NAME, IS_SIGNED, HALVES, SCALES, RANGE)                                                  \
    NOINLINE static void NAME##_whole(uint8_t offset, const uint8_t *unpacked, uint32_t n_blocks,  \
                                      const ox_act_block *acts, float (*out)[PANEL]) {             \
        const ox_format f = shape(IS_SIGNED, HALVES, SCALES, RANGE, offset);                       \
        gemm(f, V_TILE_TOKENS, unpacked, n_blocks, acts, out);                                     \
    }                                                                                              \
    NOINLINE static void NAME##_rest(uint8_t offset, const uint8_t *unpacked, uint32_t n_blocks,   \
                                     const ox_act_block *acts, uint32_t n_tokens,                  \
                                     float (*out)[PANEL]) {                                        \
        const ox_format f = shape(IS_SIGNED, HALVES, SCALES, RANGE, offset);                       \
        gemm_of_rest(f, unpacked, n_blocks, acts, n_tokens, out);                                  \
    }
EACH_SHAPE(X)
#undef X

void ox_panel_gemv(const ox_format *format, const uint8_t *panel, const uint8_t *end,
                   uint32_t n_columns, const ox_act_block *acts, uint32_t n_tokens,
                   float (*out)[PANEL]) {
    const int several = n_tokens > 1, coded = format_has_codebook(*format);
#define X(F)                                                                                       \
    if (format->number == (F).number) {                                                            \
        if (several)                                                                               \
            F##_gemv_of_several(panel, end, n_columns, acts, n_tokens, out);                       \
        else                                                                                       \
            F##_gemv(panel, end, n_columns, acts, out);                                            \
    }
    OX_EACH_BIT_FIELD(X)
#undef X
    if (coded && several) coded_gemv_of_several(format, panel, end, n_columns, acts, n_tokens, out);
    if (coded && !several) coded_gemv(format, panel, end, n_columns, acts, out);
}

uint64_t ox_unpacked_bytes(const ox_format *format, uint32_t n_in) {
    return (uint64_t)(n_in / 32) * unpacked_block_bytes(*format);
}

void ox_panel_unpack(const ox_format *format, const uint8_t *panel, uint32_t n_columns,
                     uint8_t *unpacked) {
#define X(F)                                                                                       \
    if (format->number == (F).number) F##_unpack(panel, n_columns, unpacked);
    OX_EACH_BIT_FIELD(X)
#undef X
    if (format_has_codebook(*format)) coded_unpack(format, panel, n_columns, unpacked);
}

void ox_panel_gemm(const ox_format *format, const uint8_t *unpacked, uint32_t n_blocks,
                   const ox_act_block *acts, uint32_t n_tokens, float (*out)[PANEL]) {
    const uint8_t has_m = (uint8_t)format_has_min(*format);
/* where range makes no difference, the narrow shapes do for all */
#define X(NAME, IS_SIGNED, HALVES, SCALES, RANGE)                                                  \
    if (((IS_SIGNED) || (RANGE) <= 4 || is_wide(RANGE)) && format->is_signed == (IS_SIGNED) &&     \
        format->halves == (HALVES) && has_m == ((SCALES) == SCALES_DM) &&                          \
        V_I16_DEPTH(format->range) == V_I16_DEPTH(RANGE)) {                                        \
        if (n_tokens == V_TILE_TOKENS) {                                                           \
            NAME##_whole(format->offset, unpacked, n_blocks, acts, out);                           \
        } else {                                                                                   \
            NAME##_rest(format->offset, unpacked, n_blocks, acts, n_tokens, out);                  \
        }                                                                                          \
    }
    EACH_SHAPE(X)
#undef X
}
