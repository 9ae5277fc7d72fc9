/* Quantized formats: what they have in common, and one table row for each.
 *
 * Every format here is w = d * (u - offset) or w = d * u + m, with a small integer u of `bits` bits
 * and one d (and m) for 32 or 16 consecutive weights. A block is what GGUF stores together: 32
 * weights, or 128 or 256 in sub-blocks of 32.
 *
 * Packed tensors (repack.c) interleave 16 rows, a panel. Column c of a panel, 16 * block_bytes
 * long, holds block c of the 16 rows:
 *
 *     d [16 rows]                    float16, or float32 or 8 bits
 *     float16 m or dmin [16 rows]    if the format has one
 *     scale bytes [n][16 rows]       if the format has any
 *     a tile for each 32 weights     64 * bits bytes
 *
 * In a tile, weights are taken in 8 groups of 4 consecutive ones. "Rows x 4" are 64 bytes, four for
 * each row, one for each weight of a group; byte k of row r belongs to weight 4 * group + k.
 *
 *     1 bit:  rows x 4; bit g belongs to group g
 *     2 bits: 2 x rows x 4; bits 2s, 2s+1 of the j-th belong to group j + 2s
 *     3 bits: as 2 bits, then rows x 4 with bit g for the third bit of group g
 *     4 bits: 4 x rows x 4; the j-th holds group j in its low nibbles and group j + 4 in its high
 *     5 bits: as 4 bits, then rows x 4 with bit g for the fifth bit of group g
 *     6 bits: as 4 bits, then 2 x rows x 4; bits 2s, 2s+1 of the j-th for bits 4, 5 of group 4j + s
 *     8 bits: 8 x rows x 4
 *
 * Formats that don't store fields of bits have tiles of their own: see codebook_formats.c.
 */
#ifndef OX_FORMATS_H
#define OX_FORMATS_H

#include "ox.h"
#include "simd/simd.h"

enum { PANEL = OX_PANEL_ROWS, VECTORS = OX_PANEL_ROWS / VF, GROUP_BYTES = 4 * OX_PANEL_ROWS };

/* How a block's scales are kept. */
enum ox_scales {
    SCALES_D,      /* d */
    SCALES_F32,    /* d, in float32 */
    SCALES_E8M0,   /* d, the exponent alone */
    SCALES_DM,     /* d and m */
    SCALES_K,      /* d, dmin and 12 bytes of 6-bit factors for 8 sub-blocks (Q4_K, Q5_K) */
    SCALES_Q6_K,   /* d and 16 signed factors */
    SCALES_Q3_K,   /* d and 12 bytes of 16 6-bit factors */
    SCALES_Q2_K,   /* d, dmin and 16 bytes of two 4-bit factors */
    SCALES_IQ4_XS, /* d and 6 bytes of 8 6-bit factors */
    /* odd factors, 2s + 1: where s stands is told in codebook_formats.c */
    SCALES_ODD,   /* d */
    SCALES_ODD_4, /* d, a quarter of it */
    SCALES_ODD_8, /* d, an eighth of it */
    SCALES_IQ1_M, /* 8 bytes of 16 3-bit s and, with their highest nibbles, d */
    SCALES_E4M3   /* 4 bytes of 4 small floats */
};

/* What u is looked up in, and so what a tile holds. */
enum ox_codes {
    CODES_NONE,  /* u itself */
    CODES_IQ4,   /* u is an index into IQ4_VALUES */
    CODES_FP4,   /* u is an index into FP4_VALUES */
    CODES_BASE3, /* base-3 digits, five in a byte: see codebook_formats.c */
    CODES_BOOK   /* entries of a codebook: see codebook_formats.c */
};

typedef struct ox_format {
    uint32_t number; /* ggml type */
    uint16_t block;  /* weights in a block */
    uint16_t block_bytes;
    uint8_t bits;      /* of a weight in a tile; 8 for codes that are expanded */
    uint8_t range;     /* bits of u */
    uint8_t offset;    /* subtracted from u, unless is_signed */
    uint8_t is_signed; /* u is an int8 */
    uint8_t codes;     /* enum ox_codes */
    uint8_t halves;    /* scales for 32 weights: 1 or 2 */
    uint8_t scales;    /* enum ox_scales */
    uint8_t d_offset;  /* where d stands in a block of GGUF, and m, and the scale bytes */
    uint8_t m_offset;
    uint16_t bytes_offset;
    uint8_t n_bytes;
} ox_format;

