/* What a tile and the scales of a column hold: see formats.h for the layout. */
#ifndef OX_UNPACK_H
#define OX_UNPACK_H

#include "quant/formats.h"

static const uint8_t IQ4_VALUES[16] = {129, 152, 173, 191, 207, 221, 234, 246,
                                       1,   13,  25,  38,  53,  69,  89,  113}; /* int8 */

/* 12 + 2 x, for the E2M1 floats 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives */
static const uint8_t FP4_VALUES[16] = {12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0};

/* The q of four consecutive weights, a byte each, of the rows of vector v. */
V_INLINE vu8 tile_group(const ox_format f, const uint8_t *tile, int group, int v) {
    const uint8_t *t = tile + v * (GROUP_BYTES / VECTORS);
    const vu8 nibble = vb_splat(0x0f);
    if (f.bits == 8) return vb_load(t + GROUP_BYTES * group);
    if (f.bits == 1) { /* 0 or 2; -1 or 1 after the offset is subtracted */
        const vu8 plane = vb_load(t);
        return vb_and(group >= 1 ? vb_shr(plane, group - 1) : vb_shl(plane, 1), vb_splat(0x02));
    }
    if (f.bits <= 3) {
        const int shift = 2 * (group >> 1);
        const vu8 pair = vb_load(t + GROUP_BYTES * (group & 1));
        const vu8 low = vb_and(vb_shr(pair, shift), vb_splat(0x03));
        if (f.bits == 2) return low;
        const vu8 plane = vb_load(t + 2 * GROUP_BYTES);
        const vu8 high = group >= 2 ? vb_shr(plane, group - 2) : vb_shl(plane, 2 - group);
        return vb_or(low, vb_and(high, vb_splat(0x04)));
    }
    const vu8 pair = vb_load(t + GROUP_BYTES * (group & 3));
    const vu8 low = vb_and(group >= 4 ? vb_shr(pair, 4) : pair, nibble);
    if (f.coding == CODING_IQ4) return vb_lookup16(low, IQ4_VALUES);
    if (f.coding == CODING_FP4) return vb_lookup16(low, FP4_VALUES);
    if (f.bits == 4) return low;
    if (f.bits == 5) {
        const vu8 plane = vb_load(t + 4 * GROUP_BYTES);
        const vu8 high = group >= 4 ? vb_shr(plane, group - 4) : vb_shl(plane, 4 - group);
        return vb_or(low, vb_and(high, vb_splat(0x10)));
    }
    const int position = 2 * (group & 3);
    const vu8 plane = vb_load(t + (4 + (group >> 2)) * GROUP_BYTES);
    const vu8 high = position > 4 ? vb_shr(plane, position - 4) : vb_shl(plane, 4 - position);
    return vb_or(low, vb_and(high, vb_splat(0x30)));
}

/* The scales of a column of a panel: d[i] and m[i] for the i-th 32 or 16 weights. */
typedef struct ox_panel_scales {
    float d[16][PANEL];
    float m[16][PANEL]; /* added to d * q */
} ox_panel_scales;

/* 6-bit sub-scales and sub-minima of Q4_K and Q5_K, as in ggml's get_scale_min_k4. */
V_INLINE void unpack_k_scales(const uint8_t (*q)[PANEL], uint8_t (*sc)[PANEL],
                              uint8_t (*mn)[PANEL]) {
    for (int j = 0; j < 4; j++) {
        for (int r = 0; r < PANEL; r++) {
            sc[j][r] = q[j][r] & 63;
            mn[j][r] = q[j + 4][r] & 63;
            sc[j + 4][r] = (uint8_t)((q[j + 8][r] & 15) | ((q[j][r] >> 6) << 4));
            mn[j + 4][r] = (uint8_t)((q[j + 8][r] >> 4) | ((q[j + 4][r] >> 6) << 4));
        }
    }
}

V_INLINE void unpack_q3_k_scales(const uint8_t (*q)[PANEL], uint8_t (*sc)[PANEL]) {
    for (int j = 0; j < 4; j++) {
        for (int r = 0; r < PANEL; r++) {
            const int a = q[j][r], b = q[j + 4][r], high = q[j + 8][r];
            sc[j][r] = (uint8_t)(((a & 15) | (high & 3) << 4) - 32);
            sc[j + 4][r] = (uint8_t)(((b & 15) | (high >> 2 & 3) << 4) - 32);
            sc[j + 8][r] = (uint8_t)((a >> 4 | (high >> 4 & 3) << 4) - 32);
            sc[j + 12][r] = (uint8_t)((b >> 4 | (high >> 6) << 4) - 32);
        }
    }
}

/* bytes: scales_h (2), scales_l (4) */
V_INLINE void unpack_iq4_xs_scales(const uint8_t (*q)[PANEL], uint8_t (*sc)[PANEL]) {
    for (int j = 0; j < 2; j++) {
        for (int r = 0; r < PANEL; r++) {
            const int high = q[j][r], a = q[2 + 2 * j][r], b = q[3 + 2 * j][r];
            sc[4 * j][r] = (uint8_t)(((a & 15) | (high & 3) << 4) - 32);
            sc[4 * j + 1][r] = (uint8_t)((a >> 4 | (high >> 2 & 3) << 4) - 32);
            sc[4 * j + 2][r] = (uint8_t)(((b & 15) | (high >> 4 & 3) << 4) - 32);
            sc[4 * j + 3][r] = (uint8_t)((b >> 4 | (high >> 6) << 4) - 32);
        }
    }
}

