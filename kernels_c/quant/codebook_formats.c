/* Formats whose weights are entries of a codebook (IQ1, IQ2, IQ3) or base-3 digits (TQ1_0).
 *
 * A tile of a codebook format, 32 weights of 16 rows:
 *
 *     index [n][16 rows]    the low 8 bits of an entry's index; an entry is 8 weights, or 4 (IQ3)
 *     rows x 4              IQ2, IQ3: signs; bit g of byte k belongs to weight 4 g + k
 *     high [n][16 rows]     IQ2_S, IQ3_S, IQ1: the high bits of the indices
 *
 * IQ2_XXS, IQ2_XS and IQ3_XXS store seven signs of eight weights: the number of minus signs is
 * even. The places of the eighth signs, bits 1, 3, 5, 7 of byte 3, hold the four bits of the scale
 * or, in IQ2_XS, the ninth bits of the indices.
 *
 * IQ1 weights are d * (x + 1/8) or d * (x - 1/8), x in -1 .. 1, with one bit for the sign of 1/8:
 * the last of the 16 high bits of a sub-block (IQ1_S), or of each entry's nibble (IQ1_M).
 *
 * TQ1_0 has 13 times rows x 4 for a whole column. A byte b is the fraction b / 256, 0.abcde in base
 * 3: multiplying it by 3 again and again carries one digit after the other out of the byte.
 */
#include "quant/codebook_formats.h"
#include "quant/codebooks.h"

enum { VECTOR_BYTES = GROUP_BYTES / VECTORS };

/* q of a codebook's levels, then the same with a minus sign (IQ1: with -1/8). */
static const uint8_t IQ2_VALUES[16] = {43 + 8, 43 + 25, 43 + 43, 0, 0, 0, 0, 0,
                                       43 - 8, 43 - 25, 43 - 43, 0, 0, 0, 0, 0};
static const uint8_t IQ3_XXS_VALUES[16] = {62 + 4,  62 + 12, 62 + 20, 62 + 28, 62 + 36, 62 + 44,
                                           62 + 52, 62 + 62, 62 - 4,  62 - 12, 62 - 20, 62 - 28,
                                           62 - 36, 62 - 44, 62 - 52, 62 - 62};
static const uint8_t IQ3_S_VALUES[16] = {15 + 1,  15 + 3,  15 + 5,  15 + 7, 15 + 9, 15 + 11,
                                         15 + 13, 15 + 15, 15 - 1,  15 - 3, 15 - 5, 15 - 7,
                                         15 - 9,  15 - 11, 15 - 13, 15 - 15};
static const uint8_t IQ1_VALUES[16] = {9 - 8 + 1, 9 + 1, 9 + 8 + 1, 0, 0, 0, 0, 0,
                                       9 - 8 - 1, 9 - 1, 9 + 8 - 1, 0, 0, 0, 0, 0};

enum signs {
    SIGNS_NONE,      /* the high bits hold them */
    SIGNS_BYTES,     /* four bytes */
    SIGNS_NUMBERS,   /* a word with four numbers of 7 bits */
    SIGNS_IN_INDICES /* 7 bits in the 16 of each index */
};

/* A codebook format: what its sub-blocks of 32 weights hold, and where a block of GGUF has it. */
typedef struct book {
    uint16_t first;     /* entry in CODEBOOKS */
    uint8_t n_entries;  /* 4 or 8 */
    uint8_t n_high;     /* bytes */
    uint8_t signs;      /* enum signs */
    uint8_t index_at;   /* place of the first sub-block's indices */
    uint8_t index_step; /* from one sub-block to the next */
    uint8_t signs_at;
    uint8_t signs_step;
    uint8_t high_at;
} book;

/* X(name, members of struct book) */
#define EACH_BOOK(X)                                                                               \
    X(IQ1_S, BOOK_IQ1, 4, 2, SIGNS_NONE, 2, 4, 0, 0, 34)                                           \
    X(IQ1_M, BOOK_IQ1, 4, 2, SIGNS_NONE, 0, 4, 0, 0, 32)                                           \
    X(IQ2_XXS, BOOK_IQ2_XXS, 4, 0, SIGNS_NUMBERS, 2, 8, 6, 8, 0)                                   \
    X(IQ2_XS, BOOK_IQ2_XS, 4, 0, SIGNS_IN_INDICES, 2, 8, 0, 0, 0)                                  \
    X(IQ2_S, BOOK_IQ2_S, 4, 1, SIGNS_BYTES, 2, 4, 34, 4, 66)                                       \
    X(IQ3_XXS, BOOK_IQ3_XXS, 8, 0, SIGNS_NUMBERS, 2, 8, 66, 4, 0)                                  \
    X(IQ3_S, BOOK_IQ3_S, 8, 1, SIGNS_BYTES, 2, 8, 74, 4, 66)

