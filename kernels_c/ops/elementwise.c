/* GLU, Activate, Scale, Add, Softcap, Clamp, XIELU, AddBias, MultiplyVector, SelectRows and
 * TakeColumns. */
#include "ops/operands.h"
#include "simd/vmath.h"

/* GELU in its tanh form */
enum activation { SILU = 0, GELU = 1, RELU = 2, RELU_SQUARED = 3, SIGMOID = 4, IDENTITY = 5 };
/* or, for GLU alone, g sigmoid(1.702 g) (u + 1) of g = min(gate, 7) and u = up within -7 .. 7 */
enum { CLAMPED_SWIGLU = 6 };

static int32_t is_activation(int32_t kind) { return kind >= SILU && kind <= IDENTITY; }

V_INLINE vf32 silu(vf32 x) { return v_mul(x, v_sigmoid(x)); }

/* 0.5 x (1 + tanh(y)) = x sigmoid(2 y), y = sqrt(2 / pi) (x + 0.044715 x^3) */
V_INLINE vf32 gelu(vf32 x) {
    const vf32 cubic = v_fma(v_mul(v_mul(x, x), x), v_splat(0.044715f), x);
    return v_mul(x, v_sigmoid(v_mul(cubic, v_splat(2.0f * 0.7978845608028654f))));
}

/* kind is a constant in every call, so that constants of the function are hoisted out of loops. */
V_INLINE vf32 activation(const int32_t kind, vf32 x) {
    const vf32 above = v_max(x, v_zero());
    switch (kind) {
    case SILU:
        return silu(x);
    case GELU:
        return gelu(x);
    case RELU:
        return above;
    case RELU_SQUARED:
        return v_mul(above, above);
    case SIGMOID:
        return v_sigmoid(x);
    default:
        return x;
    }
}

/* This thread's part of the values of a buffer: whole vectors, except the last. */
static void partition_values(const ox_run *run, const ox_buffer *buffer, size_t *first,
                             size_t *last) {
    const size_t n = (size_t)ox_n_rows(run, buffer) * buffer->width, n_vectors = (n + VF - 1) / VF;
    *first = n_vectors * run->thread / run->n_threads * VF;
    *last = n_vectors * (run->thread + 1) / run->n_threads * VF;
    if (*last > n) *last = n;
}

/* to = act(x), times factors unless they are NULL, for the values [i, last). */
V_INLINE void activate(const float *x, const float *factors, float *to, size_t i, size_t last,
                       const int32_t kind) {
    for (; i < last; i += VF) {
        const vf32 y = activation(kind, v_load_upto(x + i, last - i));
        v_store_upto(to + i, last - i, factors ? v_mul(y, v_load_upto(factors + i, last - i)) : y);
    }
}

static void activate_partition(const ox_run *run, const ox_buffer *dst, const ox_buffer *src,
                               const ox_buffer *factors, int32_t kind) {
    const float *x = ox_row(src, 0), *times = factors ? ox_row(factors, 0) : NULL;
    float *to = ox_row(dst, 0);
    size_t first, last;
    partition_values(run, dst, &first, &last);
    switch (kind) {
    case SILU:
        activate(x, times, to, first, last, SILU);
        break;
    case GELU:
        activate(x, times, to, first, last, GELU);
        break;
    case RELU:
        activate(x, times, to, first, last, RELU);
        break;
    case RELU_SQUARED:
        activate(x, times, to, first, last, RELU_SQUARED);
        break;
    case SIGMOID:
        activate(x, times, to, first, last, SIGMOID);
        break;
    default:
        activate(x, times, to, first, last, IDENTITY);
    }
}

static void clamped_swiglu(const ox_run *run, const ox_buffer *dst, const ox_buffer *gate,
                           const ox_buffer *up) {
    const vf32 limit = v_splat(7.0f), least = v_splat(-7.0f);
    const float *gates = ox_row(gate, 0), *ups = ox_row(up, 0);
    float *to = ox_row(dst, 0);
    size_t i, last;
    partition_values(run, dst, &i, &last);
    for (; i < last; i += VF) {
        const vf32 g = v_min(v_load_upto(gates + i, last - i), limit);
        const vf32 u = v_min(v_max(v_load_upto(ups + i, last - i), least), limit);
        const vf32 y = v_mul(g, v_sigmoid(v_mul(g, v_splat(1.702f))));
        v_store_upto(to + i, last - i, v_fma(y, u, y));
    }
}

