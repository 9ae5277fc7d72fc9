/* Interleaves rows of quantized weights, so that one vector load reads the same columns of several
 * rows: see formats.h for the layout. */
#include "quant/repack.h"
#include "quant/codebook_formats.h"

/* The four pairs of bits of a byte, a byte each. */
V_INLINE uint32_t spread_pairs(uint32_t byte) {
    return (byte | byte << 6 | byte << 12 | byte << 18) & 0x03030303u;
}

/* The bits that a field holds of weights 32 * sub + 4 * group .. + 3 of a block of GGUF, a byte
 * each. The place of the group within the sub-block is a constant, so it is added separately. */
V_INLINE uint32_t read_field(const ox_field field, const uint8_t *block, uint32_t sub,
                             uint32_t group) {
    if (field.bits == 0) return 0;
    if (field.group == 1 && field.bits == 2) return spread_pairs(block[field.at + 8 * sub + group]);
    if (field.group == 1) return spread4(v_load_u32(block + field.at + 4 * sub) >> (4 * group));
    const uint32_t n = field.group, per_run = n * (8u / field.bits);
    const uint32_t of_sub = 32 * sub % per_run, of_group = 4 * group % per_run;
    const uint8_t *at = block + field.at + (32 * sub / per_run + 4 * group / per_run) * n;
    const uint32_t shift = field.bits * (of_sub / n + of_group / n);
    return v_load_u32(at + of_sub % n + of_group % n) >> shift &
           ((1u << field.bits) - 1) * 0x01010101u;
}

/* The q of weights 32 * sub + 4 * group .. + 3 of a block of GGUF, a byte each. */
V_INLINE uint32_t read_group(const ox_format f, const uint8_t *block, uint32_t sub,
                             uint32_t group) {
    const uint32_t low = read_field(f.low, block, sub, group);
    return low | read_field(f.high, block, sub, group) << f.low.bits;
}

/* One bit of each of the eight groups: that of group g becomes bit g. */
V_INLINE uint32_t bit_plane(const uint32_t q[8], const int bit) {
    uint32_t plane = 0;
    for (int g = 0; g < 8; g++) plane |= (q[g] >> bit & 0x01010101u) << g;
    return plane;
}

/* Bits `bit` and bit + 1 of the groups first, first + step, and so on: four of them. */
V_INLINE uint32_t pair_plane(const uint32_t q[8], const int bit, const int first, const int step) {
    uint32_t plane = 0;
    for (int s = 0; s < 4; s++) plane |= (q[first + step * s] >> bit & 0x03030303u) << (2 * s);
    return plane;
}

/* Writes the j-th "rows x 4" of one row's part of a tile. */
V_INLINE void put_plane(uint8_t *tile, int j, uint32_t plane) {
    __builtin_memcpy(tile + GROUP_BYTES * j, &plane, 4);
}

/* Writes one row's part of a tile, which formats.h describes. q: its eight groups. */
V_INLINE void write_tile_row(const ox_format f, const uint32_t q[8], uint8_t *to) {
    if (f.bits == 8) {
        for (int g = 0; g < 8; g++) put_plane(to, g, q[g]);
    } else if (f.bits == 1) {
        put_plane(to, 0, bit_plane(q, 0));
    } else if (f.bits <= 3) {
        for (int j = 0; j < 2; j++) put_plane(to, j, pair_plane(q, 0, j, 2));
        if (f.bits == 3) put_plane(to, 2, bit_plane(q, 2));
    } else {
        for (int j = 0; j < 4; j++) {
            put_plane(to, j, (q[j] & 0x0f0f0f0fu) | (q[j + 4] & 0x0f0f0f0fu) << 4);
        }
        if (f.bits == 5) put_plane(to, 4, bit_plane(q, 4));
        for (int j = 0; j < 2 && f.bits == 6; j++) {
            put_plane(to, 4 + j, pair_plane(q, 4, 4 * j, 1));
        }
    }
}

