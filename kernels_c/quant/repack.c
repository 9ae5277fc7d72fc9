/* Interleaves rows of quantized weights, so that one vector load brings the same columns of several
 * rows: see formats.h for the layout. */
#include "quant/repack.h"
#include "quant/codebook_formats.h"

/* The u of weights 32 * sub + 4 * group .. + 3 of a block as GGUF stores it, a byte each. */
V_INLINE uint32_t read_group(const ox_format f, const uint8_t *block, int sub, int group) {
    const uint32_t nibbles = 0x0f0f0f0fu, pairs = 0x03030303u, bits = 0x01010101u;
    const int high = group >= 4 ? 4 : 0, at = 4 * (group & 3);
    switch (f.number) {
    case 2:  /* Q4_0 */
    case 20: /* IQ4_NL */
        return v_load_u32(block + 2 + at) >> high & nibbles;
    case 3: /* Q4_1 */
        return v_load_u32(block + 4 + at) >> high & nibbles;
    case 6: /* Q5_0 */
        return (v_load_u32(block + 6 + at) >> high & nibbles) |
               spread4(v_load_u32(block + 2) >> (4 * group)) << 4;
    case 7: /* Q5_1 */
        return (v_load_u32(block + 8 + at) >> high & nibbles) |
               spread4(v_load_u32(block + 4) >> (4 * group)) << 4;
    case 8: /* Q8_0 */
        return v_load_u32(block + 2 + 4 * group);
    case 9: /* Q8_1 */
        return v_load_u32(block + 4 + 4 * group);
    case 10: /* Q2_K */
        return v_load_u32(block + 16 + 32 * (sub / 4) + 4 * group) >> (2 * (sub & 3)) & pairs;
    case 11: /* Q3_K */
        return (v_load_u32(block + 32 + 32 * (sub / 4) + 4 * group) >> (2 * (sub & 3)) & pairs) |
               (v_load_u32(block + 4 * group) >> sub & bits) << 2;
    case 12: /* Q4_K */
        return v_load_u32(block + 16 + 32 * (sub / 2) + 4 * group) >> (4 * (sub & 1)) & nibbles;
    case 13: /* Q5_K */
        return (v_load_u32(block + 48 + 32 * (sub / 2) + 4 * group) >> (4 * (sub & 1)) & nibbles) |
               (v_load_u32(block + 16 + 4 * group) >> sub & bits) << 4;
    case 14: { /* Q6_K: two halves of 128 */
        const uint8_t *low = block + 64 * (sub / 4) + 32 * (sub & 1) + 4 * group;
        const uint8_t *top = block + 128 + 32 * (sub / 4) + 4 * group;
        return (v_load_u32(low) >> (sub & 2 ? 4 : 0) & nibbles) |
               (v_load_u32(top) >> (2 * (sub & 3)) & pairs) << 4;
    }
    case 15: /* Q8_K */
        return v_load_u32(block + 4 + 32 * sub + 4 * group);
    case 23: /* IQ4_XS */
        return v_load_u32(block + 8 + 16 * sub + at) >> high & nibbles;
    case 35: /* TQ2_0 */
        return v_load_u32(block + 32 * (sub / 4) + 4 * group) >> (2 * (sub & 3)) & pairs;
    case 39: /* MXFP4 */
        return v_load_u32(block + 1 + at) >> high & nibbles;
    case 40: /* NVFP4: eight bytes for sixteen weights */
        return v_load_u32(block + 4 + 16 * sub + 8 * (group / 4) + 4 * (group & 1)) >>
                   (4 * (group / 2 & 1)) &
               nibbles;
    case 41: /* Q1_0 */
        return spread4(block[2 + 4 * sub + group / 2] >> (4 * (group & 1)));
    default:
        return 0;
    }
}

static inline void put_u32(uint8_t *to, uint32_t x) { __builtin_memcpy(to, &x, 4); }

