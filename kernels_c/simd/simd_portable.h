/* Plain C, for processors without a file of their own: included by simd.h only. */

enum { VF = 4 };
typedef struct vf32 {
    float lane[4];
} vf32;

#define V_EACH(expression)                                                                         \
    vf32 r;                                                                                        \
    for (int i = 0; i < VF; i++) r.lane[i] = (expression);                                         \
    return r

V_INLINE vf32 v_splat(float x) { V_EACH(x); }
V_INLINE vf32 v_zero(void) { return v_splat(0.0f); }
V_INLINE vf32 v_load(const float *p) {
    vf32 r;
    __builtin_memcpy(&r, p, sizeof r);
    return r;
}
V_INLINE void v_store(float *p, vf32 a) { __builtin_memcpy(p, &a, sizeof a); }
V_INLINE vf32 v_load_part(const float *p, uint32_t n) {
    vf32 r = v_zero();
    __builtin_memcpy(&r, p, n * sizeof(float));
    return r;
}
V_INLINE void v_store_part(float *p, uint32_t n, vf32 a) {
    __builtin_memcpy(p, &a, n * sizeof(float));
}
V_INLINE vf32 v_add(vf32 a, vf32 b) { V_EACH(a.lane[i] + b.lane[i]); }
V_INLINE vf32 v_sub(vf32 a, vf32 b) { V_EACH(a.lane[i] - b.lane[i]); }
V_INLINE vf32 v_mul(vf32 a, vf32 b) { V_EACH(a.lane[i] * b.lane[i]); }
V_INLINE vf32 v_div(vf32 a, vf32 b) { V_EACH(a.lane[i] / b.lane[i]); }
V_INLINE vf32 v_fma(vf32 a, vf32 b, vf32 c) { V_EACH(a.lane[i] * b.lane[i] + c.lane[i]); }
V_INLINE vf32 v_max(vf32 a, vf32 b) { V_EACH(a.lane[i] < b.lane[i] ? b.lane[i] : a.lane[i]); }
V_INLINE vf32 v_min(vf32 a, vf32 b) { V_EACH(b.lane[i] < a.lane[i] ? b.lane[i] : a.lane[i]); }
V_INLINE vf32 v_sqrt(vf32 a) { V_EACH(__builtin_sqrtf(a.lane[i])); }
V_INLINE vf32 v_abs(vf32 a) { V_EACH(v_float_of_bits(v_bits_of_float(a.lane[i]) & 0x7fffffffu)); }
V_INLINE float v_hsum(vf32 a) { return (a.lane[0] + a.lane[2]) + (a.lane[1] + a.lane[3]); }
V_INLINE float v_hmax(vf32 a) {
    float largest = a.lane[0];
    for (int i = 1; i < VF; i++) largest = largest < a.lane[i] ? a.lane[i] : largest;
    return largest;
}
V_INLINE vf32 v_load_f16(const void *p) {
    V_EACH(v_f16_to_f32(v_load_u16((const uint8_t *)p + 2 * i)));
}
V_INLINE void v_store_f16(void *p, vf32 a) {
    for (int i = 0; i < VF; i++) {
        const uint16_t half = v_f32_to_f16(a.lane[i]);
        __builtin_memcpy((uint8_t *)p + 2 * i, &half, 2);
    }
}
V_INLINE vf32 v_load_bf16(const void *p) {
    V_EACH(v_float_of_bits((uint32_t)v_load_u16((const uint8_t *)p + 2 * i) << 16));
}
V_INLINE vf32 v_pow2_biased(vf32 t) {
    V_EACH(v_float_of_bits((v_bits_of_float(t.lane[i]) << 23) + 0x3f800000u));
}
#undef V_EACH

/* Small-integer dot products: see simd.h. */
enum { V_TILE_TOKENS = 4, V_TILE_VECTORS = 2 };
#define V_I16_DEPTH(bits) 8
typedef int8_t act_t;
typedef struct vu8 {
    uint32_t row[4]; /* four bytes each */
} vu8;
typedef struct vw {
    int8_t byte[16];
} vw;
typedef struct va {
    int8_t byte[4];
} va;
typedef struct vacc {
    int32_t row[4];
} vacc;

#define V_EACH_ROW(type, expression)                                                               \
    type r;                                                                                        \
    for (int i = 0; i < 4; i++) r.row[i] = (expression);                                           \
    return r

