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