/* 2^(exponent - 128): half the scale, because the values of MXFP4 are doubled. */
V_INLINE void load_e8m0_panel(const uint8_t *exponents, vf32 *d) {
    uint32_t bits[PANEL];
    for (int r = 0; r < PANEL; r++) {
        const uint32_t e = exponents[r];
        bits[r] = e < 2 ? (e + 1) << 21 : (e - 1) << 23; /* the first two are subnormal */
    }
    for (int v = 0; v < VECTORS; v++) d[v] = v_load((const float *)(const void *)(bits + v * VF));
}

/* A float of 4 exponent and 3 mantissa bits. NaN, 0x7f, is read as 0, and the highest bit has no
 * meaning. The multiplication changes the exponent's bias from 7 to 127, and halves the value,
 * because those of NVFP4 are doubled. */
V_INLINE void load_e4m3_panel(const uint8_t *codes, vf32 *d) {
    float values[PANEL];
    for (int r = 0; r < PANEL; r++) {
        const uint32_t bits = codes[r] == 0x7f ? 0 : (uint32_t)(codes[r] & 0x7f) << 20;
        values[r] = v_float_of_bits(bits) * 0x1p119f;
    }
    for (int v = 0; v < VECTORS; v++) d[v] = v_load(values + v * VF);
}

/* d of IQ1_M, whose nibbles are the highest ones of four words. */
V_INLINE void load_iq1_m_panel(const uint8_t (*bytes)[PANEL], vf32 *d) {
    uint16_t halves[PANEL];
    for (int r = 0; r < PANEL; r++) {
        halves[r] = (uint16_t)(bytes[1][r] >> 4 | (bytes[3][r] >> 4) << 4 |
                               (bytes[5][r] >> 4) << 8 | (bytes[7][r] >> 4) << 12);
    }
    v_load_f16_panel((const uint8_t *)halves, d);
}

/* d of the 16 rows of a column. */
V_INLINE void load_d(const ox_format f, const uint8_t *column, vf32 *d) {
    if (f.scales == SCALES_F32) {
        for (int v = 0; v < VECTORS; v++)
            d[v] = v_load((const float *)(const void *)column + v * VF);
    } else if (f.scales == SCALES_E8M0) {
        load_e8m0_panel(column, d);
    } else if (f.scales == SCALES_IQ1_M) {
        load_iq1_m_panel((const uint8_t (*)[PANEL])column, d);
    } else {
        v_load_f16_panel(column, d);
    }
    if (f.scales < SCALES_ODD_4) return;
    const float unit = f.scales == SCALES_ODD_4 ? 0.25f : 0.125f;
    for (int v = 0; v < VECTORS; v++) d[v] = v_mul(d[v], v_splat(unit));
}

/* The sub-scales of a column, [i] for the i-th 32 or 16 weights, and in the same way sub-minima.
 * bytes: as they are stored. Returns the sub-scales, which may need no unpacking into sc. */
V_INLINE const uint8_t (*unpack_sub_scales(const ox_format f, const uint8_t (*bytes)[PANEL],
                                           uint8_t (*sc)[PANEL], uint8_t (*mn)[PANEL])) [PANEL] {
    if (f.scales == SCALES_Q6_K) return bytes;
    if (f.scales == SCALES_K) unpack_k_scales(bytes, sc, mn);
    if (f.scales == SCALES_Q3_K) unpack_q3_k_scales(bytes, sc);
    if (f.scales == SCALES_IQ4_XS) unpack_iq4_xs_scales(bytes, sc);
    if (f.scales == SCALES_Q2_K) {
        for (int j = 0; j < 16; j++) {
            for (int r = 0; r < PANEL; r++) {
                sc[j][r] = bytes[j][r] & 15;
                mn[j][r] = bytes[j][r] >> 4;
            }
        }
    }
    return (const uint8_t (*)[PANEL])sc;
}

V_INLINE void panel_scales(const ox_format f, const uint8_t *column, ox_panel_scales *out) {
    vf32 d[VECTORS], m[VECTORS];
    if (f.scales == SCALES_E4M3) {
        for (int i = 0; i < 4; i++) {
            load_e4m3_panel(column + PANEL * i, d);
            for (int v = 0; v < VECTORS; v++) v_store(out->d[i] + v * VF, d[v]);
        }
        return;
    }
    load_d(f, column, d);
    v_load_f16_panel(column + (format_has_min(f) ? 2 * PANEL : 0), m);
    const uint8_t (*bytes)[PANEL] =
        (const uint8_t (*)[PANEL])(column + (format_has_min(f) ? 4 : 2) * PANEL);
    uint8_t room[16][PANEL], mn[16][PANEL];
    const uint8_t (*sc)[PANEL] = unpack_sub_scales(f, bytes, room, mn);
    const int n = f.block / 32 * f.n_scales;
    const int is_signed =
        f.scales == SCALES_Q6_K || f.scales == SCALES_Q3_K || f.scales == SCALES_IQ4_XS;
    for (int i = 0; i < n; i++) {
        for (int v = 0; v < VECTORS; v++) {
            vf32 di = d[v], mi = m[v];
            if (f.scales == SCALES_K || f.scales == SCALES_Q2_K) {
                di = v_mul(di, v_load_u8(sc[i] + v * VF));
                mi = v_sub(v_zero(), v_mul(mi, v_load_u8(mn[i] + v * VF)));
            } else if (is_signed) {
                di = v_mul(di, v_load_i8(sc[i] + v * VF));
            }
            v_store(out->d[i] + v * VF, di);
            if (format_has_min(f)) v_store(out->m[i] + v * VF, mi);
        }
    }
}

#endif
