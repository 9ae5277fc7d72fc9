/* Formats that store entries of a codebook (IQ1, IQ2, IQ3) or base-3 digits (TQ1_0).
 *
 * A tile of a codebook format, 32 weights of 16 rows:
 *
 *     entries [n][16 rows]   the low 8 bits of an entry's number; an entry is 8 weights, or 4 (IQ3)
 *     rows x 4               IQ2, IQ3: signs; bit g of byte k belongs to weight 4 g + k
 *     high [n][16 rows]      IQ2_S, IQ3_S, IQ1: the other bits of the entries' numbers
 *
 * IQ2_XXS, IQ2_XS and IQ3_XXS store seven signs of eight: there is an even number of minus signs.
 * In place of the eighths, bits 1, 3, 5, 7 of byte 3, stand the four bits of the scale or, in
 * IQ2_XS, the ninth bits of the entries' numbers.
 *
 * IQ1 weights are d * (x + 1/8) or d * (x - 1/8), x in -1 .. 1, with one bit for the sign of 1/8:
 * the last of the 16 high bits of a sub-block (IQ1_S), or of each entry's nibble (IQ1_M).
 *
 * TQ1_0 has 13 times rows x 4 for a whole column. A byte b stands for the fraction b / 256 of
 * base-3 digits 0.abcde: its digits are what tripling it, again and again, carries out of the byte.
 */
#include "quant/codebook_formats.h"
#include "quant/codebooks.h"

enum { VECTOR_BYTES = GROUP_BYTES / VECTORS };

/* u of a level, and of a level with the flag: a minus sign, or -1/8. */
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

/* A codebook format: what its sub-blocks of 32 weights hold, and where in a block of GGUF. */
typedef struct book {
    ox_format format;
    uint16_t first;       /* in CODEBOOKS */
    uint8_t n_entries;    /* 4 or 8 */
    uint8_t n_high;       /* bytes */
    uint8_t signs;        /* enum signs */
    uint8_t entries_at;   /* of the first sub-block */
    uint8_t entries_step; /* to the next one */
    uint8_t signs_at;     /* NUMBERS: a word of four numbers of 7 bits; BYTES: four bytes */
    uint8_t signs_step;
    uint8_t high_at;
} book;

enum signs { SIGNS_NONE, SIGNS_BYTES, SIGNS_NUMBERS, SIGNS_IN_ENTRIES };

#define IQ1_S ((book){OX_IQ1_S, BOOK_IQ1, 4, 2, SIGNS_NONE, 2, 4, 0, 0, 34})
#define IQ1_M ((book){OX_IQ1_M, BOOK_IQ1, 4, 2, SIGNS_NONE, 0, 4, 0, 0, 32})
#define IQ2_XXS ((book){OX_IQ2_XXS, BOOK_IQ2_XXS, 4, 0, SIGNS_NUMBERS, 2, 8, 6, 8, 0})
#define IQ2_XS ((book){OX_IQ2_XS, BOOK_IQ2_XS, 4, 0, SIGNS_IN_ENTRIES, 2, 8, 0, 0, 0})
#define IQ2_S ((book){OX_IQ2_S, BOOK_IQ2_S, 4, 1, SIGNS_BYTES, 2, 4, 34, 4, 66})
#define IQ3_XXS ((book){OX_IQ3_XXS, BOOK_IQ3_XXS, 8, 0, SIGNS_NUMBERS, 2, 8, 66, 4, 0})
#define IQ3_S ((book){OX_IQ3_S, BOOK_IQ3_S, 8, 1, SIGNS_BYTES, 2, 8, 74, 4, 66})
#define EACH_BOOK(X) X(IQ1_S) X(IQ1_M) X(IQ2_XXS) X(IQ2_XS) X(IQ2_S) X(IQ3_XXS) X(IQ3_S)

V_INLINE const uint8_t *book_values(const book b) {
    if (b.first == BOOK_IQ1) return IQ1_VALUES;
    if (b.first == BOOK_IQ3_XXS) return IQ3_XXS_VALUES;
    return b.first == BOOK_IQ3_S ? IQ3_S_VALUES : IQ2_VALUES;
}

/* The four sign bytes of a sub-block, one for each eight weights; the highest bits of seven signs
 * hold what else the word holds. */
V_INLINE uint32_t read_signs(const book b, const uint8_t *block, uint32_t sub) {
    const uint8_t *at = block + b.signs_at + b.signs_step * sub;
    if (b.signs == SIGNS_BYTES) return v_load_u32(at);
    uint32_t signs = 0;
    for (uint32_t j = 0; j < 4; j++) {
        uint32_t number, other;
        if (b.signs == SIGNS_NUMBERS) {
            const uint32_t word = v_load_u32(at);
            number = word >> (7 * j) & 127, other = word >> (28 + j) & 1;
        } else {
            const uint32_t word = v_load_u16(block + b.entries_at + b.entries_step * sub + 2 * j);
            number = word >> 9, other = word >> 8 & 1;
        }
        signs |= (number | other << 7) << (8 * j);
    }
    return signs;
}

