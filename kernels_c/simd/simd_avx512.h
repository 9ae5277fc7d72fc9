/* AVX-512 (F, BW, VL, VNNI): included by simd.h only. */
#include <immintrin.h>

enum { VF = 16 };
typedef __m512 vf32;

V_INLINE vf32 v_zero(void) { return _mm512_setzero_ps(); }
V_INLINE vf32 v_splat(float x) { return _mm512_set1_ps(x); }
V_INLINE vf32 v_load(const float *p) { return _mm512_loadu_ps(p); }
V_INLINE void v_store(float *p, vf32 a) { _mm512_storeu_ps(p, a); }
V_INLINE vf32 v_load_part(const float *p, uint32_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
}
V_INLINE void v_store_part(float *p, uint32_t n, vf32 a) {
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), a);
}
V_INLINE vf32 v_add(vf32 a, vf32 b) { return _mm512_add_ps(a, b); }
V_INLINE vf32 v_sub(vf32 a, vf32 b) { return _mm512_sub_ps(a, b); }
V_INLINE vf32 v_mul(vf32 a, vf32 b) { return _mm512_mul_ps(a, b); }
V_INLINE vf32 v_div(vf32 a, vf32 b) { return _mm512_div_ps(a, b); }
V_INLINE vf32 v_fma(vf32 a, vf32 b, vf32 c) { return _mm512_fmadd_ps(a, b, c); }
V_INLINE vf32 v_max(vf32 a, vf32 b) { return _mm512_max_ps(b, a); }
V_INLINE vf32 v_min(vf32 a, vf32 b) { return _mm512_min_ps(b, a); }
V_INLINE vf32 v_sqrt(vf32 a) { return _mm512_sqrt_ps(a); }
V_INLINE vf32 v_abs(vf32 a) { return _mm512_abs_ps(a); }
V_INLINE float v_hsum(vf32 a) { return _mm512_reduce_add_ps(a); }
V_INLINE float v_hmax(vf32 a) { return _mm512_reduce_max_ps(a); }
V_INLINE vf32 v_load_f16(const void *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}
V_INLINE void v_store_f16(void *p, vf32 a) {
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
V_INLINE vf32 v_load_bf16(const void *p) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}
V_INLINE vf32 v_pow2_biased(vf32 t) {
    const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(0x3f800000)));
}

/* Small-integer dot products: see simd.h. vpdpbusd multiplies unsigned by signed bytes, so 128 is
 * added to signed weights. */
enum { V_TILE_TOKENS = 8, V_TILE_VECTORS = 1 };
#define V_I16_DEPTH(bits) 8
typedef int8_t act_t;
typedef __m512i vu8, vw, va, vi32, vacc;

V_INLINE vu8 vb_load(const void *p) { return _mm512_loadu_si512(p); }
V_INLINE void vb_store(void *p, vu8 a) { _mm512_storeu_si512(p, a); }
V_INLINE vu8 vb_splat(uint8_t x) { return _mm512_set1_epi8((char)x); }
V_INLINE vu8 vb_and(vu8 a, vu8 b) { return _mm512_and_si512(a, b); }
V_INLINE vu8 vb_or(vu8 a, vu8 b) { return _mm512_or_si512(a, b); }
V_INLINE vu8 vb_add(vu8 a, vu8 b) { return _mm512_add_epi8(a, b); }
V_INLINE vu8 vb_above(vu8 a, vu8 b) {
    return _mm512_min_epu8(_mm512_subs_epu8(a, b), _mm512_set1_epi8(1));
}
V_INLINE vu8 vb_gather(const uint32_t *table, const uint16_t *index) {
    const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)index));
    return _mm512_i32gather_epi32(wide, table, 4);
}
V_INLINE vu8 vb_shl(vu8 a, unsigned n) { return _mm512_slli_epi16(a, n); }
V_INLINE vu8 vb_shr(vu8 a, unsigned n) { return _mm512_srli_epi16(a, n); }
V_INLINE vu8 vb_lookup16(vu8 index, const uint8_t *table) {
    const __m128i t = _mm_loadu_si128((const __m128i *)table);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), index);
}
V_INLINE int32_t v_signed_offset(void) { return 128; }
V_INLINE vw vw_unsigned(vu8 a) { return a; }
V_INLINE vw vw_signed(vu8 a) { return _mm512_xor_si512(a, _mm512_set1_epi8((char)0x80)); }
V_INLINE vw vw_load(const void *p) { return _mm512_loadu_si512(p); }
V_INLINE void vw_store(void *p, vw a) { _mm512_storeu_si512(p, a); }
V_INLINE va va_load(const act_t *p) { return _mm512_set1_epi32((int32_t)v_load_u32(p)); }
V_INLINE vacc vacc_init(int32_t x) { return _mm512_set1_epi32(x); }
V_INLINE vacc v_dot_unsigned(vacc acc, vw w, va a) { return _mm512_dpbusd_epi32(acc, w, a); }
V_INLINE vacc v_dot_signed(vacc acc, vw w, va a) { return _mm512_dpbusd_epi32(acc, w, a); }
V_INLINE vacc vacc_widen(vacc acc) { return acc; }
V_INLINE vf32 vacc_to_f32(vacc acc) { return _mm512_cvtepi32_ps(acc); }
V_INLINE vf32 v_load_u8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
V_INLINE vf32 v_load_i8(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
V_INLINE void v_load_f16_panel(const uint8_t *p, vf32 *out) { out[0] = v_load_f16(p); }
