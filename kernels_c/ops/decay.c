/* Decay: how much of a recurrent state is left after a token. */
#include "ops/operands.h"
#include "simd/vmath.h"

/* dst = exp(rate * softplus(src + bias)) */
typedef struct decay_args {
    int32_t src;
    int32_t bias; /* a vector as wide as a row */
    int32_t rate; /* a value for each of as many groups of a row */
} decay_args;
OX_OPERANDS(decay)

int32_t ox_check_decay(const ox_model *model, const ox_op *op) {
    const decay_args args = decay_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src);
    const ox_tensor *rate = ox_find_tensor(model, args.rate);
    return ox_model_status(ox_same_shape(src, ox_find_buffer(model, op->dst)) &&
                           ox_is_vector(ox_find_tensor(model, args.bias), src->width) && rate &&
                           rate->n_in > 0 && ox_is_vector(rate, rate->n_in) &&
                           src->width % rate->n_in == 0);
}

/* The values [i, last) of a row; rates has one for each if `each`, else one for all. */
V_INLINE void decay(const float *x, const float *bias, const float *rates, const int32_t each,
                    float *to, uint32_t i, uint32_t last) {
    const vf32 rate = each ? v_zero() : v_splat(v_float_of_bits(v_load_u32(rates)));
    for (; i < last; i += VF) {
        const uint32_t n = last - i;
        const vf32 step = v_softplus(v_add(v_load_upto(x + i, n), v_load_upto(bias + i, n)));
        const vf32 factor = each ? v_load_upto(rates + i, n) : rate;
        v_store_upto(to + i, n, v_exp(v_mul(factor, step)));
    }
}

void ox_decay(const ox_run *run, const ox_op *op) {
    const decay_args args = decay_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const float *bias = ox_vector_at(run, args.bias), *rates = ox_vector_at(run, args.rate);
    const uint32_t n_rates = ox_tensor_at(run, args.rate)->n_in, group = src->width / n_rates;
    uint32_t t, last_row;
    ox_partition(run, ox_n_rows(run, dst), &t, &last_row);
    for (; t < last_row; t++) {
        const float *x = ox_row(src, t);
        float *to = ox_row(dst, t);
        if (group == 1) {
            decay(x, bias, rates, 1, to, 0, src->width);
            continue;
        }
        for (uint32_t g = 0; g < n_rates; g++) {
            decay(x, bias, rates + g, 0, to, g * group, (g + 1) * group);
        }
    }
}
