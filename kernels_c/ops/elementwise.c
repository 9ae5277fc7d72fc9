/* OX_GLU, OX_ACTIVATE, OX_SCALE, OX_ADD, OX_SOFTCAP, OX_SELECT_ROWS. */
#include "internal.h"
#include "simd/vmath.h"

V_INLINE vf32 silu(vf32 x) { return v_mul(x, v_sigmoid(x)); }

/* 0.5 x (1 + tanh(y)) = x sigmoid(2 y), y = sqrt(2 / pi) (x + 0.044715 x^3) */
V_INLINE vf32 gelu(vf32 x) {
    const vf32 cubic = v_fma(v_mul(v_mul(x, x), x), v_splat(0.044715f), x);
    return v_mul(x, v_sigmoid(v_mul(cubic, v_splat(2.0f * 0.7978845608028654f))));
}

/* kind is a constant in every call, so that constants of the function are hoisted out of loops. */
V_INLINE vf32 activation(const int32_t kind, vf32 x) { return kind == OX_SILU ? silu(x) : gelu(x); }

/* This thread's part of the values of n_rows consecutive rows: whole vectors, except the last. */
static void partition_values(const ox_run *run, const ox_buffer *buffer, uint32_t n_rows,
                             size_t *first, size_t *last) {
    const size_t n = (size_t)n_rows * buffer->width, n_vectors = (n + VF - 1) / VF;
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

static void activate_partition(const ox_run *run, const ox_op *op, uint32_t n_rows,
                               const float *factors) {
    const float *x = ox_row(ox_buffer_at(run, op->src[0]), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    size_t first, last;
    partition_values(run, dst, n_rows, &first, &last);
    if (op->i[0] == OX_SILU) {
        activate(x, factors, to, first, last, OX_SILU);
    } else {
        activate(x, factors, to, first, last, OX_GELU);
    }
}

void ox_glu(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    activate_partition(run, op, n_rows, ox_row(ox_buffer_at(run, op->src[1]), 0));
}

void ox_activate(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    activate_partition(run, op, n_rows, NULL);
}

void ox_scale(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const float *x = ox_row(ox_buffer_at(run, op->src[0]), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const vf32 factor = v_splat(op->f[0]);
    size_t i, last;
    partition_values(run, dst, n_rows, &i, &last);
    for (; i < last; i += VF) {
        v_store_upto(to + i, last - i, v_mul(v_load_upto(x + i, last - i), factor));
    }
}

void ox_add(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const float *a = ox_row(ox_buffer_at(run, op->src[0]), 0);
    const float *b = ox_row(ox_buffer_at(run, op->src[1]), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const vf32 scale = v_splat(op->f[0]);
    size_t i, last;
    partition_values(run, dst, n_rows, &i, &last);
    for (; i < last; i += VF) {
        const vf32 scaled =
            v_fma(v_load_upto(b + i, last - i), scale, v_load_upto(a + i, last - i));
        v_store_upto(to + i, last - i, scaled);
    }
}

void ox_add_bias(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const float *bias = (const float *)(uintptr_t)ox_tensor_at(run, op->tensor[0])->data;
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *dst = ox_buffer_at(run, op->dst);
    uint32_t t, last_row;
    ox_partition(run, n_rows, &t, &last_row);
    for (; t < last_row; t++) {
        const float *from = ox_row(src, t);
        float *to = ox_row(dst, t);
        for (size_t i = 0; i < dst->width; i += VF) {
            const vf32 b = v_load_upto(bias + i, dst->width - i);
            v_store_upto(to + i, dst->width - i, v_add(v_load_upto(from + i, dst->width - i), b));
        }
    }
}

void ox_softcap(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const float *x = ox_row(ox_buffer_at(run, op->src[0]), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const float cap = op->f[0];
    size_t i, last;
    partition_values(run, dst, n_rows, &i, &last);
    for (; i < last; i += VF) {
        const vf32 y = v_tanh(v_div(v_load_upto(x + i, last - i), v_splat(cap)));
        v_store_upto(to + i, last - i, v_mul(v_splat(cap), y));
    }
}

void ox_select_rows(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *dst = ox_buffer_at(run, op->dst);
    const uint32_t *rows = (const uint32_t *)(uintptr_t)run->batch->outputs;
    uint32_t first, last;
    ox_partition(run, n_rows, &first, &last);
    for (uint32_t i = first; i < last; i++) {
        __builtin_memcpy(ox_row(dst, i), ox_row(src, rows[i]), (size_t)dst->width * sizeof(float));
    }
}