#define X(NAME, ...) static const book NAME##_BOOK = {__VA_ARGS__};
EACH_BOOK(X)
#undef X

V_INLINE const uint8_t *book_values(const book b) {
    if (b.first == BOOK_IQ1) return IQ1_VALUES;
    if (b.first == BOOK_IQ3_XXS) return IQ3_XXS_VALUES;
    return b.first == BOOK_IQ3_S ? IQ3_S_VALUES : IQ2_VALUES;
}

/* The four sign bytes of a sub-block, one for each eight weights. Where there are only seven signs,
 * the highest bit holds another bit of the word. */
V_INLINE uint32_t read_signs(const book b, const uint8_t *block, uint32_t sub) {
    const uint8_t *at = block + b.signs_at + b.signs_step * sub;
    if (b.signs == SIGNS_BYTES) return v_load_u32(at);
    uint32_t signs = 0;
    for (uint32_t j = 0; j < 4; j++) {
        uint32_t seven, other;
        if (b.signs == SIGNS_NUMBERS) {
            const uint32_t word = v_load_u32(at);
            seven = word >> (7 * j) & 127, other = word >> (28 + j) & 1;
        } else {
            const uint32_t word = v_load_u16(block + b.index_at + b.index_step * sub + 2 * j);
            seven = word >> 9, other = word >> 8 & 1;
        }
        signs |= (seven | other << 7) << (8 * j);
    }
    return signs;
}

V_INLINE void pack_book_row(const ox_format f, const book b, const uint8_t *block, uint32_t r,
                            uint8_t *tile) {
    for (uint32_t sub = 0; sub < 8; sub++, tile += format_tile_bytes(f)) {
        const uint8_t *indices = block + b.index_at + b.index_step * sub;
        const uint32_t stride = b.signs == SIGNS_IN_INDICES ? 2 : 1;
        for (uint32_t j = 0; j < b.n_entries; j++) tile[PANEL * j + r] = indices[stride * j];
        uint8_t *at = tile + PANEL * b.n_entries;
        if (b.signs != SIGNS_NONE) {
            const uint32_t signs = read_signs(b, block, sub);
            uint32_t plane = 0;
            for (uint32_t g = 0; g < 8; g++) plane |= spread4(signs >> (4 * g)) << g;
            __builtin_memcpy(at + 4 * r, &plane, 4);
            at += GROUP_BYTES;
        }
        for (uint32_t i = 0; i < b.n_high; i++) {
            at[PANEL * i + r] = block[b.high_at + b.n_high * sub + i];
        }
    }
}

/* The high bits of the indices, rows side by side. Those of IQ2_XS are among the signs, and are
 * copied to room. */
V_INLINE const uint8_t *high_bits(const book b, const uint8_t *tile, uint8_t room[PANEL]) {
    const uint8_t *signs = tile + PANEL * b.n_entries;
    if (b.signs == SIGNS_NONE) return signs;
    if (b.signs != SIGNS_IN_INDICES) return signs + GROUP_BYTES;
    for (uint32_t r = 0; r < PANEL; r++) room[r] = (uint8_t)(v_load_u32(signs + 4 * r) >> 24);
    return room;
}

/* The index of a row's j-th entry. high: from high_bits. */
V_INLINE uint32_t entry_index(const ox_format f, const uint8_t *tile, const uint8_t *high,
                              uint32_t j, uint32_t r) {
    const uint32_t low = tile[PANEL * j + r];
    switch (f.number) {
    case OX_IQ2_XS:
        return low | (high[r] >> (2 * j + 1) & 1u) << 8;
    case OX_IQ1_S:
        return low | ((high[r] | (uint32_t)high[PANEL + r] << 8) >> (3 * j) & 7) << 8;
    case OX_IQ3_S:
        return low | (high[r] >> j & 1u) << 8;
    case OX_IQ2_S:
        return low | (high[r] >> (2 * j) & 3u) << 8;
    case OX_IQ1_M:
        return low | (high[PANEL * (j / 2) + r] >> (4 * (j & 1)) & 7u) << 8;
    default:
        return low;
    }
}

