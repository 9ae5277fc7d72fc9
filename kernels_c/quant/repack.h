/* Packing: the interleaving of rows. */
#ifndef OX_REPACK_H
#define OX_REPACK_H

#include "quant/formats.h"

/* Packs blocks [0, n_columns) of up to 16 row-major rows into a panel; missing rows become zeros.
 */
void ox_pack_rows(const ox_format *format, const uint8_t *rows, uint64_t row_bytes, uint32_t n_rows,
                  uint32_t n_columns, uint8_t *panel);

#endif