/* Writes one row's part of a tile: see formats.h. u: the eight groups. */
V_INLINE void write_tile_row(const ox_format f, const uint32_t u[8], uint8_t *to) {
    if (f.bits == 8) {
        for (int g = 0; g < 8; g++) put_u32(to + GROUP_BYTES * g, u[g]);
        return;
    }
    uint32_t plane = 0;
    if (f.bits == 1) {
        for (int g = 0; g < 8; g++) plane |= u[g] << g;
        put_u32(to, plane);
        return;
    }
    if (f.bits <= 3) {
        for (int j = 0; j < 2; j++) {
            uint32_t x = 0;
            for (int s = 0; s < 4; s++) x |= (u[j + 2 * s] & 0x03030303u) << (2 * s);
            put_u32(to + GROUP_BYTES * j, x);
        }
        for (int g = 0; g < 8; g++) plane |= (u[g] >> 2 & 0x01010101u) << g;
        if (f.bits == 3) put_u32(to + 2 * GROUP_BYTES, plane);
        return;
    }
    for (int j = 0; j < 4; j++) {
        put_u32(to + GROUP_BYTES * j, (u[j] & 0x0f0f0f0fu) | (u[j + 4] & 0x0f0f0f0fu) << 4);
    }
    if (f.bits == 5) {
        for (int g = 0; g < 8; g++) plane |= (u[g] >> 4 & 0x01010101u) << g;
        put_u32(to + 4 * GROUP_BYTES, plane);
    }
    if (f.bits == 6) {
        for (int j = 0; j < 2; j++) {
            uint32_t x = 0;
            for (int s = 0; s < 4; s++) x |= (u[4 * j + s] >> 4 & 0x03030303u) << (2 * s);
            put_u32(to + (4 + j) * GROUP_BYTES, x);
        }
    }
}

V_INLINE void pack_rows(const ox_format f, const uint8_t *rows, uint64_t row_bytes, uint32_t n_rows,
                        uint32_t n_columns, uint8_t *panel) {
    for (uint32_t c = 0; c < n_columns; c++) {
        for (uint32_t r = 0; r < n_rows; r++) {
            const uint8_t *block = rows + r * row_bytes + (size_t)c * f.block_bytes;
            uint8_t *to = panel;
            const uint32_t d_bytes = format_d_bytes(f);
            __builtin_memcpy(to + d_bytes * r, block + f.d_offset, d_bytes);
            to += d_bytes * PANEL;
            if (format_has_min(f)) {
                __builtin_memcpy(to + 2 * r, block + f.m_offset, 2);
                to += 2 * PANEL;
            }
            for (int i = 0; i < f.n_bytes; i++) to[PANEL * i + r] = block[f.bytes_offset + i];
            to += PANEL * f.n_bytes;
            if (format_has_codebook(f)) {
                ox_pack_coded_row(f.number, block, r, to);
                continue;
            }
            for (int sub = 0; sub < (int)format_sub_blocks(f); sub++) {
                uint32_t u[8];
                V_UNROLL
                for (int g = 0; g < 8; g++) u[g] = read_group(f, block, sub, g);
                write_tile_row(f, u, to + 4 * r);
                to += format_tile_bytes(f);
            }
        }
        panel += format_column_bytes(f);
    }
}

#define X(F)                                                                                       \
    NOINLINE static void F##_pack(const uint8_t *rows, uint64_t row_bytes, uint32_t n_rows,        \
                                  uint32_t n_columns, uint8_t *panel) {                            \
        pack_rows(F, rows, row_bytes, n_rows, n_columns, panel);                                   \
    }
OX_EACH_QUANTIZED(X)
#undef X

void ox_pack_rows(const ox_format *format, const uint8_t *rows, uint64_t row_bytes, uint32_t n_rows,
                  uint32_t n_columns, uint8_t *panel) {
    if (n_rows < PANEL) {
        __builtin_memset(panel, 0, (size_t)n_columns * format_column_bytes(*format));
    }
#define X(F)                                                                                       \
    if (format->number == (F).number) F##_pack(rows, row_bytes, n_rows, n_columns, panel);
    OX_EACH_QUANTIZED(X)
#undef X
}

uint64_t ox_pack_scratch_bytes(const ox_tensor *tensor) {
    ox_format format;
    if (!ox_find_format(tensor->format, &format)) return 0;
    return PANEL * format_row_bytes(format, tensor->n_in);
}

int32_t ox_pack(const ox_tensor *tensor, uint32_t first_panel, uint32_t n_panels, uint8_t *scratch,
                uint64_t scratch_bytes) {
    ox_format format;
    if (!ox_check_weight(tensor)) return OX_BAD_MODEL;
    if (!ox_find_format(tensor->format, &format)) return OX_OK; /* stays row-major */
    const uint64_t row_bytes = format_row_bytes(format, tensor->n_in);
    const uint64_t panel_bytes = PANEL * row_bytes;
    if (tensor->packed || (uint64_t)first_panel + n_panels > tensor->n_out / PANEL) {
        return OX_BAD_MODEL;
    }
    if (scratch_bytes < panel_bytes) return OX_BAD_SCRATCH;
    uint8_t *panel = (uint8_t *)(uintptr_t)tensor->data + first_panel * panel_bytes;
    for (uint32_t i = 0; i < n_panels; i++, panel += panel_bytes) {
        __builtin_memcpy(scratch, panel, (size_t)panel_bytes);
        ox_pack_rows(&format, scratch, row_bytes, PANEL, tensor->n_in / format.block, panel);
    }
    return OX_OK;
}
