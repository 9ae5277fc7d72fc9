/* OX_RMS_NORM. */
#include "internal.h"
#include "simd.h"

static float sum_of_squares(const float *x, uint32_t n) {
    vf32 sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    uint32_t i = 0;
    for (; i + 4 * VF <= n; i += 4 * VF) {
        for (int j = 0; j < 4; j++) {
            const vf32 v = v_load(x + i + j * VF);
            sum[j] = v_fma(v, v, sum[j]);
        }
    }
    for (; i + VF <= n; i += VF) sum[0] = v_fma(v_load(x + i), v_load(x + i), sum[0]);
    if (i < n) {
        const vf32 v = v_load_part(x + i, n - i);
        sum[1] = v_fma(v, v, sum[1]);
    }
    return v_hsum(v_add(v_add(sum[0], sum[1]), v_add(sum[2], sum[3])));
}

static void normalize(const float *x, const float *weight, uint32_t n, float eps, float *to) {
    const vf32 mean_square = v_splat(sum_of_squares(x, n) / (float)n + eps);
    const vf32 factor = v_div(v_splat(1.0f), v_sqrt(mean_square));
    uint32_t i = 0;
    for (; i + VF <= n; i += VF) {
        const vf32 v = v_mul(v_load(x + i), factor);
        v_store(to + i, weight ? v_mul(v, v_load(weight + i)) : v);
    }
    if (i < n) {
        const vf32 v = v_mul(v_load_part(x + i, n - i), factor);
        v_store_part(to + i, n - i, weight ? v_mul(v, v_load_part(weight + i, n - i)) : v);
    }
}

void ox_rms_norm(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *dst = ox_buffer_at(run, op->dst);
    const uint32_t group = (uint32_t)op->i[0];
    const float *weight = op->tensor[0] >= 0
                              ? (const float *)(uintptr_t)ox_tensor_at(run, op->tensor[0])->data
                              : NULL;
    uint32_t first, last;
    ox_share(run, n_rows * (src->width / group), &first, &last);
    for (uint32_t g = first; g < last; g++) {
        const size_t at = (size_t)g * group;
        normalize(ox_row(src, 0) + at, weight, group, op->f[0], ox_row(dst, 0) + at);
    }
}
