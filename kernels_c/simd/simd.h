/* clang-format off */
/* Vector operations, under the same names for every instruction set.
 *
 * vf32 holds VF float32 lanes: 16 (AVX-512), 8 (AVX2) or 4 (NEON, WebAssembly, portable C). The
 * compiler's target flags choose the instruction set: see build.py.
 *
 *   v_zero() v_splat(x) v_load(p) v_store(p, a)           p: any alignment
 *   v_load_part(p, n) v_store_part(p, n, a)               the first n < VF lanes, the others 0
 *   v_load_upto(p, n) v_store_upto(p, n, a)               the same, or all lanes if n >= VF
 *   v_add v_sub v_mul v_div (a, b)    v_fma(a, b, c) = a*b + c    v_sqrt v_abs (a)
 *   v_max(a, b) = a < b ? b : a       v_min(a, b) = b < a ? b : a     (so a NaN in a stays)
 *   v_hsum(a) v_hmax(a)               over the lanes
 *   v_load_f16(p) v_store_f16(p, a)   VF float16 values; v_load_bf16(p) likewise
 *   v_load_f16_rescaled(p)            the same times V_F16_RESCALE, 2^-112 or 1; only for values
 *                                     that are finite and not subnormal
 *   v_pow2_biased(n + 1.5 * 2^23)     2^n for whole n; 0 for -127, infinity for 128
 *   v_exp(a)
 *   v_prefetch(p)                     fetches the cache line at p, which must be readable
 *
 * Optimization barriers, which do nothing outside of WebAssembly:
 *
 *   v_opaque(a)                       the same value, computed before the next opaque one
 *   vacc_opaque(acc, widened)         the same for sums; widened: vacc_widen was their last change
 *   v_opaque_pointer(p)               the same pointer
 *   v_force_to_memory(p)              what is at p is in memory, not in registers
 *
 * For products of small integers, a vector of bytes (vu8) holds four bytes of each of VF rows:
 *
 *   vb_load(p) vb_store(p, a) vb_splat(x) vb_and(a, b) vb_or(a, b)
 *   vb_lookup16(index, table)         table[index]; every index must be 0 .. 15
 *   vb_add(a, b)                      modulo 256
 *   vb_above(a, b)                    1 where a > b, else 0
 *   vb_triple(a)                      3 * a modulo 256
 *   vb_gather(table, index)           table[index[row] / V_GATHER_STEP], a uint32_t for each row
 *   vb_shl(a, n) vb_shr(a, n)         bits may cross into the next byte: mask them
 *   vw_unsigned(u) vw_signed(u)       weights as the dot product takes them, from 0 .. 127 or int8;
 *                                     signed ones have v_signed_offset() added
 *   vw_load(p) vw_store(p, w)
 *   va_load(p)                        four activations (act_t), the same for every row
 *   v_act_order(a)                    the order in which four activations are stored
 *   vacc_init(x)                      VF int32 sums, one for each row
 *   v_dot_unsigned(acc, w, a) v_dot_signed(acc, w, a)
 *   v_dot_is_exact()                  0 if these give wrong results on this processor
 *   vacc_widen(acc)                   needed after at most V_I16_DEPTH(bits) dot products, because
 *                                     some instruction sets accumulate in 16 bits
 *   vacc_to_f32(acc)
 *   v_load_u8(p) v_load_i8(p)         VF bytes as float32
 *   v_load_f16_panel(p, out)          16 float16 values as 16 / VF vectors
 *   v_load_f16_panel_rescaled(p, out) v_load_f16_panel times 2^-112, if V_RESCALES_F16; wrong for
 *                                     infinities and NaNs
 *
 * V_TILE_VECTORS times V_TILE_TOKENS sums fit into registers.
 */
/* clang-format on */
#ifndef OX_SIMD_H
#define OX_SIMD_H

#include <stddef.h>
#include <stdint.h>

#define NEGATIVE_INFINITY (-__builtin_inff())

/* The kernels rely on formats being constants of inlined functions. Under the sanitizers that would
 * take minutes to compile, and speed does not matter there. */
#ifdef __SANITIZE_ADDRESS__
#define V_INLINE static inline __attribute__((unused))
#else
#define V_INLINE static inline __attribute__((always_inline, unused))
#endif

/* For code that seldom runs together. A browser optimizes a function once it is hot, and always the
 * whole of it: one function with all formats in it would run slowly for ten times as long. */
#define NOINLINE __attribute__((noinline))

/* WebAssembly has no prefetch instruction; a load whose result is not used does the same. */
V_INLINE void v_prefetch(const uint8_t *p) {
#ifdef __wasm__
    __asm__ volatile("" : : "r"(*p));
#else
    __builtin_prefetch(p);
#endif
}

/* Makes the compiler write what is at p to memory and read it from there. Otherwise it keeps it in
 * a vector and extracts it lane by lane, which is slower than loads. */
V_INLINE void v_force_to_memory(const void *p) {
#ifdef __wasm__
    __asm__ volatile("" : : "r"(p) : "memory");
#else
    (void)p;
#endif
}

/* The same pointer, of which the compiler knows nothing. So it leaves nearby addresses as constant
 * offsets of the loads. */
V_INLINE const void *v_opaque_pointer(const void *p) {
#ifdef __wasm__
    __asm__("" : "+r"(p));
#endif
    return p;
}

/* Before loops over a few registers. */
#if !defined(__SANITIZE_ADDRESS__) &&                                                              \
    (defined(__AVX2__) || defined(__ARM_FEATURE_DOTPROD) || defined(__wasm_simd128__))
