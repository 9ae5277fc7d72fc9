/* JoinHeads, AllExperts and ScalePositions. */
#include "ops/operands.h"
#include "simd/simd.h"

/* dst[t, h] = first[t, h], then second[t, h]; a first of one head is given to every head */
typedef struct join_heads_args {
    int32_t first, second; /* buffers */
    int32_t first_dim, second_dim;
} join_heads_args;
OX_OPERANDS(join_heads)

int32_t ox_check_join_heads(const ox_model *model, const ox_op *op) {
    const join_heads_args args = join_heads_args_of(op);
    const ox_buffer *first = ox_find_buffer(model, args.first),
                    *dst = ox_find_buffer(model, op->dst);
    const ox_buffer *second = ox_find_buffer(model, args.second);
    if (!ox_same_rows(first, second) || !ox_same_rows(first, dst) || first == dst ||
        second == dst || args.first_dim <= 0 || args.second_dim <= 0) {
        return OX_BAD_MODEL;
    }
    const uint64_t first_dim = (uint32_t)args.first_dim, second_dim = (uint32_t)args.second_dim;
    const uint64_t n_heads = second->width / second_dim;
    return ox_model_status(second->width == n_heads * second_dim &&
                           (first->width == first_dim || first->width == n_heads * first_dim) &&
                           dst->width == n_heads * (first_dim + second_dim));
}

void ox_join_heads(const ox_run *run, const ox_op *op) {
    const join_heads_args args = join_heads_args_of(op);
    const ox_buffer *first = ox_buffer_at(run, args.first), *dst = ox_buffer_at(run, op->dst);
    const ox_buffer *second = ox_buffer_at(run, args.second);
    const size_t first_dim = (size_t)args.first_dim, second_dim = (size_t)args.second_dim;
    const size_t step = first->width == first_dim ? 0 : first_dim;
    const size_t n_heads = second->width / second_dim;
    uint32_t t, last_row;
    ox_partition(run, ox_n_rows(run, dst), &t, &last_row);
    for (; t < last_row; t++) {
        const float *a = ox_row(first, t), *b = ox_row(second, t);
        float *to = ox_row(dst, t);
        for (size_t h = 0; h < n_heads; h++, to += first_dim + second_dim) {
            __builtin_memcpy(to, a + h * step, first_dim * sizeof(float));
            __builtin_memcpy(to + first_dim, b + h * second_dim, second_dim * sizeof(float));
        }
    }
}

/* dst[t] = the numbers of all experts, then a weight of 1 for each */
typedef struct all_experts_args {
    int32_t src; /* has as many rows */
    int32_t n_experts;
} all_experts_args;
OX_OPERANDS(all_experts)

/* Experts' numbers must be exact as floats. */
int32_t ox_check_all_experts(const ox_model *model, const ox_op *op) {
    const all_experts_args args = all_experts_args_of(op);
    const ox_buffer *dst = ox_find_buffer(model, op->dst);
    return ox_model_status(ox_is_divided(dst) &&
                           ox_same_rows(ox_find_buffer(model, args.src), dst) &&
                           args.n_experts > 0 && args.n_experts <= 1 << 16 &&
                           dst->width == 2 * (uint32_t)args.n_experts);
}

void ox_all_experts(const ox_run *run, const ox_op *op) {
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const uint32_t n = dst->width / 2;
    uint32_t t, last_row;
    ox_partition(run, ox_n_rows(run, dst), &t, &last_row);
    for (; t < last_row; t++) {
        float *to = ox_row(dst, t);
        for (uint32_t i = 0; i < n; i++) {
            to[i] = (float)i;
            to[n + i] = 1.0f;
        }
    }
}

/* dst[t] = src[t] * the factor of its interval of positions */
typedef struct scale_positions_args {
    int32_t src;
    int32_t factors;  /* a constant: one for each interval, the last for all after those */
    int32_t interval; /* in positions */
} scale_positions_args;
OX_OPERANDS(scale_positions)

int32_t ox_check_scale_positions(const ox_model *model, const ox_op *op) {
    const scale_positions_args args = scale_positions_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src);
    const ox_tensor *factors = ox_find_constant(model, args.factors);
    return ox_model_status(ox_is_batch(src) && ox_same_shape(src, ox_find_buffer(model, op->dst)) &&
                           factors && factors->n_in > 0 && ox_is_vector(factors, factors->n_in) &&
                           args.interval > 0);
}

void ox_scale_positions(const ox_run *run, const ox_op *op) {
    const scale_positions_args args = scale_positions_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const ox_tensor *factors = ox_constant_at(run, args.factors);
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)factors->data;
    const uint32_t last_interval = factors->n_in - 1;
    uint32_t t, last_row;
    ox_partition(run, ox_n_rows(run, dst), &t, &last_row);
    for (; t < last_row; t++) {
        const uint32_t position = ox_position(ox_sequence_of(run, t), t);
        const uint32_t n = position / (uint32_t)args.interval;
        const size_t i = n < last_interval ? n : last_interval;
        const vf32 factor = v_splat(v_float_of_bits(v_load_u32(bytes + 4 * i)));
        const float *from = ox_row(src, t);
        float *to = ox_row(dst, t);
        for (size_t j = 0; j < dst->width; j += VF) {
            const size_t rest = dst->width - j;
            v_store_upto(to + j, rest, v_mul(v_load_upto(from + j, rest), factor));
        }
    }
}
