/* Arm NEON, 64-bit: included by simd.h only. */
#include <arm_neon.h>

enum { VF = 4 };
typedef float32x4_t vf32;

V_INLINE vf32 v_zero(void) { return vdupq_n_f32(0.0f); }
V_INLINE vf32 v_splat(float x) { return vdupq_n_f32(x); }
V_INLINE vf32 v_load(const float *p) { return vld1q_f32(p); }
V_INLINE void v_store(float *p, vf32 a) { vst1q_f32(p, a); }
V_INLINE vf32 v_load_part(const float *p, uint32_t n) {
    float lanes[4] = {0};
    for (uint32_t i = 0; i < n; i++) lanes[i] = p[i];
    return vld1q_f32(lanes);
}
V_INLINE void v_store_part(float *p, uint32_t n, vf32 a) {
    float lanes[4];
    vst1q_f32(lanes, a);
    for (uint32_t i = 0; i < n; i++) p[i] = lanes[i];
}
V_INLINE vf32 v_add(vf32 a, vf32 b) { return vaddq_f32(a, b); }
V_INLINE vf32 v_sub(vf32 a, vf32 b) { return vsubq_f32(a, b); }
V_INLINE vf32 v_mul(vf32 a, vf32 b) { return vmulq_f32(a, b); }
V_INLINE vf32 v_div(vf32 a, vf32 b) { return vdivq_f32(a, b); }
V_INLINE vf32 v_fma(vf32 a, vf32 b, vf32 c) { return vfmaq_f32(c, a, b); }
V_INLINE vf32 v_max(vf32 a, vf32 b) { return vbslq_f32(vcltq_f32(a, b), b, a); }
V_INLINE vf32 v_min(vf32 a, vf32 b) { return vbslq_f32(vcltq_f32(b, a), b, a); }
V_INLINE vf32 v_sqrt(vf32 a) { return vsqrtq_f32(a); }
V_INLINE vf32 v_abs(vf32 a) { return vabsq_f32(a); }
V_INLINE float v_hsum(vf32 a) { return vaddvq_f32(a); }
V_INLINE float v_hmax(vf32 a) { return vmaxvq_f32(a); }
V_INLINE vf32 v_load_f16(const void *p) {
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8((const uint8_t *)p)));
}
V_INLINE void v_store_f16(void *p, vf32 a) {
    vst1_u8((uint8_t *)p, vreinterpret_u8_f16(vcvt_f16_f32(a)));
}
V_INLINE vf32 v_load_bf16(const void *p) {
    const uint16x4_t narrow = vreinterpret_u16_u8(vld1_u8((const uint8_t *)p));
    return vreinterpretq_f32_u32(vshll_n_u16(narrow, 16));
}
V_INLINE vf32 v_pow2_biased(vf32 t) {
    const uint32x4_t exponent = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
    return vreinterpretq_f32_u32(vaddq_u32(exponent, vdupq_n_u32(0x3f800000)));
}

/* Small-integer dot products: see simd.h. sdot takes signed bytes on both sides. */
enum { V_TILE_TOKENS = 4, V_TILE_VECTORS = 2 };
#define V_I16_DEPTH(bits) 8
typedef int8_t act_t;
typedef uint8x16_t vu8;
typedef int8x16_t vw, va;
typedef int32x4_t vacc;

V_INLINE vu8 vb_load(const void *p) { return vld1q_u8((const uint8_t *)p); }
V_INLINE void vb_store(void *p, vu8 a) { vst1q_u8((uint8_t *)p, a); }
V_INLINE vu8 vb_splat(uint8_t x) { return vdupq_n_u8(x); }
V_INLINE vu8 vb_and(vu8 a, vu8 b) { return vandq_u8(a, b); }
V_INLINE vu8 vb_or(vu8 a, vu8 b) { return vorrq_u8(a, b); }
V_INLINE vu8 vb_add(vu8 a, vu8 b) { return vaddq_u8(a, b); }
V_INLINE vu8 vb_above(vu8 a, vu8 b) { return vminq_u8(vqsubq_u8(a, b), vdupq_n_u8(1)); }
V_INLINE vu8 vb_gather(const uint32_t *table, const uint16_t *index) {
    uint32x4_t x = vld1q_dup_u32(table + index[0]);
    x = vld1q_lane_u32(table + index[1], x, 1);
    x = vld1q_lane_u32(table + index[2], x, 2);
    return vreinterpretq_u8_u32(vld1q_lane_u32(table + index[3], x, 3));
}
V_INLINE vu8 vb_shl(vu8 a, int n) { return vshlq_u8(a, vdupq_n_s8((int8_t)n)); }
V_INLINE vu8 vb_shr(vu8 a, int n) { return vshlq_u8(a, vdupq_n_s8((int8_t)-n)); }
V_INLINE vu8 vb_lookup16(vu8 index, const uint8_t *table) {
    return vqtbl1q_u8(vld1q_u8(table), index);
}
V_INLINE int32_t v_signed_offset(void) { return 0; }
V_INLINE vw vw_unsigned(vu8 a) { return vreinterpretq_s8_u8(a); }
V_INLINE vw vw_signed(vu8 a) { return vreinterpretq_s8_u8(a); }
V_INLINE vw vw_load(const void *p) { return vld1q_s8((const int8_t *)p); }
V_INLINE void vw_store(void *p, vw a) { vst1q_s8((int8_t *)p, a); }
V_INLINE va va_load(const act_t *p) { return vreinterpretq_s8_u32(vdupq_n_u32(v_load_u32(p))); }
V_INLINE vacc vacc_init(int32_t x) { return vdupq_n_s32(x); }
V_INLINE vacc v_dot_unsigned(vacc acc, vw w, va a) { return vdotq_s32(acc, w, a); }
V_INLINE vacc v_dot_signed(vacc acc, vw w, va a) { return vdotq_s32(acc, w, a); }
V_INLINE vacc vacc_widen(vacc acc) { return acc; }
V_INLINE vf32 vacc_to_f32(vacc acc) { return vcvtq_f32_s32(acc); }
V_INLINE vf32 v_load_u8(const uint8_t *p) {
    const uint8x8_t narrow = vreinterpret_u8_u32(vdup_n_u32(v_load_u32(p)));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(vmovl_u8(narrow))));
}
V_INLINE vf32 v_load_i8(const uint8_t *p) {
    const int8x8_t narrow = vreinterpret_s8_u32(vdup_n_u32(v_load_u32(p)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(narrow))));
}
V_INLINE void v_load_f16_panel(const uint8_t *p, vf32 *out) {
    for (int v = 0; v < 4; v++) out[v] = v_load_f16(p + 8 * v);
}
