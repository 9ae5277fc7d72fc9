/* WebAssembly simd128, with relaxed SIMD where the target has it: included by simd.h only. */
#include <wasm_simd128.h>

enum { VF = 4 };
typedef v128_t vf32;

/* A constant as a local variable. V8 builds a constant where it is used, with three instructions,
 * and does so in every iteration of a loop. */
V_INLINE v128_t v_hoisted(v128_t constant) {
    __asm__("" : "+r"(constant));
    return constant;
}
V_INLINE v128_t v_hoisted_i32(int32_t x) { return v_hoisted(wasm_i32x4_splat(x)); }

V_INLINE vf32 v_zero(void) { return wasm_f32x4_const_splat(0.0f); }
V_INLINE vf32 v_splat(float x) {
    const vf32 all = wasm_f32x4_splat(x);
    return __builtin_constant_p(x) ? v_hoisted(all) : all;
}
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

/* Four float16 values. The exponent's bias is changed by an integer addition, so that float16
 * subnormals never become float32 subnormals, which are slow; instead they are given an exponent,
 * and a subtraction takes its value away again. */
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
    return wasm_i32x4_add(wasm_i32x4_shl(t, 23), v_hoisted_i32(0x3f800000));
}

/* Small-integer dot products: see simd.h. */
enum { V_TILE_TOKENS = 4, V_TILE_VECTORS = 2 };
typedef v128_t vu8;

V_INLINE vu8 vb_load(const void *p) { return wasm_v128_load(p); }
V_INLINE void vb_store(void *p, vu8 a) { wasm_v128_store(p, a); }
V_INLINE vu8 vb_splat(uint8_t x) {
    const vu8 all = wasm_u8x16_splat(x);
    return __builtin_constant_p(x) ? v_hoisted(all) : all;
}
V_INLINE vu8 vb_and(vu8 a, vu8 b) { return wasm_v128_and(a, b); }
V_INLINE vu8 vb_or(vu8 a, vu8 b) { return wasm_v128_or(a, b); }
V_INLINE vu8 vb_add(vu8 a, vu8 b) { return wasm_i8x16_add(a, b); }
V_INLINE vu8 vb_above(vu8 a, vu8 b) {
    return wasm_u8x16_min(wasm_u8x16_sub_sat(a, b), wasm_i8x16_const_splat(1));
}
/* If the compiler recognized a product, it would use one of 16-bit lanes: there is none of bytes.
 */
#define V_TRIPLES
V_INLINE vu8 vb_triple(vu8 a) {
    v128_t twice = wasm_i8x16_add(a, a);
    __asm__("" : "+r"(twice));
    return wasm_i8x16_add(a, twice);
}
/* index: in bytes */
#define V_GATHER_STEP 4u
V_INLINE vu8 vb_gather(const uint32_t *table, const uint16_t *index) {
    const uint8_t *at = (const uint8_t *)table;
    v128_t x[4];
    for (int i = 0; i < 4; i++) x[i] = wasm_v128_load32_zero(at + index[i]);
    return wasm_i64x2_shuffle(wasm_i32x4_shuffle(x[0], x[1], 0, 4, 1, 5),
                              wasm_i32x4_shuffle(x[2], x[3], 0, 4, 1, 5), 0, 2);
}
V_INLINE vu8 vb_shl(vu8 a, uint32_t n) { return wasm_i16x8_shl(a, n); }
V_INLINE vu8 vb_shr(vu8 a, uint32_t n) { return wasm_u16x8_shr(a, n); }
V_INLINE vu8 vb_lookup16(vu8 index, const uint8_t *table) {
#ifdef __wasm_relaxed_simd__ /* leaves it to the engine what an index above 15 gives, which saves  \
                                a check */
    return wasm_i8x16_relaxed_swizzle(wasm_v128_load(table), index);
#else
    return wasm_i8x16_swizzle(wasm_v128_load(table), index);
#endif
}

#ifdef __wasm_relaxed_simd__
typedef int8_t act_t;
typedef v128_t vw, va;
V_INLINE vw vw_unsigned(vu8 a) { return a; }
V_INLINE vw vw_load(const void *p) { return wasm_v128_load(p); }
V_INLINE void vw_store(void *p, vw a) { wasm_v128_store(p, a); }
V_INLINE va va_load(const act_t *p) { return wasm_v128_load32_splat(p); }
#define V_DOT_MAY_BE_WRONG
#endif

#ifdef OX_DOT_PAIRS
/* x86 without AVX-VNNI has no dot product of four bytes, only one of two, vpmaddubsw, of signed and
 * unsigned bytes. It is used here as in simd_avx2.h. */
