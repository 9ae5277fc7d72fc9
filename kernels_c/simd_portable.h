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
V_INLINE vf32 v_load(const float *p) { V_EACH(p[i]); }
V_INLINE void v_store(float *p, vf32 a) {
    for (int i = 0; i < VF; i++) p[i] = a.lane[i];
}
V_INLINE vf32 v_load_part(const float *p, uint32_t n) { V_EACH(i < (int)n ? p[i] : 0.0f); }
V_INLINE void v_store_part(float *p, uint32_t n, vf32 a) {
    for (uint32_t i = 0; i < n; i++) p[i] = a.lane[i];
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
