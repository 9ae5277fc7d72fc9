/* Formats that do not store fields of bits, and columns of any format ready for the products. */
#ifndef OX_CODEBOOK_FORMATS_H
#define OX_CODEBOOK_FORMATS_H

#include "quant/unpack.h"

/* Writes row r's part of a column's tiles. block: as GGUF stores it; number: ggml type. */
void ox_pack_coded_row(uint32_t number, const uint8_t *block, uint32_t r, uint8_t *tiles);

/* The scales of a column, and its tiles as eight of 8 bits. */
enum { EXPANDED_TILE = 8 * GROUP_BYTES, EXPANDED_BYTES = 8 * EXPANDED_TILE };
void ox_expand_column(uint32_t number, const uint8_t *column, uint8_t to[EXPANDED_BYTES],
                      ox_panel_scales *scales);

/* The scales of a column, and its tiles as tile_group reads them: expanded if they are coded. */
V_INLINE const uint8_t *ready_column(const ox_format f, const uint8_t *column,
                                     uint8_t expanded[EXPANDED_BYTES], ox_panel_scales *scales) {
    if (format_has_codebook(f)) {
        ox_expand_column(f.number, column, expanded, scales);
        return expanded;
    }
    panel_scales(f, column, scales);
    return column + format_header_bytes(f);
}
V_INLINE uint32_t ready_tile_bytes(const ox_format f) {
    return format_has_codebook(f) ? (uint32_t)EXPANDED_TILE : format_tile_bytes(f);
}

#endif
