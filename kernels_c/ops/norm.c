/* RMSNorm and LayerNorm. */
#include "ops/operands.h"
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

/* A float32 vector or matrix of whole groups that divide a row. */
static int32_t is_group_weight(const ox_tensor *tensor, uint32_t group, uint32_t width) {
    if (!tensor || tensor->format != OX_F32 || tensor->data == 0) return 0;
    const uint64_t n = (uint64_t)tensor->n_in * tensor->n_out;
    return n > 0 && n <= width && width % n == 0 && n % group == 0 && tensor->bytes == n * 4;
}

/* dst = src / sqrt(mean(src^2) + eps) * weight, over groups of `group` values: a row, or one head
 */
typedef struct rms_norm_args {
    int32_t src;
    int32_t weight; /* float32 values of one group, or of several groups in turn, or -1 */
    int32_t group;
    float eps;
} rms_norm_args;
OX_OPERANDS(rms_norm)

int32_t ox_check_rms_norm(const ox_model *model, const ox_op *op) {
    const rms_norm_args args = rms_norm_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    const uint32_t group = (uint32_t)args.group;
    return ox_model_status(ox_same_shape(src, dst) && args.group > 0 && src->width % group == 0 &&
                           (args.weight < 0 || is_group_weight(ox_find_tensor(model, args.weight),
                                                               group, src->width)));
}

void ox_rms_norm(const ox_run *run, const ox_op *op) {
    const rms_norm_args args = rms_norm_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const uint32_t group = (uint32_t)args.group;
    const float *weights = ox_vector_at(run, args.weight);
    const ox_tensor *tensor = weights ? ox_tensor_at(run, args.weight) : NULL;
    const uint32_t n_groups = tensor ? tensor->n_in * tensor->n_out / group : 1;
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst) * (src->width / group), &first, &last);
    for (uint32_t g = first; g < last; g++) {
        const size_t at = (size_t)g * group;
        const float *weight = weights ? weights + (size_t)(g % n_groups) * group : NULL;
        normalize(ox_row(src, 0) + at, weight, NULL, group, args.eps, ox_row(dst, 0) + at);
    }
}

/* dst = (src - mean) / sqrt(variance + eps) * weight (+ bias), over groups of `group` values */
typedef struct layer_norm_args {
    int32_t src;
    int32_t weight; /* float32 values of one group, or of several groups in turn, or -1 */
    int32_t bias;   /* as many values as the weight, or -1 */
    int32_t group;
    float eps;
} layer_norm_args;
OX_OPERANDS(layer_norm)

int32_t ox_check_layer_norm(const ox_model *model, const ox_op *op) {
    const layer_norm_args args = layer_norm_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    const ox_tensor *weight = ox_find_tensor(model, args.weight);
    const uint32_t group = (uint32_t)args.group;
    if (!ox_same_shape(src, dst) || args.group <= 0) return OX_BAD_MODEL;
    if (args.weight < 0) return ox_model_status(src->width % group == 0 && args.bias < 0);
    if (!is_group_weight(weight, group, src->width)) return OX_BAD_MODEL;
    const uint32_t n_values = weight->n_in * weight->n_out;
    return ox_model_status(args.bias < 0 ||
                           ox_is_vector(ox_find_tensor(model, args.bias), n_values));
}

void ox_layer_norm(const ox_run *run, const ox_op *op) {
    const layer_norm_args args = layer_norm_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const float *weight = ox_vector_at(run, args.weight), *bias = ox_vector_at(run, args.bias);
    const uint32_t group = (uint32_t)args.group;
    uint32_t n_groups = 1; /* of the weight */
    if (weight) {
        const ox_tensor *tensor = ox_tensor_at(run, args.weight);
        n_groups = tensor->n_in * tensor->n_out / group;
    }
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst) * (src->width / group), &first, &last);
    for (uint32_t g = first; g < last; g++) {
        const size_t at = (size_t)g * group, weight_at = (size_t)(g % n_groups) * group;
        float *to = ox_row(dst, 0) + at;
        center(ox_row(src, 0) + at, group, to);
        normalize(to, weight ? weight + weight_at : NULL, bias ? bias + weight_at : NULL, group,
                  args.eps, to);
    }
}
