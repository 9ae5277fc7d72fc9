/* Quantized formats: what they have in common, and a table with one row for each.
 *
 * In every format here a weight is d * (q - offset) or d * q + min, with a small integer q and one
 * d (and min) for 32 or 16 consecutive weights. A block is what GGUF stores together: 32 weights,
 * or 64, 128 or 256 in sub-blocks of 32.
 *
 * Packed tensors (repack.c) interleave 16 rows, a panel. Column c of a panel, 16 * block_bytes
 * long, holds block c of the 16 rows:
 *
 *     d [16 rows]                    float16, or float32 or 8 bits
 *     float16 m or dmin [16 rows]    if the format has one
 *     sub-scale bytes [n][16 rows]   if the format has any
 *     a tile for each 32 weights     64 bytes for each bit of a weight
 *
 * In a tile, weights are in 8 groups of 4 consecutive ones. "Rows x 4" are 64 bytes, four for each
 * row, one for each weight of a group; byte k of row r belongs to weight 4 * group + k.
 *
 *     1 bit:  rows x 4; bit g belongs to group g
 *     2 bits: 2 x rows x 4; bits 2s, 2s+1 of the j-th belong to group j + 2s
 *     3 bits: as 2 bits, then a bit-plane: rows x 4 with bit g for the third bit of group g
 *     4 bits: 4 x rows x 4; the j-th holds group j in its low nibbles and group j + 4 in its high
 *     5 bits: as 4 bits, then a bit-plane: rows x 4 with bit g for the fifth bit of group g
 *     6 bits: as 4 bits, then 2 x rows x 4; bits 2s, 2s+1 of the j-th for bits 4, 5 of group 4j + s
 *     8 bits: 8 x rows x 4
 *
 * Formats that do not store fields of bits have tiles of their own: see codebook_formats.c.
 */
#ifndef OX_FORMATS_H
#define OX_FORMATS_H

#include "ox.h"
#include "simd/simd.h"

enum { PANEL = OX_PANEL_ROWS, VECTORS = OX_PANEL_ROWS / VF, GROUP_BYTES = 4 * OX_PANEL_ROWS };

/* How the scales of a block are stored. Sub-scales multiply d (and dmin) in each 32 or 16 weights.
 */
enum ox_scales {
    SCALES_D,      /* d */
    SCALES_F32,    /* d, in float32 */
    SCALES_E8M0,   /* d, only its exponent */
    SCALES_DM,     /* d and m */
    SCALES_K,      /* d, dmin and 12 bytes of 6-bit sub-scales for 8 sub-blocks (Q4_K, Q5_K) */
    SCALES_Q6_K,   /* d and 16 signed sub-scales */
    SCALES_Q3_K,   /* d and 12 bytes of 16 6-bit sub-scales */
    SCALES_Q2_K,   /* d, dmin and 16 bytes of two 4-bit sub-scales */
    SCALES_IQ4_XS, /* d and 6 bytes of 8 6-bit sub-scales */
    SCALES_E4M3,   /* 4 bytes of 4 small floats */
    /* odd sub-scales, 2s + 1; codebook_formats.c says where s is */
    SCALES_ODD,   /* d */
    SCALES_ODD_4, /* d, a quarter of it */
    SCALES_ODD_8, /* d, an eighth of it */
    SCALES_IQ1_M  /* 8 bytes of 16 3-bit s and, in their highest nibbles, d; an eighth of it */
};

/* How q is stored. */
enum ox_coding {
    CODING_BITS,     /* as it is */
    CODING_IQ4,      /* an index into IQ4_VALUES */
    CODING_FP4,      /* an index into FP4_VALUES */
    CODING_TERNARY,  /* base-3 digits, five in a byte: see codebook_formats.c */
    CODING_CODEBOOK, /* indices of a codebook's entries: see codebook_formats.c */
};

/* Where a block of GGUF holds some bits of each weight: of every `group` bytes first all lowest
 * fields of `bits` bits, then all next ones, and so on, in the order of the weights. */
typedef struct ox_field {
    uint8_t bits; /* 0: there is no such field */
    uint8_t group;
    uint16_t at; /* its first byte */
} ox_field;

typedef struct ox_format {
    uint32_t number; /* ggml type */
    uint16_t block;  /* weights in a block */
    uint16_t block_bytes;
    ox_field low, high; /* the bits of a weight in a block of GGUF */
    uint8_t bits;       /* of a weight in a tile; 8 for tiles that are expanded before use */
    uint8_t coding;     /* enum ox_coding */
    uint8_t value_bits; /* of q */
    uint8_t is_signed;  /* q is an int8 */
    uint8_t offset;     /* subtracted from q, unless is_signed */
    uint8_t n_scales;   /* for 32 weights: 1 or 2 */
    uint8_t scales;     /* enum ox_scales */
    uint8_t n_sub;      /* bytes of sub-scales */
    uint16_t sub_at;    /* their place in a block of GGUF */
    uint16_t d_at;      /* the place of d in a block of GGUF; m or dmin comes right after it */
} ox_format;

