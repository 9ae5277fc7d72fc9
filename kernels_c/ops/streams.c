/* PutColumns, MixStreams, MatchLength and KeepLargest: rows that hold several vectors side by
 * side, and what is done with whole rows of them. */
#include "ops/operands.h"
#include "simd/simd.h"

/* dst[t][column + i] = src[t][i], or += */
typedef struct put_columns_args {
    int32_t src;
    int32_t column;
    int32_t add; /* 1: += */
} put_columns_args;
OX_OPERANDS(put_columns)

int32_t ox_check_put_columns(const ox_model *model, const ox_op *op) {
    const put_columns_args args = put_columns_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    return ox_model_status(ox_same_rows(src, dst) && src != dst && args.column >= 0 &&
                           (uint64_t)args.column + src->width <= dst->width &&
                           (args.add == 0 || args.add == 1));
}

static void add_values(const float *from, uint32_t n, float *to) {
    for (uint32_t i = 0; i < n; i += VF) {
        v_store_upto(to + i, n - i,
                     v_add(v_load_upto(to + i, n - i), v_load_upto(from + i, n - i)));
    }
}

void ox_put_columns(const ox_run *run, const ox_op *op) {
    const put_columns_args args = put_columns_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    uint32_t t, last;
    ox_partition(run, ox_n_rows(run, dst), &t, &last);
    for (; t < last; t++) {
        float *to = ox_row(dst, t) + args.column;
        if (args.add) {
            add_values(ox_row(src, t), src->width, to);
        } else {
            __builtin_memcpy(to, ox_row(src, t), (size_t)src->width * sizeof(float));
        }
    }
}

/* dst[t][i] = base[t][i] + sum over j of (coefficients[t][i][j] + offset) * src[t][j], where i and
 * j are streams of `width` values */
typedef struct mix_streams_args {
    int32_t base, src, coefficients; /* buffers */
    int32_t width;
    float offset;
} mix_streams_args;
OX_OPERANDS(mix_streams)

int32_t ox_check_mix_streams(const ox_model *model, const ox_op *op) {
    const mix_streams_args args = mix_streams_args_of(op);
    const ox_buffer *base = ox_find_buffer(model, args.base), *dst = ox_find_buffer(model, op->dst);
    const ox_buffer *src = ox_find_buffer(model, args.src);
    const ox_buffer *coefficients = ox_find_buffer(model, args.coefficients);
    if (!ox_is_divided(dst) || !ox_same_shape(base, dst) || !ox_same_rows(src, dst) ||
        !ox_same_rows(coefficients, dst) || src == dst || coefficients == dst || args.width <= 0) {
        return OX_BAD_MODEL;
    }
    const uint32_t width = (uint32_t)args.width;
    return ox_model_status(base->width % width == 0 && src->width % width == 0 &&
                           coefficients->width ==
                               (uint64_t)(base->width / width) * (src->width / width));
}

/* to = base + sum over j of (factors[j] + offset) * src[j] */
static void mix(const float *base, const float *src, const float *factors, uint32_t n_in,
                uint32_t width, float offset, float *to) {
    for (uint32_t i = 0; i < width; i += VF) {
        const uint32_t left = width - i;
        vf32 sum = v_load_upto(base + i, left);
        for (uint32_t j = 0; j < n_in; j++) {
            const float *from = src + (size_t)j * width + i;
            sum = v_fma(v_splat(factors[j] + offset), v_load_upto(from, left), sum);
        }
        v_store_upto(to + i, left, sum);
    }
}