/* dst = act(gate) * up */
typedef struct glu_args {
    int32_t gate, up;   /* buffers */
    int32_t activation; /* enum activation, or CLAMPED_SWIGLU */
} glu_args;
OX_OPERANDS(glu)

int32_t ox_check_glu(const ox_model *model, const ox_op *op) {
    const glu_args args = glu_args_of(op);
    const ox_buffer *gate = ox_find_buffer(model, args.gate), *up = ox_find_buffer(model, args.up);
    return ox_model_status(ox_same_shape(gate, up) &&
                           ox_same_shape(gate, ox_find_buffer(model, op->dst)) &&
                           (is_activation(args.activation) || args.activation == CLAMPED_SWIGLU));
}

void ox_glu(const ox_run *run, const ox_op *op) {
    const glu_args args = glu_args_of(op);
    const ox_buffer *gate = ox_buffer_at(run, args.gate), *up = ox_buffer_at(run, args.up);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    if (args.activation == CLAMPED_SWIGLU) {
        clamped_swiglu(run, dst, gate, up);
    } else {
        activate_partition(run, dst, gate, up, args.activation);
    }
}

/* dst = act(src) */
typedef struct activate_args {
    int32_t src;
    int32_t activation; /* enum activation */
} activate_args;
OX_OPERANDS(activate)

int32_t ox_check_activate(const ox_model *model, const ox_op *op) {
    const activate_args args = activate_args_of(op);
    return ox_model_status(
        ox_same_shape(ox_find_buffer(model, args.src), ox_find_buffer(model, op->dst)) &&
        is_activation(args.activation));
}

void ox_activate(const ox_run *run, const ox_op *op) {
    const activate_args args = activate_args_of(op);
    activate_partition(run, ox_buffer_at(run, op->dst), ox_buffer_at(run, args.src), NULL,
                       args.activation);
}

/* dst = factor * src */
typedef struct scale_args {
    int32_t src;
    float factor;
} scale_args;
OX_OPERANDS(scale)

int32_t ox_check_scale(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = ox_find_buffer(model, scale_args_of(op).src);
    return ox_model_status(ox_same_shape(src, ox_find_buffer(model, op->dst)));
}