/* The table: X(name, ggml type, weights and bytes of a block; the low and the high bits of a
 * weight, each with its first byte; coding, bits of q (8: signed), offset, scales for 32 weights;
 * how scales are stored, where d is; where the sub-scales are, their bytes). Types, sizes and
 * layouts are ggml's (ggml.h, ggml-common.h). */
/* clang-format off */
#define OX_FIELD(bits, group) (16 * (group) + (bits))
#define BITS(group)    OX_FIELD(1, group)
#define PAIRS(group)   OX_FIELD(2, group)
#define NIBBLES(group) OX_FIELD(4, group)
#define BYTES          OX_FIELD(8, 32)
#define NONE           0
#define OX_EACH_BIT_FIELD_FORMAT(X) \
    X(Q4_0,    2,  32,  18, NIBBLES(16),  2, NONE,        0, CODING_BITS, 4,  8, 1, SCALES_D,        0,   0,  0) \
    X(Q4_1,    3,  32,  20, NIBBLES(16),  4, NONE,        0, CODING_BITS, 4,  0, 1, SCALES_DM,       0,   0,  0) \
    X(Q5_0,    6,  32,  22, NIBBLES(16),  6, BITS(1),     2, CODING_BITS, 5, 16, 1, SCALES_D,        0,   0,  0) \
    X(Q5_1,    7,  32,  24, NIBBLES(16),  8, BITS(1),     4, CODING_BITS, 5,  0, 1, SCALES_DM,       0,   0,  0) \
    X(Q8_0,    8,  32,  34, BYTES,        2, NONE,        0, CODING_BITS, 8,  0, 1, SCALES_D,        0,   0,  0) \
    X(Q8_1,    9,  32,  36, BYTES,        4, NONE,        0, CODING_BITS, 8,  0, 1, SCALES_D,        0,   2,  2) \
    X(Q2_K,   10, 256,  84, PAIRS(32),   16, NONE,        0, CODING_BITS, 2,  0, 2, SCALES_Q2_K,    80,   0, 16) \
    X(Q3_K,   11, 256, 110, PAIRS(32),   32, BITS(32),    0, CODING_BITS, 3,  4, 2, SCALES_Q3_K,   108,  96, 12) \
    X(Q4_K,   12, 256, 144, NIBBLES(32), 16, NONE,        0, CODING_BITS, 4,  0, 1, SCALES_K,        0,   4, 12) \
    X(Q5_K,   13, 256, 176, NIBBLES(32), 48, BITS(32),   16, CODING_BITS, 5,  0, 1, SCALES_K,        0,   4, 12) \
    X(Q6_K,   14, 256, 210, NIBBLES(64),  0, PAIRS(32), 128, CODING_BITS, 6, 32, 2, SCALES_Q6_K,   208, 192, 16) \
    X(Q8_K,   15, 256, 292, BYTES,        4, NONE,        0, CODING_BITS, 8,  0, 1, SCALES_F32,      0, 260, 32) \
    X(IQ4_NL, 20,  32,  18, NIBBLES(16),  2, NONE,        0, CODING_IQ4,  8,  0, 1, SCALES_D,        0,   0,  0) \
    X(IQ4_XS, 23, 256, 136, NIBBLES(16),  8, NONE,        0, CODING_IQ4,  8,  0, 1, SCALES_IQ4_XS,   0,   2,  6) \
    X(TQ2_0,  35, 256,  66, PAIRS(32),    0, NONE,        0, CODING_BITS, 2,  1, 1, SCALES_D,       64,   0,  0) \
    X(MXFP4,  39,  32,  17, NIBBLES(16),  1, NONE,        0, CODING_FP4,  5, 12, 1, SCALES_E8M0,     0,   0,  0) \
    X(NVFP4,  40,  64,  36, NIBBLES(8),   4, NONE,        0, CODING_FP4,  5, 12, 2, SCALES_E4M3,     0,   0,  4) \
    X(Q1_0,   41, 128,  18, BITS(1),      2, NONE,        0, CODING_BITS, 2,  1, 1, SCALES_D,        0,   0,  0) \
    X(Q2_0,   42,  64,  18, PAIRS(1),     2, NONE,        0, CODING_BITS, 2,  1, 1, SCALES_D,        0,   0,  0)