/* Threads divide the streams of all rows. */
void ox_mix_streams(const ox_run *run, const ox_op *op) {
    const mix_streams_args args = mix_streams_args_of(op);
    const ox_buffer *base = ox_buffer_at(run, args.base), *src = ox_buffer_at(run, args.src);
    const ox_buffer *coefficients = ox_buffer_at(run, args.coefficients);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const uint32_t width = (uint32_t)args.width, n_in = src->width / width;
    uint32_t t, last;
    ox_partition(run, ox_n_rows(run, dst), &t, &last);
    for (; t < last; t++) {
        for (uint32_t i = 0; i < dst->width / width; i++) {
            const size_t at = (size_t)i * width;
            mix(ox_row(base, t) + at, ox_row(src, t), ox_row(coefficients, t) + (size_t)i * n_in,
                n_in, width, args.offset, ox_row(dst, t) + at);
        }
    }
}

static float sum_of(const float *x, uint32_t n) {
    vf32 sum = v_zero();
    for (uint32_t i = 0; i < n; i += VF) sum = v_add(v_load_upto(x + i, n - i), sum);
    return v_hsum(sum);
}

/* Of the differences from a value. */
static float sum_of_squares_from(const float *x, uint32_t n, float value) {
    vf32 sum = v_zero();
    uint32_t i = 0;
    for (; i + VF <= n; i += VF) {
        const vf32 d = v_sub(v_load(x + i), v_splat(value));
        sum = v_fma(d, d, sum);
    }
    float rest = 0.0f;
    for (; i < n; i++) rest += (x[i] - value) * (x[i] - value);
    return v_hsum(sum) + rest;
}

static float square_root(float x) {
    float lanes[VF];
    v_store(lanes, v_sqrt(v_splat(x)));
    return lanes[0];
}

/* dst[t] = src[t] * |reference[t]| / |src[t]| */
typedef struct match_length_args {
    int32_t src;
    int32_t reference;
} match_length_args;
OX_OPERANDS(match_length)

int32_t ox_check_match_length(const ox_model *model, const ox_op *op) {
    const match_length_args args = match_length_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    return ox_model_status(ox_is_divided(dst) && ox_same_shape(src, dst) &&
                           ox_same_shape(ox_find_buffer(model, args.reference), dst));
}

void ox_match_length(const ox_run *run, const ox_op *op) {
    const match_length_args args = match_length_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const ox_buffer *reference = ox_buffer_at(run, args.reference);
    const uint32_t n = dst->width;
    uint32_t t, last;
    ox_partition(run, ox_n_rows(run, dst), &t, &last);
    for (; t < last; t++) {
        const float *from = ox_row(src, t);
        const float length = square_root(sum_of_squares_from(ox_row(reference, t), n, 0.0f));
        const vf32 factor = v_splat(length / square_root(sum_of_squares_from(from, n, 0.0f)));
        float *to = ox_row(dst, t);
        for (uint32_t i = 0; i < n; i += VF)
            v_store_upto(to + i, n - i, v_mul(v_load_upto(from + i, n - i), factor));
    }
}

/* dst = max(0, src - mean - n_deviations * standard deviation), over a row */
typedef struct keep_largest_args {
    int32_t src;
    float n_deviations;
} keep_largest_args;
OX_OPERANDS(keep_largest)

int32_t ox_check_keep_largest(const ox_model *model, const ox_op *op) {
    const keep_largest_args args = keep_largest_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    return ox_model_status(ox_is_divided(dst) && ox_same_shape(src, dst) && src->width > 1);
}

void ox_keep_largest(const ox_run *run, const ox_op *op) {
    const keep_largest_args args = keep_largest_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const uint32_t n = dst->width;
    uint32_t t, last;
    ox_partition(run, ox_n_rows(run, dst), &t, &last);
    for (; t < last; t++) {
        const float *from = ox_row(src, t);
        const float mean = sum_of(from, n) / (float)n;
        const float deviation = square_root(sum_of_squares_from(from, n, mean) / (float)(n - 1));
        const vf32 least = v_splat(mean + args.n_deviations * deviation);
        float *to = ox_row(dst, t);
        for (uint32_t i = 0; i < n; i += VF) {
            const vf32 above = v_sub(v_load_upto(from + i, n - i), least);
            v_store_upto(to + i, n - i, v_max(above, v_zero()));
        }
    }
}