/* Eight signs from seven: the highest bits become the parity of the others. */
V_INLINE uint32_t even_signs(uint32_t signs) {
    signs &= 0x55ffffff;
    uint32_t parity = signs ^ signs >> 16;
    parity ^= parity >> 8;
    parity ^= parity >> 1;
    return signs | (parity & 0x55) << 25;
}

/* The signs of a row: bit g of byte k for weight 4 g + k. */
V_INLINE uint32_t row_signs(const ox_format f, const book b, const uint8_t *tile, uint32_t r) {
    const uint8_t *at = tile + PANEL * b.n_entries; /* the signs, or the high bits that hold them */
    if (f.number == OX_IQ1_S) return 0u - (at[PANEL + r] >> 7);
    if (f.number == OX_IQ1_M) {
        const uint32_t first = at[r], second = at[PANEL + r];
        return ((first >> 3 & 1) * 0x03030303u) | ((first >> 7) * 0x0c0c0c0cu) |
               ((second >> 3 & 1) * 0x30303030u) | ((second >> 7) * 0xc0c0c0c0u);
    }
    const uint32_t signs = v_load_u32(at + 4 * r);
    return b.signs == SIGNS_BYTES ? signs : even_signs(signs);
}

/* For AVX-512, gcc makes slower code of constant shifts than of variable ones. */
#ifdef __AVX512F__
#define UNROLL_ENTRIES
#else
#define UNROLL_ENTRIES V_UNROLL
#endif

V_INLINE void expand_book(const ox_format f, const book b, const uint8_t *tile, uint8_t *to) {
    for (uint32_t sub = 0; sub < 8; sub++, to += 8 * GROUP_BYTES) {
        uint16_t indices[8][PANEL];
        uint32_t signs[PANEL];
        uint8_t room[PANEL];
        const uint8_t *high = high_bits(b, tile, room);
        UNROLL_ENTRIES
        for (uint32_t j = 0; j < b.n_entries; j++) {
            for (uint32_t r = 0; r < PANEL; r++) {
                const uint32_t index = b.first + entry_index(f, tile, high, j, r);
                indices[j][r] = (uint16_t)(V_GATHER_STEP * index);
            }
        }
        v_force_to_memory(indices);
        for (uint32_t r = 0; r < PANEL; r++) signs[r] = row_signs(f, b, tile, r);
        V_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const vu8 plane = vb_load(signs + v * VF);
            V_UNROLL
            for (uint32_t j = 0; j < b.n_entries; j++) {
                const vu8 entry = vb_gather(CODEBOOKS, indices[j] + v * VF);
                const int n_groups = 8 / b.n_entries;
                V_UNROLL
                for (int i = 0; i < n_groups; i++) {
                    const int g = n_groups * (int)j + i;
                    const vu8 level = i ? vb_shr(entry, 4) : entry;
                    const vu8 sign = g < 3 ? vb_shl(plane, 3 - g) : vb_shr(plane, g - 3);
                    const vu8 code =
                        vb_or(vb_and(level, vb_splat(0x07)), vb_and(sign, vb_splat(0x08)));
                    vb_store(to + GROUP_BYTES * g + VECTOR_BYTES * v,
                             vb_lookup16(code, book_values(b)));
                }
            }
        }
        tile += format_tile_bytes(f);
    }
}

/* The four bits of a scale in a word of signs: 1, 3, 5 and 7 of its last byte. */
V_INLINE uint32_t scale_in_signs(const uint8_t *signs) {
    const uint32_t x = v_load_u32(signs) >> 24;
    return (x >> 1 & 1) | (x >> 2 & 2) | (x >> 3 & 4) | (x >> 4 & 8);
}

/* The sub-scale s of a row for the i-th 16 or 32 weights. bytes: the sub-scales, or the tiles. */
V_INLINE uint32_t row_scale(const ox_format f, const book b, const uint8_t *bytes, uint32_t i,
                            uint32_t r) {
    const uint8_t *tile = bytes + i * format_tile_bytes(f);
    switch (f.number) {
    case OX_IQ2_XXS:
    case OX_IQ3_XXS:
        return scale_in_signs(tile + PANEL * b.n_entries + 4 * r);
    case OX_IQ1_S:
        return tile[PANEL * (b.n_entries + 1u) + r] >> 4 & 7;
    case OX_IQ1_M: { /* three bits, four times in a word */
        const uint8_t *word = bytes + 2 * PANEL * (i / 4) + r;
        return (word[0] | (uint32_t)word[PANEL] << 8) >> (3 * (i & 3)) & 7;
    }
    default: /* nibbles */
        return bytes[PANEL * (i / 2) + r] >> (4 * (i & 1)) & 15;
    }
}