#define V_UNROLL _Pragma("GCC unroll 8")
#else
#define V_UNROLL
#endif

V_INLINE float v_float_of_bits(uint32_t bits) {
    float x;
    __builtin_memcpy(&x, &bits, 4);
    return x;
}

V_INLINE uint32_t v_bits_of_float(float x) {
    uint32_t bits;
    __builtin_memcpy(&bits, &x, 4);
    return bits;
}

V_INLINE uint16_t v_load_u16(const void *p) {
    uint16_t x;
    __builtin_memcpy(&x, p, 2);
    return x;
}

V_INLINE uint32_t v_load_u32(const void *p) {
    uint32_t x;
    __builtin_memcpy(&x, p, 4);
    return x;
}

/* Converts one float16 value exactly. Multiplying by 2^112 changes the exponent's bias from 15 to
 * 127. */
V_INLINE float v_f16_to_f32(uint16_t half) {
    const uint32_t magnitude = (uint32_t)(half & 0x7fff) << 13;
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16;
    float x = v_float_of_bits(magnitude) * 0x1p112f;
    if (magnitude >= 0x7c00u << 13) x = v_float_of_bits(v_bits_of_float(x) | 0x7f800000u);
    return v_float_of_bits(v_bits_of_float(x) | sign);
}

/* Rounds to nearest even. Values too large become infinity; NaN stays NaN. */
V_INLINE uint16_t v_f32_to_f16(float x) {
    const uint32_t bits = v_bits_of_float(x), magnitude = bits & 0x7fffffffu;
    const uint32_t sign = (bits >> 16) & 0x8000u;
    uint32_t half;
    if (magnitude >= 0x47800000u) { /* 65536 and above */
        half = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
    } else if (magnitude < 0x38800000u) { /* subnormal: adding 0.5 leaves multiples of 2^-24 */
        half = v_bits_of_float(v_float_of_bits(magnitude) + 0.5f) - 0x3f000000u;
    } else { /* a carry out of the mantissa goes into the exponent, up to infinity */
        half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    }
    return (uint16_t)(half | sign);
}

/* How many sums of two products can be added in 16 bits: 2 * (2^bits - 1) * 127 * depth < 2^15. */
#define V_I16_DEPTH_OF_PAIRS(bits) ((bits) <= 4 ? 8 : (bits) == 5 ? 4 : (bits) == 6 ? 2 : 1)

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#include "simd/simd_avx512.h"
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#include "simd/simd_avx2.h"
#elif defined(__ARM_FEATURE_DOTPROD) && defined(__aarch64__)
#include "simd/simd_neon.h"
#elif defined(__wasm_simd128__)
#include "simd/simd_wasm.h"
#else
#include "simd/simd_portable.h"
#endif

V_INLINE vf32 v_load_upto(const float *p, size_t n) {
    return n < VF ? v_load_part(p, (uint32_t)n) : v_load(p);
}
V_INLINE void v_store_upto(float *p, size_t n, vf32 a) {
    if (n < VF) {
        v_store_part(p, (uint32_t)n, a);
    } else {
        v_store(p, a);
    }
}

#ifndef V_RESCALES_F16
V_INLINE void v_load_f16_panel_rescaled(const uint8_t *p, vf32 *out) { v_load_f16_panel(p, out); }
#endif

#ifndef V_F16_RESCALE
#define V_F16_RESCALE 1.0f
V_INLINE vf32 v_load_f16_rescaled(const void *p) { return v_load_f16(p); }
#endif

#ifndef V_OPAQUE
V_INLINE vf32 v_opaque(vf32 a) { return a; }
V_INLINE vacc vacc_opaque(vacc acc, const int widened) {
    (void)widened;
    return acc;
}
#endif

#ifndef V_GATHER_STEP
#define V_GATHER_STEP 1u
#endif

#ifndef V_TRIPLES
V_INLINE vu8 vb_triple(vu8 a) { return vb_add(a, vb_add(a, a)); }
#endif

#ifndef V_DOT_MAY_BE_WRONG
V_INLINE int32_t v_dot_is_exact(void) { return 1; }
#endif

#ifndef V_REORDERS_ACTS
V_INLINE vf32 v_act_order(vf32 a) { return a; }
#endif

/* exp(x), relative error below 2e-7. 0 below -87.7, infinity above 88.4, NaN for NaN.
 * x = n ln 2 + r with |r| <= ln 2 / 2; the polynomial for exp(r) is Cephes' (expf.c). */
V_INLINE vf32 v_exp(vf32 x) {
    const vf32 shift = v_splat(0x1.8p23f);
    x = v_min(v_max(x, v_splat(-88.0f)), v_splat(89.0f));
    const vf32 t = v_add(v_mul(x, v_splat(1.44269504f)), shift);
    const vf32 n = v_sub(t, shift);
    const vf32 r = v_fma(n, v_splat(2.12194440e-4f), v_fma(n, v_splat(-0.693359375f), x));
    vf32 p = v_splat(1.9875691500e-4f);
    p = v_fma(p, r, v_splat(1.3981999507e-3f));
    p = v_fma(p, r, v_splat(8.3334519073e-3f));
    p = v_fma(p, r, v_splat(4.1665795894e-2f));
    p = v_fma(p, r, v_splat(1.6666665459e-1f));
    p = v_fma(p, r, v_splat(5.0000001201e-1f));
    p = v_add(v_fma(v_mul(p, r), r, r), v_splat(1.0f));
    return v_mul(p, v_pow2_biased(t));
}

#endif