/* Packs row r of one column. block: as GGUF stores it. */
V_INLINE void pack_block(const ox_format f, const uint8_t *block, uint32_t r, uint8_t *to) {
    const uint32_t d_bytes = format_d_bytes(f);
    __builtin_memcpy(to + d_bytes * r, block + f.d_at, d_bytes);
    to += d_bytes * PANEL;
    if (format_has_min(f)) {
        __builtin_memcpy(to + 2 * r, block + f.d_at + 2, 2);
        to += 2 * PANEL;
    }
    for (int i = 0; i < f.n_sub; i++) to[PANEL * i + r] = block[f.sub_at + i];
    to += PANEL * f.n_sub;
    if (format_is_expanded(f)) {
        ox_pack_expanded_row(f.number, block, r, to);
        return;
    }
    for (uint32_t sub = 0; sub < format_sub_blocks(f); sub++, to += format_tile_bytes(f)) {
        uint32_t q[8];
        V_UNROLL
        for (uint32_t g = 0; g < 8; g++) q[g] = read_group(f, block, sub, g);
        write_tile_row(f, q, to + 4 * r);
    }
}

V_INLINE void pack_rows(const ox_format f, const uint8_t *rows, uint64_t row_bytes, uint32_t n_rows,
                        uint32_t n_columns, uint8_t *panel) {
    for (uint32_t c = 0; c < n_columns; c++) {
        for (uint32_t r = 0; r < n_rows; r++) {
            pack_block(f, rows + r * row_bytes + (size_t)c * f.block_bytes, r, panel);
        }
        panel += format_column_bytes(f);
    }
}

/* A loop of its own for whole panels is up to four times as fast. */
#define X(NAME, ...)                                                                               \
    NOINLINE static void pack_##NAME(const uint8_t *rows, uint64_t row_bytes, uint32_t n_rows,     \
                                     uint32_t n_columns, uint8_t *panel) {                         \
        if (n_rows == PANEL) {                                                                     \
            pack_rows(FORMAT_##NAME, rows, row_bytes, PANEL, n_columns, panel);                    \
        } else {                                                                                   \
            pack_rows(FORMAT_##NAME, rows, row_bytes, n_rows, n_columns, panel);                   \
        }                                                                                          \
    }
OX_EACH_FORMAT(X)
#undef X

void ox_pack_rows(const ox_format *format, const uint8_t *rows, uint64_t row_bytes, uint32_t n_rows,
                  uint32_t n_columns, uint8_t *panel) {
    if (n_rows < PANEL) {
        __builtin_memset(panel, 0, (size_t)n_columns * format_column_bytes(*format));
    }
    switch (format->number) {
#define X(NAME, ...)                                                                               \
    case OX_##NAME:                                                                                \
        pack_##NAME(rows, row_bytes, n_rows, n_columns, panel);                                    \
        break;
        OX_EACH_FORMAT(X)
#undef X
    }
}

uint64_t ox_pack_scratch_bytes(const ox_tensor *tensor) {
    const ox_format *format = ox_find_format(tensor->format);
    return format ? PANEL * format_row_bytes(*format, tensor->n_in) : 0;
}

int32_t ox_pack(const ox_tensor *tensor, uint32_t first_panel, uint32_t n_panels, uint8_t *scratch,
                uint64_t scratch_bytes) {
    const ox_format *format = ox_find_format(tensor->format);
    if (!ox_check_weight(tensor)) return OX_BAD_MODEL;
    if (!format) return OX_OK; /* stays row-major */
    const uint64_t row_bytes = format_row_bytes(*format, tensor->n_in);
    const uint64_t panel_bytes = PANEL * row_bytes;
    if (tensor->packed || (uint64_t)first_panel + n_panels > tensor->n_out / PANEL) {
        return OX_BAD_MODEL;
    }
    if (scratch_bytes < panel_bytes) return OX_BAD_SCRATCH;
    uint8_t *panel = (uint8_t *)(uintptr_t)tensor->data + first_panel * panel_bytes;
    for (uint32_t i = 0; i < n_panels; i++, panel += panel_bytes) {
        __builtin_memcpy(scratch, panel, (size_t)panel_bytes);
        ox_pack_rows(format, scratch, row_bytes, PANEL, tensor->n_in / format->block, panel);
    }
    return OX_OK;
}
