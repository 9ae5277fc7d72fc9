/* Formats whose tiles are expanded to 8 bits before use, and columns of any format ready for use.
 */
#ifndef OX_CODEBOOK_FORMATS_H
#define OX_CODEBOOK_FORMATS_H

#include "quant/unpack.h"

/* Spreads the low four bits of x over the lowest bits of four bytes. */
V_INLINE uint32_t spread4(uint32_t x) { return ((x & 0xf) * 0x00204081u) & 0x01010101u; }

/* Writes the part of row r of a column's tiles. block: as GGUF stores it; number: ggml type. */
void ox_pack_expanded_row(uint32_t number, const uint8_t *block, uint32_t r, uint8_t *tiles);

/* Writes the scales of a column, and its weights as eight tiles of 8 bits. */
enum { EXPANDED_TILE = 8 * GROUP_BYTES, EXPANDED_BYTES = 8 * EXPANDED_TILE };
void ox_expand_column(uint32_t number, const uint8_t *column, uint8_t to[EXPANDED_BYTES],
                      ox_panel_scales *scales);

/* Writes the scales of a column, and returns its tiles as tile_group reads them, maybe expanded. */
V_INLINE const uint8_t *ready_column(const ox_format f, const uint8_t *column,
                                     uint8_t expanded[EXPANDED_BYTES], ox_panel_scales *scales) {
    if (format_is_expanded(f)) {
        ox_expand_column(f.number, column, expanded, scales);
        return expanded;
    }
    panel_scales(f, column, scales);
    return column + format_header_bytes(f);
}
V_INLINE uint32_t ready_tile_bytes(const ox_format f) {
    return format_is_expanded(f) ? (uint32_t)EXPANDED_TILE : format_tile_bytes(f);
}

#endif