#define V_I16_DEPTH(bits) V_I16_DEPTH_OF_PAIRS(bits)
typedef struct vacc {
    v128_t run, total;
} vacc;
V_INLINE vacc vacc_init(int32_t x) {
    return (vacc){wasm_i32x4_const_splat(0), wasm_i32x4_splat(x)};
}
V_INLINE vacc vacc_widen(vacc acc) {
    const v128_t wide = wasm_i32x4_dot_i16x8(acc.run, v_hoisted(wasm_i16x8_const_splat(1)));
    return (vacc){wasm_i32x4_const_splat(0), wasm_i32x4_add(acc.total, wide)};
}
V_INLINE vf32 vacc_to_f32(vacc acc) { return wasm_f32x4_convert_i32x4(acc.total); }

V_INLINE int32_t v_signed_offset(void) { return 0; }
V_INLINE int32_t v_relaxed_pair(uint8_t a, uint8_t b) {
    return wasm_i16x8_extract_lane(
        wasm_i16x8_relaxed_dot_i8x16_i7x16(wasm_u8x16_splat(a), wasm_u8x16_splat(b)), 0);
}
V_INLINE int32_t v_dot_is_exact(void) {
    return v_relaxed_pair(129, 127) == -2 * 127 * 127 && v_relaxed_pair(127, 128) == 2 * 127 * 128;
}

V_INLINE vw vw_signed(vu8 a) { return a; }
V_INLINE vacc v_dot_unsigned(vacc acc, vw w, va a) {
    acc.run = wasm_i16x8_add(acc.run, wasm_i16x8_relaxed_dot_i8x16_i7x16(a, w));
    return acc;
}
V_INLINE vacc v_dot_signed(vacc acc, vw w, va a) {
    const v128_t negative = wasm_i8x16_lt(w, wasm_i8x16_const_splat(0));
    const va signed_a = wasm_i8x16_sub(wasm_v128_xor(a, negative), negative);
    acc.run = wasm_i16x8_relaxed_dot_i8x16_i7x16(signed_a, wasm_i8x16_abs(w));
    return acc;
}
#else
#define V_I16_DEPTH(bits) 8
typedef v128_t vacc;
V_INLINE vacc vacc_init(int32_t x) { return wasm_i32x4_splat(x); }
V_INLINE vacc vacc_widen(vacc acc) { return acc; }
V_INLINE vf32 vacc_to_f32(vacc acc) { return wasm_f32x4_convert_i32x4(acc); }

#ifdef __wasm_relaxed_simd__
/* The relaxed dot product multiplies signed bytes by values of 0 .. 127. How it treats 128 .. 255
 * is left to the engine, and does not change while the engine runs. With sdot (Arm) these are
 * negative numbers; with vpdpbusd (x86 with AVX-VNNI) they are positive, and signed weights are
 * shifted by 128. */
V_INLINE int32_t v_relaxed_dot(uint8_t a, uint8_t b) {
    return wasm_i32x4_extract_lane(
        wasm_i32x4_relaxed_dot_i8x16_i7x16_add(wasm_u8x16_splat(a), wasm_u8x16_splat(b),
                                               wasm_i32x4_const_splat(0)),
        0);
}
V_INLINE int32_t v_signed_offset(void) { return v_relaxed_dot(127, 255) > 0 ? 128 : 0; }
V_INLINE int32_t v_dot_is_exact(void) {
    const int32_t top = v_relaxed_dot(127, 255);
    return v_relaxed_dot(255, 127) == -4 * 127 && (top == 4 * 127 * 255 || top == -4 * 127);
}

V_INLINE vw vw_signed(vu8 a) {
    return wasm_v128_xor(a, wasm_i8x16_splat((int8_t)v_signed_offset()));
}
V_INLINE vacc v_dot_unsigned(vacc acc, vw w, va a) {
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(a, w, acc);
}
#else
/* Without it, bytes become 16-bit lanes, even and odd bytes apart, which needs no shuffles. A pair
 * of 16-bit lanes then holds bytes (0, 2) or (1, 3) of a row's four. Activations match that: they
 * are stored as int16 in the order 0, 2, 1, 3. */
typedef int16_t act_t;
V_INLINE int32_t v_signed_offset(void) { return 0; }
#define V_REORDERS_ACTS
V_INLINE vf32 v_act_order(vf32 a) { return wasm_i32x4_shuffle(a, a, 0, 2, 1, 3); }
typedef struct vw {
    v128_t even, odd;
} vw, va;
V_INLINE vw vw_unsigned(vu8 a) {
    return (vw){wasm_v128_and(a, v_hoisted(wasm_i16x8_const_splat(0xff))), wasm_u16x8_shr(a, 8)};
}
V_INLINE vw vw_signed(vu8 a) {
    return (vw){wasm_i16x8_shr(wasm_i16x8_shl(a, 8), 8), wasm_i16x8_shr(a, 8)};
}
V_INLINE vw vw_load(const void *p) {
    return (vw){wasm_v128_load(p), wasm_v128_load((const uint8_t *)p + 16)};
}
V_INLINE void vw_store(void *p, vw a) {
    wasm_v128_store(p, a.even);
    wasm_v128_store((uint8_t *)p + 16, a.odd);
}
V_INLINE va va_load(const act_t *p) {
    return (va){wasm_v128_load32_splat(p), wasm_v128_load32_splat(p + 2)};
}
V_INLINE vacc v_dot_unsigned(vacc acc, vw w, va a) {
    acc = wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(w.even, a.even));
    return wasm_i32x4_add(acc, wasm_i32x4_dot_i16x8(w.odd, a.odd));
}
#endif
V_INLINE vacc v_dot_signed(vacc acc, vw w, va a) { return v_dot_unsigned(acc, w, a); }
#endif