V_INLINE void book_scales(const ox_format f, const book b, const uint8_t *column,
                          ox_panel_scales *scales) {
    const uint8_t *bytes = column + PANEL * format_d_bytes(f);
    vf32 d[VECTORS];
    load_d(f, column, d);
    for (uint32_t i = 0; i < 8u * f.n_scales; i++) {
        uint32_t s[PANEL];
        uint8_t factors[PANEL];
        for (uint32_t r = 0; r < PANEL; r++) s[r] = row_scale(f, b, bytes, i, r);
        for (uint32_t r = 0; r < PANEL; r++) factors[r] = (uint8_t)(2 * s[r] + 1);
        for (int v = 0; v < VECTORS; v++) {
            v_store(scales->d[i] + v * VF, v_mul(d[v], v_load_u8(factors + v * VF)));
        }
    }
}

/* The place of digit n of the p-th rows x 4 of TQ1_0: its group, counted from the column's first.
 * There are five digits for each of 32 bytes, five for 16, four for the last 4. */
V_INLINE int ternary_place(int p, int n) {
    if (p < 8) return 8 * n + p;
    return p < 12 ? 40 + 4 * n + p - 8 : 60 + n;
}

static void expand_ternary(const uint8_t *planes, uint8_t *to) {
    const vu8 one_third = vb_splat(85), two_thirds = vb_splat(170);
    for (int p = 0; p < 13; p++) {
        for (int v = 0; v < VECTORS; v++) {
            const int at = VECTOR_BYTES * v;
            vu8 fraction = vb_load(planes + GROUP_BYTES * p + at);
            for (int n = 0; n < (p < 12 ? 5 : 4); n++) {
                const vu8 digit =
                    vb_add(vb_above(fraction, one_third), vb_above(fraction, two_thirds));
                vb_store(to + GROUP_BYTES * ternary_place(p, n) + at, digit);
                fraction = vb_triple(fraction);
            }
        }
    }
}

static void pack_ternary_row(const uint8_t *block, uint32_t r, uint8_t *planes) {
    for (uint32_t p = 0; p < 13; p++) {
        __builtin_memcpy(planes + GROUP_BYTES * p + 4 * r, block + 4 * p, 4);
    }
}

static void ternary_scales(const uint8_t *column, ox_panel_scales *scales) {
    vf32 d[VECTORS];
    load_d(FORMAT_TQ1_0, column, d);
    for (int i = 0; i < 8; i++) {
        for (int v = 0; v < VECTORS; v++) v_store(scales->d[i] + v * VF, d[v]);
    }
}

void ox_pack_expanded_row(uint32_t number, const uint8_t *block, uint32_t r, uint8_t *tiles) {
    switch (number) {
    case OX_TQ1_0:
        pack_ternary_row(block, r, tiles);
        break;
#define X(NAME, ...)                                                                               \
    case OX_##NAME:                                                                                \
        pack_book_row(FORMAT_##NAME, NAME##_BOOK, block, r, tiles);                                \
        break;
        EACH_BOOK(X)
#undef X
    }
}

#define X(NAME, ...)                                                                               \
    NOINLINE static void expand_##NAME(const uint8_t *column, uint8_t to[EXPANDED_BYTES],          \
                                       ox_panel_scales *scales) {                                  \
        book_scales(FORMAT_##NAME, NAME##_BOOK, column, scales);                                   \
        expand_book(FORMAT_##NAME, NAME##_BOOK, column + format_header_bytes(FORMAT_##NAME), to);  \
    }
EACH_BOOK(X)
#undef X

void ox_expand_column(uint32_t number, const uint8_t *column, uint8_t to[EXPANDED_BYTES],
                      ox_panel_scales *scales) {
    switch (number) {
    case OX_TQ1_0:
        ternary_scales(column, scales);
        expand_ternary(column + format_header_bytes(FORMAT_TQ1_0), to);
        break;
#define X(NAME, ...)                                                                               \
    case OX_##NAME:                                                                                \
        expand_##NAME(column, to, scales);                                                         \
        break;
        EACH_BOOK(X)
#undef X
    }
}