#define OX_F(...) ((ox_format){__VA_ARGS__})
/* clang-format off */
#define OX_Q4_0    OX_F( 2, 32,  18, 4, 4,  8, 0, CODES_NONE,  1, SCALES_D,        0,  0,   0,  0)
#define OX_Q4_1    OX_F( 3, 32,  20, 4, 4,  0, 0, CODES_NONE,  1, SCALES_DM,       0,  2,   0,  0)
#define OX_Q5_0    OX_F( 6, 32,  22, 5, 5, 16, 0, CODES_NONE,  1, SCALES_D,        0,  0,   0,  0)
#define OX_Q5_1    OX_F( 7, 32,  24, 5, 5,  0, 0, CODES_NONE,  1, SCALES_DM,       0,  2,   0,  0)
#define OX_Q8_0    OX_F( 8, 32,  34, 8, 8,  0, 1, CODES_NONE,  1, SCALES_D,        0,  0,   0,  0)
#define OX_Q8_1    OX_F( 9, 32,  36, 8, 8,  0, 1, CODES_NONE,  1, SCALES_D,        0,  0,   2,  2)
#define OX_Q2_K    OX_F(10, 256,  84, 2, 2,  0, 0, CODES_NONE,  2, SCALES_Q2_K,    80, 82,   0, 16)
#define OX_Q3_K    OX_F(11, 256, 110, 3, 3,  4, 0, CODES_NONE,  2, SCALES_Q3_K,   108,  0,  96, 12)
#define OX_Q4_K    OX_F(12, 256, 144, 4, 4,  0, 0, CODES_NONE,  1, SCALES_K,        0,  2,   4, 12)
#define OX_Q5_K    OX_F(13, 256, 176, 5, 5,  0, 0, CODES_NONE,  1, SCALES_K,        0,  2,   4, 12)
#define OX_Q6_K    OX_F(14, 256, 210, 6, 6, 32, 0, CODES_NONE,  2, SCALES_Q6_K,   208,  0, 192, 16)
#define OX_Q8_K    OX_F(15, 256, 292, 8, 8,  0, 1, CODES_NONE,  1, SCALES_F32,      0,  0, 260, 32)
#define OX_IQ2_XXS OX_F(16, 256,  66, 8, 7, 43, 0, CODES_BOOK,  1, SCALES_ODD_8,    0,  0,   0,  0)
#define OX_IQ2_XS  OX_F(17, 256,  74, 8, 7, 43, 0, CODES_BOOK,  2, SCALES_ODD_8,    0,  0,  66,  8)
#define OX_IQ3_XXS OX_F(18, 256,  98, 8, 7, 62, 0, CODES_BOOK,  1, SCALES_ODD_4,    0,  0,   0,  0)
#define OX_IQ1_S   OX_F(19, 256,  50, 8, 5,  9, 0, CODES_BOOK,  1, SCALES_ODD_8,    0,  0,   0,  0)
#define OX_IQ4_NL  OX_F(20, 32,  18, 4, 8,  0, 1, CODES_IQ4,   1, SCALES_D,        0,  0,   0,  0)
#define OX_IQ3_S   OX_F(21, 256, 110, 8, 5, 15, 0, CODES_BOOK,  1, SCALES_ODD,      0,  0, 106,  4)
#define OX_IQ2_S   OX_F(22, 256,  82, 8, 7, 43, 0, CODES_BOOK,  2, SCALES_ODD_8,    0,  0,  74,  8)
#define OX_IQ4_XS  OX_F(23, 256, 136, 4, 8,  0, 1, CODES_IQ4,   1, SCALES_IQ4_XS,   0,  0,   2,  6)
#define OX_IQ1_M   OX_F(29, 256,  56, 8, 5,  9, 0, CODES_BOOK,  2, SCALES_IQ1_M,    0,  0,  48,  8)
#define OX_TQ1_0   OX_F(34, 256,  54, 8, 2,  1, 0, CODES_BASE3, 1, SCALES_D,       52,  0,   0,  0)
#define OX_TQ2_0   OX_F(35, 256,  66, 2, 2,  1, 0, CODES_NONE,  1, SCALES_D,       64,  0,   0,  0)
#define OX_MXFP4   OX_F(39, 32,  17, 4, 5, 12, 0, CODES_FP4,   1, SCALES_E8M0,     0,  0,   0,  0)
#define OX_NVFP4   OX_F(40, 64,  36, 4, 5, 12, 0, CODES_FP4,   2, SCALES_E4M3,     0,  0,   0,  4)
#define OX_Q1_0    OX_F(41, 128,  18, 1, 2,  1, 0, CODES_NONE,  1, SCALES_D,        0,  0,   0,  0)
/* clang-format on */