void ox_scale(const ox_run *run, const ox_op *op) {
    const scale_args args = scale_args_of(op);
    const float *x = ox_row(ox_buffer_at(run, args.src), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const vf32 factor = v_splat(args.factor);
    size_t i, last;
    partition_values(run, dst, &i, &last);
    for (; i < last; i += VF) {
        v_store_upto(to + i, last - i, v_mul(v_load_upto(x + i, last - i), factor));
    }
}

/* dst = a + scale * b */
typedef struct add_args {
    int32_t a, b; /* buffers */
    float scale;
} add_args;
OX_OPERANDS(add)

int32_t ox_check_add(const ox_model *model, const ox_op *op) {
    const add_args args = add_args_of(op);
    const ox_buffer *a = ox_find_buffer(model, args.a), *b = ox_find_buffer(model, args.b);
    return ox_model_status(ox_same_shape(a, b) && ox_same_shape(a, ox_find_buffer(model, op->dst)));
}

void ox_add(const ox_run *run, const ox_op *op) {
    const add_args args = add_args_of(op);
    const float *a = ox_row(ox_buffer_at(run, args.a), 0);
    const float *b = ox_row(ox_buffer_at(run, args.b), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const vf32 scale = v_splat(args.scale);
    size_t i, last;
    partition_values(run, dst, &i, &last);
    for (; i < last; i += VF) {
        const vf32 scaled =
            v_fma(v_load_upto(b + i, last - i), scale, v_load_upto(a + i, last - i));
        v_store_upto(to + i, last - i, scaled);
    }
}

/* dst = cap * tanh(src / cap) */
typedef struct softcap_args {
    int32_t src;
    float cap;
} softcap_args;
OX_OPERANDS(softcap)

int32_t ox_check_softcap(const ox_model *model, const ox_op *op) {
    const softcap_args args = softcap_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src);
    return ox_model_status(ox_same_shape(src, ox_find_buffer(model, op->dst)) && args.cap != 0.0f);
}

void ox_softcap(const ox_run *run, const ox_op *op) {
    const softcap_args args = softcap_args_of(op);
    const float *x = ox_row(ox_buffer_at(run, args.src), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const vf32 cap = v_splat(args.cap);
    size_t i, last;
    partition_values(run, dst, &i, &last);
    for (; i < last; i += VF) {
        const vf32 y = v_tanh(v_div(v_load_upto(x + i, last - i), cap));
        v_store_upto(to + i, last - i, v_mul(cap, y));
    }
}

/* dst = src, bounded to -limit .. limit */
typedef struct clamp_args {
    int32_t src;
    float limit;
} clamp_args;
OX_OPERANDS(clamp)

int32_t ox_check_clamp(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = ox_find_buffer(model, clamp_args_of(op).src);
    return ox_model_status(ox_same_shape(src, ox_find_buffer(model, op->dst)));
}

void ox_clamp(const ox_run *run, const ox_op *op) {
    const clamp_args args = clamp_args_of(op);
    const float *x = ox_row(ox_buffer_at(run, args.src), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const vf32 least = v_splat(-args.limit), most = v_splat(args.limit);
    size_t i, last;
    partition_values(run, dst, &i, &last);
    for (; i < last; i += VF) {
        v_store_upto(to + i, last - i, v_min(v_max(v_load_upto(x + i, last - i), least), most));
    }
}

/* dst = linear * src + (positive * src^2 above 0, negative * (e^src - 1 - src) below) */
typedef struct xielu_args {
    int32_t src;
    float positive;
    float negative;
    float linear;
} xielu_args;
OX_OPERANDS(xielu)

int32_t ox_check_xielu(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = ox_find_buffer(model, xielu_args_of(op).src);
    return ox_model_status(ox_same_shape(src, ox_find_buffer(model, op->dst)));
}

void ox_xielu(const ox_run *run, const ox_op *op) {
    const xielu_args args = xielu_args_of(op);
    const float *from = ox_row(ox_buffer_at(run, args.src), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const vf32 positive = v_splat(args.positive), negative = v_splat(args.negative);
    size_t i, last;
    partition_values(run, dst, &i, &last);
    for (; i < last; i += VF) {
        const vf32 x = v_load_upto(from + i, last - i);
        /* each part is 0 on the other side */
        const vf32 above = v_max(x, v_zero()), below = v_min(x, v_zero());
        const vf32 curve = v_sub(v_sub(v_exp(below), v_splat(1.0f)), below);
        const vf32 line = v_fma(negative, curve, v_mul(v_splat(args.linear), x));
        v_store_upto(to + i, last - i, v_fma(v_mul(positive, above), above, line));
    }
}

/* dst[t] = src[t] + bias */
typedef struct add_bias_args {
    int32_t src;
    int32_t bias; /* a vector as wide as a row */
} add_bias_args;
OX_OPERANDS(add_bias)

int32_t ox_check_add_bias(const ox_model *model, const ox_op *op) {
    const add_bias_args args = add_bias_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src);
    return ox_model_status(ox_same_shape(src, ox_find_buffer(model, op->dst)) &&
                           ox_is_vector(ox_find_tensor(model, args.bias), src->width));
}

void ox_add_bias(const ox_run *run, const ox_op *op) {
    const add_bias_args args = add_bias_args_of(op);
    const float *bias = ox_vector_at(run, args.bias);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    uint32_t t, last_row;
    ox_partition(run, ox_n_rows(run, dst), &t, &last_row);
    for (; t < last_row; t++) {
        const float *from = ox_row(src, t);
        float *to = ox_row(dst, t);
        for (size_t i = 0; i < dst->width; i += VF) {
            const vf32 b = v_load_upto(bias + i, dst->width - i);
            v_store_upto(to + i, dst->width - i, v_add(v_load_upto(from + i, dst->width - i), b));
        }
    }
}

/* dst[t] = src[t] * weight */
typedef struct multiply_vector_args {
    int32_t src;
    int32_t weight; /* a vector as wide as a row, or one value */
} multiply_vector_args;
OX_OPERANDS(multiply_vector)

int32_t ox_check_multiply_vector(const ox_model *model, const ox_op *op) {
    const multiply_vector_args args = multiply_vector_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src);
    const ox_tensor *weight = ox_find_tensor(model, args.weight);
    return ox_model_status(ox_same_shape(src, ox_find_buffer(model, op->dst)) &&
                           (ox_is_vector(weight, src->width) || ox_is_vector(weight, 1)));
}

void ox_multiply_vector(const ox_run *run, const ox_op *op) {
    const multiply_vector_args args = multiply_vector_args_of(op);
    const float *weight = ox_vector_at(run, args.weight);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const int is_one = ox_tensor_at(run, args.weight)->n_in == 1;
    const vf32 one = v_splat(v_float_of_bits(v_load_u32(weight)));
    const uint32_t n = dst->width;
    uint32_t t, last_row;
    ox_partition(run, ox_n_rows(run, dst), &t, &last_row);
    for (; t < last_row; t++) {
        const float *from = ox_row(src, t);
        float *to = ox_row(dst, t);
        for (uint32_t i = 0; i < n; i += VF) {
            const vf32 factor = is_one ? one : v_load_upto(weight + i, n - i);
            v_store_upto(to + i, n - i, v_mul(v_load_upto(from + i, n - i), factor));
        }
    }
}

/* dst = the rows of src whose output the batch asks for */
typedef struct select_rows_args {
    int32_t src;
} select_rows_args;
OX_OPERANDS(select_rows)

int32_t ox_check_select_rows(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = ox_find_buffer(model, select_rows_args_of(op).src);
    const ox_buffer *dst = ox_find_buffer(model, op->dst);
    return ox_model_status(ox_is_batch(src) && dst && dst->rows == OX_ROWS_OUTPUT &&
                           src->width == dst->width);
}

void ox_select_rows(const ox_run *run, const ox_op *op) {
    const ox_buffer *src = ox_buffer_at(run, select_rows_args_of(op).src);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const uint32_t *rows = (const uint32_t *)(uintptr_t)run->batch->outputs;
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst), &first, &last);
    for (uint32_t i = first; i < last; i++) {
        __builtin_memcpy(ox_row(dst, i), ox_row(src, rows[i]), (size_t)dst->width * sizeof(float));
    }
}

