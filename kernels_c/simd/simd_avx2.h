/* AVX2, FMA and F16C: included by simd.h only. */
#include <immintrin.h>

enum { VF = 8 };
typedef __m256 vf32;

V_INLINE __m256i v_part_mask(uint32_t n) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)n), lane);
}

V_INLINE vf32 v_zero(void) { return _mm256_setzero_ps(); }
V_INLINE vf32 v_splat(float x) { return _mm256_set1_ps(x); }
V_INLINE vf32 v_load(const float *p) { return _mm256_loadu_ps(p); }
V_INLINE void v_store(float *p, vf32 a) { _mm256_storeu_ps(p, a); }
V_INLINE vf32 v_load_part(const float *p, uint32_t n) {
    return _mm256_maskload_ps(p, v_part_mask(n));
}
V_INLINE void v_store_part(float *p, uint32_t n, vf32 a) {
    _mm256_maskstore_ps(p, v_part_mask(n), a);
}
V_INLINE vf32 v_add(vf32 a, vf32 b) { return _mm256_add_ps(a, b); }
V_INLINE vf32 v_sub(vf32 a, vf32 b) { return _mm256_sub_ps(a, b); }
V_INLINE vf32 v_mul(vf32 a, vf32 b) { return _mm256_mul_ps(a, b); }
V_INLINE vf32 v_div(vf32 a, vf32 b) { return _mm256_div_ps(a, b); }
V_INLINE vf32 v_fma(vf32 a, vf32 b, vf32 c) { return _mm256_fmadd_ps(a, b, c); }
V_INLINE vf32 v_max(vf32 a, vf32 b) { return _mm256_max_ps(b, a); }
V_INLINE vf32 v_min(vf32 a, vf32 b) { return _mm256_min_ps(b, a); }
V_INLINE vf32 v_sqrt(vf32 a) { return _mm256_sqrt_ps(a); }
V_INLINE vf32 v_abs(vf32 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
V_INLINE float v_hsum(vf32 a) {
    __m128 x = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_movehdup_ps(x)));
}
V_INLINE float v_hmax(vf32 a) {
    __m128 x = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    x = _mm_max_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}
V_INLINE vf32 v_load_f16(const void *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}
V_INLINE void v_store_f16(void *p, vf32 a) {
    _mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}
V_INLINE vf32 v_load_bf16(const void *p) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
V_INLINE vf32 v_pow2_biased(vf32 t) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(0x3f800000)));
}

/* Small-integer dot products: see simd.h. vpmaddubsw adds pairs of products in 16 bits. A signed
 * weight gives its sign to the activation: |w| * (a with the sign of w). */
enum { V_TILE_TOKENS = 4, V_TILE_VECTORS = 2 };
#define V_I16_DEPTH(bits) V_I16_DEPTH_OF_PAIRS(bits)
typedef int8_t act_t;
typedef __m256i vu8, vw, va;
typedef struct vacc {
    __m256i run, total;
} vacc;

V_INLINE vu8 vb_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
V_INLINE void vb_store(void *p, vu8 a) { _mm256_storeu_si256((__m256i *)p, a); }
V_INLINE vu8 vb_splat(uint8_t x) { return _mm256_set1_epi8((char)x); }
V_INLINE vu8 vb_and(vu8 a, vu8 b) { return _mm256_and_si256(a, b); }
V_INLINE vu8 vb_or(vu8 a, vu8 b) { return _mm256_or_si256(a, b); }
V_INLINE vu8 vb_add(vu8 a, vu8 b) { return _mm256_add_epi8(a, b); }
V_INLINE vu8 vb_above(vu8 a, vu8 b) {
    return _mm256_min_epu8(_mm256_subs_epu8(a, b), _mm256_set1_epi8(1));
}
V_INLINE vu8 vb_gather(const uint32_t *table, const uint16_t *index) {
    const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)index));
    return _mm256_i32gather_epi32((const int *)table, wide, 4);
}
V_INLINE vu8 vb_shl(vu8 a, int n) { return _mm256_slli_epi16(a, n); }
V_INLINE vu8 vb_shr(vu8 a, int n) { return _mm256_srli_epi16(a, n); }
V_INLINE vu8 vb_lookup16(vu8 index, const uint8_t *table) {
    const __m128i t = _mm_loadu_si128((const __m128i *)table);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), index);
}
V_INLINE int32_t v_signed_offset(void) { return 0; }
V_INLINE vw vw_unsigned(vu8 a) { return a; }
V_INLINE vw vw_signed(vu8 a) { return a; }
V_INLINE vw vw_load(const void *p) { return vb_load(p); }
V_INLINE void vw_store(void *p, vw a) { vb_store(p, a); }
V_INLINE va va_load(const act_t *p) { return _mm256_set1_epi32((int32_t)v_load_u32(p)); }
V_INLINE vacc vacc_init(int32_t x) { return (vacc){_mm256_setzero_si256(), _mm256_set1_epi32(x)}; }
V_INLINE vacc v_dot_unsigned(vacc acc, vw w, va a) {
    acc.run = _mm256_add_epi16(acc.run, _mm256_maddubs_epi16(w, a));
    return acc;
}
V_INLINE vacc v_dot_signed(vacc acc, vw w, va a) {
    acc.run = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w));
    return acc;
}
V_INLINE vacc vacc_widen(vacc acc) {
    const __m256i wide = _mm256_madd_epi16(acc.run, _mm256_set1_epi16(1));
    return (vacc){_mm256_setzero_si256(), _mm256_add_epi32(acc.total, wide)};
}
V_INLINE vf32 vacc_to_f32(vacc acc) { return _mm256_cvtepi32_ps(acc.total); }
V_INLINE vf32 v_load_u8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
V_INLINE vf32 v_load_i8(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)));
}
V_INLINE void v_load_f16_panel(const uint8_t *p, vf32 *out) {
    for (int v = 0; v < 2; v++) out[v] = v_load_f16(p + 16 * v);
}