#define OX_EACH_EXPANDED_FORMAT(X) \
    X(IQ2_XXS, 16, 256,  66, NONE, 0, NONE, 0, CODING_CODEBOOK, 7, 43, 1, SCALES_ODD_8,  0,   0, 0) \
    X(IQ2_XS,  17, 256,  74, NONE, 0, NONE, 0, CODING_CODEBOOK, 7, 43, 2, SCALES_ODD_8,  0,  66, 8) \
    X(IQ3_XXS, 18, 256,  98, NONE, 0, NONE, 0, CODING_CODEBOOK, 7, 62, 1, SCALES_ODD_4,  0,   0, 0) \
    X(IQ1_S,   19, 256,  50, NONE, 0, NONE, 0, CODING_CODEBOOK, 5,  9, 1, SCALES_ODD_8,  0,   0, 0) \
    X(IQ3_S,   21, 256, 110, NONE, 0, NONE, 0, CODING_CODEBOOK, 5, 15, 1, SCALES_ODD,    0, 106, 4) \
    X(IQ2_S,   22, 256,  82, NONE, 0, NONE, 0, CODING_CODEBOOK, 7, 43, 2, SCALES_ODD_8,  0,  74, 8) \
    X(IQ1_M,   29, 256,  56, NONE, 0, NONE, 0, CODING_CODEBOOK, 5,  9, 2, SCALES_IQ1_M,  0,  48, 8) \
    X(TQ1_0,   34, 256,  54, NONE, 0, NONE, 0, CODING_TERNARY,  2,  1, 1, SCALES_D,     52,   0, 0)
/* clang-format on */
#define OX_EACH_FORMAT(X) OX_EACH_BIT_FIELD_FORMAT(X) OX_EACH_EXPANDED_FORMAT(X)

/* ggml's type numbers. */
enum ox_type {
    OX_F32 = 0,
    OX_F16 = 1,
    OX_BF16 = 30,
#define X(NAME, NUMBER, ...) OX_##NAME = NUMBER,
    OX_EACH_FORMAT(X)
#undef X
};

enum { OX_MAX_BLOCK_BYTES = 292 };

/* FORMAT_Q4_0 and so on. */
#define X(NAME, NUMBER, BLOCK, BLOCK_BYTES, LOW, LOW_AT, HIGH, HIGH_AT, CODING, VALUE_BITS,        \
          OFFSET, N_SCALES, SCALES, D_AT, SUB_AT, N_SUB)                                           \
    static const ox_format FORMAT_##NAME = {.number = NUMBER,                                      \
                                            .block = BLOCK,                                        \
                                            .block_bytes = BLOCK_BYTES,                            \
                                            .low = {(LOW) % 16, (LOW) / 16, LOW_AT},               \
                                            .high = {(HIGH) % 16, (HIGH) / 16, HIGH_AT},           \
                                            .bits = (LOW) ? (LOW) % 16 + (HIGH) % 16 : 8,          \
                                            .coding = CODING,                                      \
                                            .value_bits = VALUE_BITS,                              \
                                            .is_signed = (VALUE_BITS) == 8,                        \
                                            .offset = OFFSET,                                      \
                                            .n_scales = N_SCALES,                                  \
                                            .scales = SCALES,                                      \
                                            .n_sub = N_SUB,                                        \
                                            .sub_at = SUB_AT,                                      \
                                            .d_at = D_AT};
OX_EACH_FORMAT(X)
#undef X

/* As macros, these are constants for static checks too. */
#define HAS_MIN(scales) ((scales) == SCALES_DM || (scales) == SCALES_K || (scales) == SCALES_Q2_K)
#define D_BYTES(scales)                                                                            \
    ((scales) == SCALES_IQ1_M || (scales) == SCALES_E4M3 ? 0u                                      \
     : (scales) == SCALES_F32                            ? 4u                                      \
     : (scales) == SCALES_E8M0                           ? 1u                                      \
                                                         : 2u)

V_INLINE int format_has_min(const ox_format f) { return HAS_MIN(f.scales); }
V_INLINE uint32_t format_d_bytes(const ox_format f) { return D_BYTES(f.scales); }
/* What must be subtracted from q as the dot products see it. */
V_INLINE int format_offset(const ox_format f) { return f.is_signed ? v_signed_offset() : f.offset; }
V_INLINE uint32_t format_sub_blocks(const ox_format f) { return f.block / 32; }
V_INLINE uint32_t format_column_bytes(const ox_format f) { return PANEL * (uint32_t)f.block_bytes; }
V_INLINE uint32_t format_header_bytes(const ox_format f) {
    return PANEL * (format_d_bytes(f) + (format_has_min(f) ? 2u : 0u) + f.n_sub);
}
V_INLINE uint32_t format_tile_bytes(const ox_format f) {
    return (format_column_bytes(f) - format_header_bytes(f)) / format_sub_blocks(f);
}
V_INLINE uint64_t format_row_bytes(const ox_format f, uint32_t n_in) {
    return (uint64_t)(n_in / f.block) * f.block_bytes;
}
/* 1: tiles are expanded to 8 bits whenever a column is used: see codebook_formats.c. */
V_INLINE int format_is_expanded(const ox_format f) { return f.coding >= CODING_TERNARY; }

/* formats.c: the quantized format with a ggml type number, or NULL. */
const ox_format *ox_find_format(uint32_t number);

/* formats.c: 1 if a weight's format has kernels, and n_in, n_out, bytes and packed fit it. */
int32_t ox_check_weight(const ox_tensor *weight);
/* The status of a weight, which may be NULL, as the matrix of an operation. */
int32_t ox_check_matrix(const ox_tensor *weight);

#endif