/* dst = `count` values of each group of src, from `start` on */
typedef struct take_columns_args {
    int32_t src;
    int32_t group, start, count;
} take_columns_args;
OX_OPERANDS(take_columns)

int32_t ox_check_take_columns(const ox_model *model, const ox_op *op) {
    const take_columns_args args = take_columns_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    if (!ox_same_rows(src, dst) || src == dst || args.group <= 0 || args.start < 0 ||
        args.count <= 0 || args.start > args.group || args.count > args.group - args.start) {
        return OX_BAD_MODEL;
    }
    const uint32_t n_groups = src->width / (uint32_t)args.group;
    return ox_model_status(src->width % (uint32_t)args.group == 0 &&
                           dst->width == (uint64_t)n_groups * (uint32_t)args.count);
}

void ox_take_columns(const ox_run *run, const ox_op *op) {
    const take_columns_args args = take_columns_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const size_t group = (size_t)args.group, count = (size_t)args.count;
    uint32_t t, last_row;
    ox_partition(run, ox_n_rows(run, dst), &t, &last_row);
    for (; t < last_row; t++) {
        const float *from = ox_row(src, t) + args.start;
        float *to = ox_row(dst, t);
        for (size_t i = 0; i < dst->width / count; i++) {
            __builtin_memcpy(to + i * count, from + i * group, count * sizeof(float));
        }
    }
}
