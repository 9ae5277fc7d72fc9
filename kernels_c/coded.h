/* Tiles of formats that store entries of a codebook, or base-3 digits, instead of fields of bits.
 */
#ifndef OX_CODED_H
#define OX_CODED_H

#include "ox.h"
#include "simd.h"

enum {
    PANEL = OX_PANEL_ROWS,
    VECTORS = OX_PANEL_ROWS / VF,
    GROUP_BYTES = 4 * OX_PANEL_ROWS,
    /* eight tiles of 8 bits, for one column */
    OX_EXPANDED_BYTES = 8 * 8 * GROUP_BYTES
};

/* Spreads the low four bits of x over the lowest bits of four bytes. */
V_INLINE uint32_t spread4(uint32_t x) { return ((x & 0xf) * 0x00204081u) & 0x01010101u; }

/* Writes row r's part of a column's tiles. block: as GGUF stores it; number: ggml type. */
void ox_pack_coded_row(uint32_t number, const uint8_t *block, uint32_t r, uint8_t *tiles);

/* Turns a column's tiles into eight of 8 bits: see formats.h. */
void ox_expand_column(uint32_t number, const uint8_t *tiles, uint8_t to[OX_EXPANDED_BYTES]);

/* The odd factors of a column's scales, for each 32 or 16 weights. */
void ox_coded_factors(uint32_t number, const uint8_t *column, uint8_t (*factors)[OX_PANEL_ROWS]);

#endif