V_INLINE vu8 vb_load(const void *p) { V_EACH_ROW(vu8, v_load_u32((const uint8_t *)p + 4 * i)); }
V_INLINE void vb_store(void *p, vu8 a) { __builtin_memcpy(p, &a, 16); }
V_INLINE vu8 vb_splat(uint8_t x) { V_EACH_ROW(vu8, x * 0x01010101u); }
V_INLINE vu8 vb_and(vu8 a, vu8 b) { V_EACH_ROW(vu8, a.row[i] & b.row[i]); }
V_INLINE vu8 vb_or(vu8 a, vu8 b) { V_EACH_ROW(vu8, a.row[i] | b.row[i]); }
V_INLINE vu8 vb_shl(vu8 a, int n) { V_EACH_ROW(vu8, a.row[i] << n); }
V_INLINE vu8 vb_shr(vu8 a, int n) { V_EACH_ROW(vu8, a.row[i] >> n); }
V_INLINE vu8 vb_lookup16(vu8 index, const uint8_t *table) {
    uint8_t bytes[16];
    vb_store(bytes, index);
    for (int i = 0; i < 16; i++) bytes[i] = table[bytes[i] & 15];
    return vb_load(bytes);
}
#define V_EACH_BYTE(expression)                                                                    \
    uint8_t x[16], y[16];                                                                          \
    vb_store(x, a);                                                                                \
    vb_store(y, b);                                                                                \
    for (int i = 0; i < 16; i++) x[i] = (uint8_t)(expression);                                     \
    return vb_load(x)

V_INLINE vu8 vb_add(vu8 a, vu8 b) { V_EACH_BYTE(x[i] + y[i]); }
V_INLINE vu8 vb_above(vu8 a, vu8 b) { V_EACH_BYTE(x[i] > y[i]); }
V_INLINE vu8 vb_gather(const uint32_t *table, const uint16_t *index) {
    V_EACH_ROW(vu8, table[index[i]]);
}
V_INLINE vw vw_load(const void *p) {
    vw r;
    __builtin_memcpy(&r, p, 16);
    return r;
}
V_INLINE void vw_store(void *p, vw a) { __builtin_memcpy(p, &a, 16); }
V_INLINE int32_t v_signed_offset(void) { return 0; }
V_INLINE vw vw_unsigned(vu8 a) { return vw_load(&a); }
V_INLINE vw vw_signed(vu8 a) { return vw_load(&a); }
V_INLINE va va_load(const act_t *p) {
    va r;
    __builtin_memcpy(&r, p, 4);
    return r;
}
V_INLINE vacc vacc_init(int32_t x) { V_EACH_ROW(vacc, x); }
V_INLINE vacc v_dot_signed(vacc acc, vw w, va a) {
    V_EACH_ROW(vacc, acc.row[i] + w.byte[4 * i] * a.byte[0] + w.byte[4 * i + 1] * a.byte[1] +
                         w.byte[4 * i + 2] * a.byte[2] + w.byte[4 * i + 3] * a.byte[3]);
}
V_INLINE vacc v_dot_unsigned(vacc acc, vw w, va a) { return v_dot_signed(acc, w, a); }
V_INLINE vacc vacc_widen(vacc acc) { return acc; }
V_INLINE vf32 vacc_to_f32(vacc acc) {
    vf32 r;
    for (int i = 0; i < 4; i++) r.lane[i] = (float)acc.row[i];
    return r;
}
V_INLINE vf32 v_load_u8(const uint8_t *p) {
    vf32 r;
    for (int i = 0; i < 4; i++) r.lane[i] = (float)p[i];
    return r;
}
V_INLINE vf32 v_load_i8(const uint8_t *p) {
    vf32 r;
    for (int i = 0; i < 4; i++) r.lane[i] = (float)(int8_t)p[i];
    return r;
}
V_INLINE void v_load_f16_panel(const uint8_t *p, vf32 *out) {
    for (int v = 0; v < 4; v++) out[v] = v_load_f16(p + 8 * v);
}
#undef V_EACH_BYTE
#undef V_EACH_ROW

#define V_RESCALES_F16
V_INLINE void v_load_f16_panel_rescaled(const uint8_t *p, vf32 *out) {
    for (int i = 0; i < 16; i++) {
        const uint32_t half = v_load_u16(p + 2 * i);
        out[i / VF].lane[i % VF] = v_float_of_bits((half & 0x8000) << 16 | (half & 0x7fff) << 13);
    }
}
