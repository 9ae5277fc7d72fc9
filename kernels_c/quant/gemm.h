/* Products of one panel (16 rows of a weight) with the quantized activations of a few tokens. */
#ifndef OX_GEMM_H
#define OX_GEMM_H

#include "quant/activations.h"
#include "quant/formats.h"

/* out[t][r] = row r of the panel times token t, for the n_tokens <= OX_GEMV_TOKENS tokens of the
 * group at acts, straight from the packed weights. end: of the weights after the panel that are
 * prefetched.
 */
void ox_panel_gemv(const ox_format *format, const uint8_t *panel, const uint8_t *end,
                   uint32_t n_columns, const ox_act_block *acts, uint32_t n_tokens,
                   float (*out)[PANEL]);

/* Unpacks a panel for many tokens. */
uint64_t ox_unpacked_bytes(const ox_format *format, uint32_t n_in);
void ox_panel_unpack(const ox_format *format, const uint8_t *panel, uint32_t n_columns,
                     uint8_t *unpacked);
/* The same product for n_tokens <= V_TILE_TOKENS of a group of V_TILE_TOKENS. */
void ox_panel_gemm(const ox_format *format, const uint8_t *unpacked, uint32_t n_blocks,
                   const ox_act_block *acts, uint32_t n_tokens, float (*out)[PANEL]);

#endif