V_INLINE void pack_book_row(const book b, const uint8_t *block, uint32_t r, uint8_t *tile) {
    for (uint32_t sub = 0; sub < 8; sub++, tile += format_tile_bytes(b.format)) {
        const uint8_t *entries = block + b.entries_at + b.entries_step * sub;
        const uint32_t stride = b.signs == SIGNS_IN_ENTRIES ? 2 : 1;
        for (uint32_t j = 0; j < b.n_entries; j++) tile[PANEL * j + r] = entries[stride * j];
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

/* The other bits of the entries' numbers, rows side by side; IQ2_XS has them among the signs, and
 * they are taken out into room. */
V_INLINE const uint8_t *high_bits(const book b, const uint8_t *tile, uint8_t room[PANEL]) {
    const uint8_t *signs = tile + PANEL * b.n_entries;
    if (b.signs == SIGNS_NONE) return signs;
    if (b.signs != SIGNS_IN_ENTRIES) return signs + GROUP_BYTES;
    for (uint32_t r = 0; r < PANEL; r++) room[r] = (uint8_t)(v_load_u32(signs + 4 * r) >> 24);
    return room;
}

/* The number of a row's j-th entry. high: from high_bits. */
V_INLINE uint32_t entry_number(const book b, const uint8_t *tile, const uint8_t *high, uint32_t j,
                               uint32_t r) {
    const uint32_t low = tile[PANEL * j + r];
    switch (b.format.number) {
    case 17: /* IQ2_XS */
        return low | (high[r] >> (2 * j + 1) & 1u) << 8;
    case 19: /* IQ1_S */
        return low | ((high[r] | (uint32_t)high[PANEL + r] << 8) >> (3 * j) & 7) << 8;
    case 21: /* IQ3_S */
        return low | (high[r] >> j & 1u) << 8;
    case 22: /* IQ2_S */
        return low | (high[r] >> (2 * j) & 3u) << 8;
    case 29: /* IQ1_M */
        return low | (high[PANEL * (j / 2) + r] >> (4 * (j & 1)) & 7u) << 8;
    default:
        return low;
    }
}

/* Eight signs from seven: the parity of four bytes, and two bits each, goes into the highest. */
V_INLINE uint32_t even_signs(uint32_t signs) {
    signs &= 0x55ffffff;
    uint32_t parity = signs ^ signs >> 16;
    parity ^= parity >> 8;
    parity ^= parity >> 1;
    return signs | (parity & 0x55) << 25;
}

/* A row's flags: bit g of byte k for weight 4 g + k. */
V_INLINE uint32_t row_flags(const book b, const uint8_t *tile, uint32_t r) {
    const uint8_t *flags = tile + PANEL * b.n_entries; /* or the high bytes */
    if (b.format.number == 19) return 0u - (flags[PANEL + r] >> 7);
    if (b.format.number == 29) {
        const uint32_t first = flags[r], second = flags[PANEL + r];
        return ((first >> 3 & 1) * 0x03030303u) | ((first >> 7) * 0x0c0c0c0cu) |
               ((second >> 3 & 1) * 0x30303030u) | ((second >> 7) * 0xc0c0c0c0u);
    }
    const uint32_t signs = v_load_u32(flags + 4 * r);
    return b.signs == SIGNS_BYTES ? signs : even_signs(signs);
}

/* gcc makes 16 rows of AVX-512 slower with constant shifts than with variable ones. */
#ifdef __AVX512F__
#define UNROLL_ENTRIES
#else
#define UNROLL_ENTRIES V_UNROLL
#endif

V_INLINE void expand_book(const book b, const uint8_t *tile, uint8_t *to) {
    for (uint32_t sub = 0; sub < 8; sub++, to += 8 * GROUP_BYTES) {
        uint16_t entries[8][PANEL];
        uint32_t flags[PANEL];
        uint8_t room[PANEL];
        const uint8_t *high = high_bits(b, tile, room);
        UNROLL_ENTRIES
        for (uint32_t j = 0; j < b.n_entries; j++) {
            for (uint32_t r = 0; r < PANEL; r++) {
                const uint32_t number = b.first + entry_number(b, tile, high, j, r);
                entries[j][r] = (uint16_t)(V_GATHER_STEP * number);
            }
        }
        v_force_to_memory(entries);
        for (uint32_t r = 0; r < PANEL; r++) flags[r] = row_flags(b, tile, r);
        V_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            const vu8 plane = vb_load(flags + v * VF);
            V_UNROLL
            for (uint32_t j = 0; j < b.n_entries; j++) {
                const vu8 entry = vb_gather(CODEBOOKS, entries[j] + v * VF);
                const int n_groups = 8 / b.n_entries;
                V_UNROLL
                for (int i = 0; i < n_groups; i++) {
                    const int g = n_groups * (int)j + i;
                    const vu8 level = i ? vb_shr(entry, 4) : entry;
                    const vu8 flag = g < 3 ? vb_shl(plane, 3 - g) : vb_shr(plane, g - 3);
                    const vu8 code =
                        vb_or(vb_and(level, vb_splat(0x07)), vb_and(flag, vb_splat(0x08)));
                    vb_store(to + GROUP_BYTES * g + VECTOR_BYTES * v,
                             vb_lookup16(code, book_values(b)));
                }
            }
        }
        tile += format_tile_bytes(b.format);
    }
}

/* Scale bits of a word of signs: 1, 3, 5 and 7 of its last byte. */
V_INLINE uint32_t spare_bits(const uint8_t *signs) {
    const uint32_t x = v_load_u32(signs) >> 24;
    return (x >> 1 & 1) | (x >> 2 & 2) | (x >> 3 & 4) | (x >> 4 & 8);
}

/* A row's scale for the i-th 16 or 32 weights. bytes: the scale bytes, or the first tile. */
V_INLINE uint32_t row_scale(const book b, const uint8_t *bytes, uint32_t i, uint32_t r) {
    const uint8_t *tile = bytes + i * format_tile_bytes(b.format);
    switch (b.format.number) {
    case 16: /* IQ2_XXS */
    case 18: /* IQ3_XXS */
        return spare_bits(tile + PANEL * b.n_entries + 4 * r);
    case 19: /* IQ1_S */
        return tile[PANEL * (b.n_entries + 1u) + r] >> 4 & 7;
    case 29: { /* IQ1_M: three bits, four times in a word */
        const uint8_t *word = bytes + 2 * PANEL * (i / 4) + r;
        return (word[0] | (uint32_t)word[PANEL] << 8) >> (3 * (i & 3)) & 7;
    }
    default: /* nibbles */
        return bytes[PANEL * (i / 2) + r] >> (4 * (i & 1)) & 15;
    }
}

V_INLINE void book_scales(const book b, const uint8_t *column, ox_panel_scales *scales) {
    const uint8_t *bytes = column + PANEL * format_d_bytes(b.format);
    vf32 d[VECTORS];
    load_d(b.format, column, d);
    for (uint32_t i = 0; i < 8u * b.format.halves; i++) {
        uint8_t factors[PANEL];
        for (uint32_t r = 0; r < PANEL; r++) {
            factors[r] = (uint8_t)(2 * row_scale(b, bytes, i, r) + 1);
        }
        for (int v = 0; v < VECTORS; v++) {
            v_store(scales->d[i] + v * VF, v_mul(d[v], v_load_u8(factors + v * VF)));
        }
    }
}

/* Where the weights of digit n of the p-th rows x 4 of TQ1_0 go: sub-block and group, as 8 sub + g.
 * Five digits for each of 32 bytes, five for 16, four for the last 4. */
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

void ox_pack_coded_row(uint32_t number, const uint8_t *block, uint32_t r, uint8_t *tiles) {
    if (number == OX_TQ1_0.number) pack_ternary_row(block, r, tiles);
#define X(B)                                                                                       \
    if (number == (B).format.number) pack_book_row(B, block, r, tiles);
    EACH_BOOK(X)
#undef X
}

static void ternary_scales(const uint8_t *column, ox_panel_scales *scales) {
    vf32 d[VECTORS];
    load_d(OX_TQ1_0, column, d);
    for (int i = 0; i < 8; i++) {
        for (int v = 0; v < VECTORS; v++) v_store(scales->d[i] + v * VF, d[v]);
    }
}

#define X(B)                                                                                       \
    NOINLINE static void B##_expand(const uint8_t *column, uint8_t to[EXPANDED_BYTES],             \
                                    ox_panel_scales *scales) {                                     \
        book_scales(B, column, scales);                                                            \
        expand_book(B, column + format_header_bytes((B).format), to);                              \
    }
EACH_BOOK(X)
#undef X

void ox_expand_column(uint32_t number, const uint8_t *column, uint8_t to[EXPANDED_BYTES],
                      ox_panel_scales *scales) {
    if (number == OX_TQ1_0.number) {
        ternary_scales(column, scales);
        expand_ternary(column + format_header_bytes(OX_TQ1_0), to);
    }
#define X(B)                                                                                       \
    if (number == (B).format.number) B##_expand(column, to, scales);
    EACH_BOOK(X)
#undef X
}