/* X(name) for every quantized format. */
/* clang-format off */
#define OX_EACH_BIT_FIELD(X) \
    X(OX_Q4_0) X(OX_Q4_1) X(OX_Q5_0) X(OX_Q5_1) X(OX_Q8_0) X(OX_Q8_1) \
    X(OX_Q2_K) X(OX_Q3_K) X(OX_Q4_K) X(OX_Q5_K) X(OX_Q6_K) X(OX_Q8_K) \
    X(OX_IQ4_NL) X(OX_IQ4_XS) X(OX_TQ2_0) X(OX_MXFP4) X(OX_NVFP4) X(OX_Q1_0)
#define OX_EACH_QUANTIZED(X) \
    OX_EACH_BIT_FIELD(X) \
    X(OX_IQ1_S) X(OX_IQ1_M) X(OX_IQ2_XXS) X(OX_IQ2_XS) X(OX_IQ2_S) X(OX_IQ3_XXS) X(OX_IQ3_S) \
    X(OX_TQ1_0)
/* clang-format on */

enum { OX_F32 = 0, OX_F16 = 1, OX_BF16 = 30, OX_LARGEST_BLOCK = 292 };

static const uint8_t IQ4_VALUES[16] = {129, 152, 173, 191, 207, 221, 234, 246,
                                       1,   13,  25,  38,  53,  69,  89,  113}; /* int8 */

/* 12 + 2 x, for the E2M1 floats 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives */
static const uint8_t FP4_VALUES[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

/* Finds a quantized format by its number. */
static inline int32_t ox_find_format(uint32_t number, ox_format *format) {
#define X(F)                                                                                       \
    if (number == (F).number) {                                                                    \
        *format = F;                                                                               \
        return 1;                                                                                  \
    }
    OX_EACH_QUANTIZED(X)
#undef X
    return 0;
}

V_INLINE int format_has_min(const ox_format f) {
    return f.scales == SCALES_DM || f.scales == SCALES_K || f.scales == SCALES_Q2_K;
}
/* What must be taken from u as the dot products see it. */
V_INLINE int format_offset(const ox_format f) { return f.is_signed ? v_signed_offset() : f.offset; }
V_INLINE uint32_t format_sub_blocks(const ox_format f) { return f.block / 32; }
V_INLINE uint32_t format_d_bytes(const ox_format f) {
    if (f.scales == SCALES_IQ1_M || f.scales == SCALES_E4M3) return 0;
    return f.scales == SCALES_F32 ? 4 : f.scales == SCALES_E8M0 ? 1 : 2;
}
V_INLINE uint32_t format_column_bytes(const ox_format f) { return PANEL * (uint32_t)f.block_bytes; }
V_INLINE uint32_t format_header_bytes(const ox_format f) {
    return PANEL * (format_d_bytes(f) + (format_has_min(f) ? 2u : 0u) + f.n_bytes);
}
V_INLINE uint32_t format_tile_bytes(const ox_format f) {
    return (format_column_bytes(f) - format_header_bytes(f)) / format_sub_blocks(f);
}
/* 1: codebook_formats.c makes tiles of 8 bits whenever a column is used. */
V_INLINE int format_has_codebook(const ox_format f) { return f.codes >= CODES_BASE3; }
V_INLINE uint64_t format_row_bytes(const ox_format f, uint32_t n_in) {
    return (uint64_t)(n_in / f.block) * f.block_bytes;
}

/* Spreads the low four bits of x over the lowest bits of four bytes. */
V_INLINE uint32_t spread4(uint32_t x) { return ((x & 0xf) * 0x00204081u) & 0x01010101u; }

/* formats.c: 1 if n_in, n_out, bytes, packed and format of a weight fit together and have kernels.
 */
int32_t ox_check_weight(const ox_tensor *weight);
/* The status of a weight, which may be NULL, as the matrix of an operation. */
int32_t ox_check_matrix(const ox_tensor *weight);

#endif
