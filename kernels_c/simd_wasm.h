/* WebAssembly simd128, with relaxed SIMD where the target has it: included by simd.h only. */
#include <wasm_simd128.h>

enum { VF = 4 };
typedef v128_t vf32;

V_INLINE vf32 v_zero(void) { return wasm_f32x4_const_splat(0.0f); }
V_INLINE vf32 v_splat(float x) { return wasm_f32x4_splat(x); }
V_INLINE vf32 v_load(const float *p) { return wasm_v128_load(p); }
V_INLINE void v_store(float *p, vf32 a) { wasm_v128_store(p, a); }
V_INLINE vf32 v_load_part(const float *p, uint32_t n) {
    float lanes[4] = {0};
    for (uint32_t i = 0; i < n; i++) lanes[i] = p[i];
    return wasm_v128_load(lanes);
}
V_INLINE void v_store_part(float *p, uint32_t n, vf32 a) {
    float lanes[4];
    wasm_v128_store(lanes, a);
    for (uint32_t i = 0; i < n; i++) p[i] = lanes[i];
}
V_INLINE vf32 v_add(vf32 a, vf32 b) { return wasm_f32x4_add(a, b); }
V_INLINE vf32 v_sub(vf32 a, vf32 b) { return wasm_f32x4_sub(a, b); }
V_INLINE vf32 v_mul(vf32 a, vf32 b) { return wasm_f32x4_mul(a, b); }
V_INLINE vf32 v_div(vf32 a, vf32 b) { return wasm_f32x4_div(a, b); }
V_INLINE vf32 v_fma(vf32 a, vf32 b, vf32 c) {
#ifdef __wasm_relaxed_simd__
    return wasm_f32x4_relaxed_madd(a, b, c);
#else
    return wasm_f32x4_add(wasm_f32x4_mul(a, b), c);
#endif
}
V_INLINE vf32 v_max(vf32 a, vf32 b) { return wasm_f32x4_pmax(a, b); }
V_INLINE vf32 v_min(vf32 a, vf32 b) { return wasm_f32x4_pmin(a, b); }
V_INLINE vf32 v_sqrt(vf32 a) { return wasm_f32x4_sqrt(a); }
V_INLINE vf32 v_abs(vf32 a) { return wasm_f32x4_abs(a); }
V_INLINE float v_hsum(vf32 a) {
    a = wasm_f32x4_add(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    return wasm_f32x4_extract_lane(a, 0) + wasm_f32x4_extract_lane(a, 1);
}
V_INLINE float v_hmax(vf32 a) {
    a = wasm_f32x4_pmax(a, wasm_i32x4_shuffle(a, a, 2, 3, 0, 1));
    a = wasm_f32x4_pmax(a, wasm_i32x4_shuffle(a, a, 1, 0, 3, 2));
    return wasm_f32x4_extract_lane(a, 0);
}

/* Four float16 values: the exponent is moved by an addition, so that float16 subnormals never
 * become float32 subnormals, which are slow; they get an exponent and lose it by a subtraction. */
V_INLINE vf32 v_load_f16(const void *p) {
    const v128_t half = wasm_u32x4_load16x4(p);
    const v128_t magnitude = wasm_v128_and(half, wasm_i32x4_const_splat(0x7fff));
    const v128_t sign = wasm_i32x4_shl(wasm_v128_xor(half, magnitude), 16);
    const v128_t small = wasm_i32x4_lt(magnitude, wasm_i32x4_const_splat(0x400));
    const v128_t large = wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat(0x7bff));
    v128_t bits = wasm_i32x4_add(wasm_i32x4_shl(magnitude, 13), wasm_i32x4_const_splat(112 << 23));
    bits = wasm_i32x4_add(bits, wasm_v128_and(small, wasm_i32x4_const_splat(1 << 23)));
    bits = wasm_f32x4_sub(bits, wasm_v128_and(small, wasm_f32x4_const_splat(0x1p-14f)));
    bits = wasm_v128_or(bits, wasm_v128_and(large, wasm_i32x4_const_splat(0x7f800000)));
    return wasm_v128_or(bits, sign);
}

/* See v_f32_to_f16: the same three cases, selected by masks. */
V_INLINE void v_store_f16(void *p, vf32 a) {
    const v128_t magnitude = wasm_v128_and(a, wasm_i32x4_const_splat(0x7fffffff));
    const v128_t sign = wasm_u32x4_shr(wasm_v128_xor(a, magnitude), 16);
    const v128_t odd = wasm_v128_and(wasm_u32x4_shr(magnitude, 13), wasm_i32x4_const_splat(1));
    const v128_t normal = wasm_u32x4_shr(
        wasm_i32x4_add(wasm_i32x4_add(magnitude, odd), wasm_i32x4_const_splat(0xfff - (112 << 23))),
        13);
    const v128_t subnormal = wasm_i32x4_sub(wasm_f32x4_add(magnitude, wasm_f32x4_const_splat(0.5f)),
                                            wasm_i32x4_const_splat(0x3f000000));
    const v128_t is_nan = wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat(0x7f800000));
    const v128_t infinite = wasm_v128_or(wasm_i32x4_const_splat(0x7c00),
                                         wasm_v128_and(is_nan, wasm_i32x4_const_splat(0x200)));
    v128_t half = wasm_v128_bitselect(subnormal, normal,
                                      wasm_i32x4_lt(magnitude, wasm_i32x4_const_splat(0x38800000)));
    half = wasm_v128_bitselect(infinite, half,
                               wasm_i32x4_gt(magnitude, wasm_i32x4_const_splat(0x477fffff)));
    half = wasm_v128_or(half, sign);
    wasm_v128_store64_lane(p, wasm_u16x8_narrow_i32x4(half, half), 0);
}
V_INLINE vf32 v_load_bf16(const void *p) { return wasm_i32x4_shl(wasm_u32x4_load16x4(p), 16); }
V_INLINE vf32 v_pow2_biased(vf32 t) {
    return wasm_i32x4_add(wasm_i32x4_shl(t, 23), wasm_i32x4_const_splat(0x3f800000));
}
