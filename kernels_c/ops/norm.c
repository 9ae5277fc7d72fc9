/* OX_RMS_NORM and OX_LAYER_NORM. */
#include "internal.h"
#include "simd/simd.h"

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

/* Subtracts the mean. */
static void center(const float *x, uint32_t n, float *to) {
    vf32 sum = v_zero();
    uint32_t i = 0;
    for (; i + VF <= n; i += VF) sum = v_add(v_load(x + i), sum);
    if (i < n) sum = v_add(v_load_part(x + i, n - i), sum);
    const vf32 mean = v_splat(v_hsum(sum) / (float)n);
    for (i = 0; i + VF <= n; i += VF) v_store(to + i, v_sub(v_load(x + i), mean));
    if (i < n) v_store_part(to + i, n - i, v_sub(v_load_part(x + i, n - i), mean));
}

/* x / sqrt(mean(x^2) + eps) * weight + bias; weight and bias may be NULL, x may be to. */
static void normalize(const float *x, const float *weight, const float *bias, uint32_t n, float eps,
                      float *to) {
    const vf32 mean_square = v_splat(sum_of_squares(x, n) / (float)n + eps);
    const vf32 factor = v_div(v_splat(1.0f), v_sqrt(mean_square));
    uint32_t i = 0;
    for (; i + VF <= n; i += VF) {
        vf32 v = v_mul(v_load(x + i), factor);
        if (weight) v = v_mul(v, v_load(weight + i));
        v_store(to + i, bias ? v_add(v, v_load(bias + i)) : v);
    }
    if (i < n) {
        vf32 v = v_mul(v_load_part(x + i, n - i), factor);
        if (weight) v = v_mul(v, v_load_part(weight + i, n - i));
        v_store_part(to + i, n - i, bias ? v_add(v, v_load_part(bias + i, n - i)) : v);
    }
}

static const float *vector_at(const ox_run *run, int32_t tensor) {
    return tensor >= 0 ? (const float *)(uintptr_t)ox_tensor_at(run, tensor)->data : NULL;
}

void ox_rms_norm(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *dst = ox_buffer_at(run, op->dst);
    const uint32_t group = (uint32_t)op->i[0];
    const float *weight = vector_at(run, op->tensor[0]);
    uint32_t first, last;
    ox_partition(run, n_rows * (src->width / group), &first, &last);
    for (uint32_t g = first; g < last; g++) {
        const size_t at = (size_t)g * group;
        normalize(ox_row(src, 0) + at, weight, NULL, group, op->f[0], ox_row(dst, 0) + at);
    }
}

void ox_layer_norm(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *dst = ox_buffer_at(run, op->dst);
    const ox_tensor *tensor = ox_tensor_at(run, op->tensor[0]);
    const float *weight = vector_at(run, op->tensor[0]), *bias = vector_at(run, op->tensor[1]);
    const uint32_t group = (uint32_t)op->i[0], n_groups = tensor->n_in * tensor->n_out / group;
    uint32_t first, last;
    ox_partition(run, n_rows * (src->width / group), &first, &last);
    for (uint32_t g = first; g < last; g++) {
        const size_t at = (size_t)g * group, weight_at = (size_t)(g % n_groups) * group;
        float *to = ox_row(dst, 0) + at;
        center(ox_row(src, 0) + at, group, to);
        normalize(to, weight + weight_at, bias ? bias + weight_at : NULL, group, op->f[0], to);
    }
}
