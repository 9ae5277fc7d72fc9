/* Vector functions that several operations use. */
#ifndef OX_VMATH_H
#define OX_VMATH_H

#include "simd/simd.h"

/* 1 / (1 + exp(-x)) */
V_INLINE vf32 v_sigmoid(vf32 x) {
    const vf32 one = v_splat(1.0f);
    return v_div(one, v_add(one, v_exp(v_sub(v_zero(), x))));
}

/* log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)), relative error below 4e-7. With e = exp(-|x|),
 * the logarithm is 2 atanh(z), z = e / (2 + e) <= 1/3, of which these are the first terms. */
V_INLINE vf32 v_softplus(vf32 x) {
    const vf32 e = v_exp(v_sub(v_zero(), v_abs(x)));
    const vf32 z = v_div(e, v_add(v_splat(2.0f), e)), z2 = v_mul(z, z);
    vf32 p = v_splat(2.0f / 15.0f);
    p = v_fma(p, z2, v_splat(2.0f / 13.0f));
    p = v_fma(p, z2, v_splat(2.0f / 11.0f));
    p = v_fma(p, z2, v_splat(2.0f / 9.0f));
    p = v_fma(p, z2, v_splat(2.0f / 7.0f));
    p = v_fma(p, z2, v_splat(2.0f / 5.0f));
    p = v_fma(p, z2, v_splat(2.0f / 3.0f));
    p = v_fma(p, z2, v_splat(2.0f));
    return v_fma(p, z, v_max(x, v_zero()));
}

/* tanh(x), relative error below 6e-7: the rational function of Eigen (MathFunctionsImpl.h), clamped
 * where it reaches 1 in float32. */
V_INLINE vf32 v_tanh(vf32 x) {
    const float limit = 7.90531110763549805f;
    x = v_min(v_max(x, v_splat(-limit)), v_splat(limit));
    const vf32 z = v_mul(x, x);
    vf32 p = v_splat(-2.76076847742355e-16f);
    p = v_fma(p, z, v_splat(2.00018790482477e-13f));
    p = v_fma(p, z, v_splat(-8.60467152213735e-11f));
    p = v_fma(p, z, v_splat(5.12229709037114e-08f));
    p = v_fma(p, z, v_splat(1.48572235717979e-05f));
    p = v_fma(p, z, v_splat(6.37261928875436e-04f));
    p = v_fma(p, z, v_splat(4.89352455891786e-03f));
    vf32 q = v_splat(1.19825839466702e-06f);
    q = v_fma(q, z, v_splat(1.18534705686654e-04f));
    q = v_fma(q, z, v_splat(2.26843463243900e-03f));
    q = v_fma(q, z, v_splat(4.89352518554385e-03f));
    return v_div(v_mul(x, p), q);
}

/* exp(x), the same as v_exp computes in a lane */
V_INLINE float v_exp_one(float x) {
    float lanes[VF];
    v_store(lanes, v_exp(v_splat(x)));
    return lanes[0];
}

#endif
