/* OX_GLU, OX_ADD, OX_SOFTCAP, OX_SELECT_ROWS. */
#include "internal.h"
#include "simd.h"

/* 1 / (1 + exp(-x)) */
V_INLINE vf32 sigmoid(vf32 x) {
    const vf32 one = v_splat(1.0f);
    return v_div(one, v_add(one, v_exp(v_sub(v_zero(), x))));
}

V_INLINE vf32 silu(vf32 x) { return v_mul(x, sigmoid(x)); }

/* 0.5 x (1 + tanh(y)) = x sigmoid(2 y), y = sqrt(2 / pi) (x + 0.044715 x^3) */
V_INLINE vf32 gelu(vf32 x) {
    const vf32 cubic = v_fma(v_mul(v_mul(x, x), x), v_splat(0.044715f), x);
    return v_mul(x, sigmoid(v_mul(cubic, v_splat(2.0f * 0.7978845608028654f))));
}

/* tanh(x) = 2 sigmoid(2 x) - 1; near 0, where that cancels, x - x^3 / 3 + 2 x^5 / 15 */
V_INLINE float tanh_scalar(float x) {
    if (x > -0.04f && x < 0.04f) {
        const float square = x * x;
        return x * (1.0f + square * (-1.0f / 3.0f + square * (2.0f / 15.0f)));
    }
    float lanes[VF];
    v_store(lanes, sigmoid(v_splat(2.0f * x)));
    return 2.0f * lanes[0] - 1.0f;
}

/* This thread's part of rows that lie side by side, in whole vectors but for the last one. */
static void share_values(const ox_run *run, const ox_buffer *buffer, uint32_t n_rows, size_t *first,
                         size_t *last) {
    const size_t n = (size_t)n_rows * buffer->width, n_vectors = (n + VF - 1) / VF;
    *first = n_vectors * run->thread / run->n_threads * VF;
    *last = n_vectors * (run->thread + 1) / run->n_threads * VF;
    if (*last > n) *last = n;
}

void ox_glu(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const float *gate = ox_row(ox_buffer_at(run, op->src[0]), 0);
    const float *up = ox_row(ox_buffer_at(run, op->src[1]), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    size_t i, last;
    share_values(run, dst, n_rows, &i, &last);
    for (; i < last; i += VF) {
        const uint32_t n = last - i < VF ? (uint32_t)(last - i) : VF;
        const vf32 g = n == VF ? v_load(gate + i) : v_load_part(gate + i, n);
        const vf32 u = n == VF ? v_load(up + i) : v_load_part(up + i, n);
        const vf32 y = v_mul(op->i[0] == 0 ? silu(g) : gelu(g), u);
        if (n == VF) {
            v_store(to + i, y);
        } else {
            v_store_part(to + i, n, y);
        }
    }
}

void ox_add(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const float *a = ox_row(ox_buffer_at(run, op->src[0]), 0);
    const float *b = ox_row(ox_buffer_at(run, op->src[1]), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    size_t i, last;
    share_values(run, dst, n_rows, &i, &last);
    for (; i + VF <= last; i += VF) v_store(to + i, v_add(v_load(a + i), v_load(b + i)));
    for (; i < last; i++) to[i] = a[i] + b[i];
}

void ox_softcap(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const float *x = ox_row(ox_buffer_at(run, op->src[0]), 0);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    float *to = ox_row(dst, 0);
    const float cap = op->f[0];
    size_t i, last;
    share_values(run, dst, n_rows, &i, &last);
    for (; i < last; i++) to[i] = cap * tanh_scalar(x[i] / cap);
}

void ox_select_rows(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *dst = ox_buffer_at(run, op->dst);
    const uint32_t *rows = (const uint32_t *)(uintptr_t)run->batch->outputs;
    uint32_t first, last;
    ox_share(run, n_rows, &first, &last);
    for (uint32_t i = first; i < last; i++) {
        __builtin_memcpy(ox_row(dst, i), ox_row(src, rows[i]), (size_t)dst->width * sizeof(float));
    }
}