#define V_OPAQUE
V_INLINE vf32 v_opaque(vf32 a) {
    __asm__ volatile("" : "+r"(a));
    return a;
}
V_INLINE vacc vacc_opaque(vacc acc, const int widened) {
#ifdef OX_DOT_PAIRS
    v128_t *sum = widened ? &acc.total : &acc.run;
#else
    v128_t *sum = &acc;
    (void)widened;
#endif
    __asm__ volatile("" : "+r"(*sum));
    return acc;
}

V_INLINE vf32 v_load_u8(const uint8_t *p) {
    const v128_t wide = wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p));
    return wasm_f32x4_convert_i32x4(wasm_u32x4_extend_low_u16x8(wide));
}
V_INLINE vf32 v_load_i8(const uint8_t *p) {
    const v128_t wide = wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p));
    return wasm_f32x4_convert_i32x4(wasm_i32x4_extend_low_i16x8(wide));
}

/* Four sign-extended float16 values times 2^-112. */
V_INLINE vf32 rescaled_f16(v128_t wide) {
    return wasm_v128_and(wasm_i32x4_shl(wide, 13), v_hoisted_i32((int32_t)0x8fffe000));
}

/* 1 if none of 16 float16 values is zero, subnormal, infinite or NaN. */
V_INLINE int are_f16_normal(const uint8_t *p) {
    /* the sign is shifted out, then the smallest normal value is subtracted: values that are not
     * normal become 0xf000 or more */
    const v128_t smallest = v_hoisted(wasm_u16x8_const_splat(0x800));
    v128_t max = wasm_i16x8_const_splat(0);
    V_UNROLL
    for (int i = 0; i < 16; i += 8) {
        const v128_t doubled = wasm_i16x8_shl(wasm_v128_load(p + 2 * i), 1);
        max = wasm_u16x8_max(max, wasm_i16x8_sub(doubled, smallest));
    }
    const v128_t rare = wasm_u16x8_ge(max, v_hoisted(wasm_u16x8_const_splat(0xf000)));
    return !wasm_v128_any_true(rare);
}
/* Values that are all normal only need another exponent bias. */
V_INLINE void load_f16_normal(const uint8_t *p, vf32 *out) {
    V_UNROLL
    for (int v = 0; v < 4; v += 2) {
        const v128_t halves = wasm_v128_load(p + 8 * v);
        const v128_t wide[2] = {wasm_i32x4_extend_low_i16x8(halves),
                                wasm_i32x4_extend_high_i16x8(halves)};
        V_UNROLL
        for (int i = 0; i < 2; i++) {
            out[v + i] = wasm_i32x4_add(rescaled_f16(wide[i]), v_hoisted_i32(112 << 23));
        }
    }
}
/* Of scales, few are not normal. */
V_INLINE void v_load_f16_panel(const uint8_t *p, vf32 *out) {
    if (are_f16_normal(p)) {
        load_f16_normal(p, out);
    } else {
        for (int v = 0; v < 4; v++) out[v] = v_load_f16(p + 8 * v);
    }
}

/* Sixteen float16 values times 2^-112, by shifting their bits into place. Each 16-bit half of a
 * float32 is computed for eight values at once. */
#define V_RESCALES_F16
#define V_F16_RESCALE 0x1p-112f
V_INLINE vf32 v_load_f16_rescaled(const void *p) { return rescaled_f16(wasm_i32x4_load16x4(p)); }
V_INLINE void v_load_f16_panel_rescaled(const uint8_t *p, vf32 *out) {
    for (int i = 0; i < 2; i++) {
        const v128_t half = wasm_v128_load(p + 16 * i);
        const v128_t low = wasm_i16x8_shl(half, 13);
        const v128_t high = wasm_v128_and(wasm_i16x8_shr(half, 3),
                                          v_hoisted(wasm_i16x8_const_splat((int16_t)0x8fff)));
        out[2 * i] = wasm_i16x8_shuffle(low, high, 0, 8, 1, 9, 2, 10, 3, 11);
        out[2 * i + 1] = wasm_i16x8_shuffle(low, high, 4, 12, 5, 13, 6, 14, 7, 15);
    }
}
