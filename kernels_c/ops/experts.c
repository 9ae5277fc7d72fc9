/* OX_SELECT_EXPERTS, OX_EXPERT_LINEAR, OX_EXPERT_SUM: a mixture of experts, of which each token
 * uses a few (Shazeer et al. 2017, https://arxiv.org/abs/1701.06538).
 *
 * A row of routes holds the numbers of a token's n_used experts, then their weights, all float32. A
 * pair is a token with one of its experts; its number is token * n_used + k. A row of a buffer with
 * pairs, [n_used][width], holds the pairs of one token. Pairs are sorted by expert and multiplied
 * expert by expert, so that an expert's weights are read once for all tokens of a batch. */
#include "ops/linear.h"
#include "ops/linear_float.h"
#include "simd/vmath.h"

/* 1 if logit i ranks before logit j: the larger first, then the smaller index; NaN last. */
static int comes_before(const float *logits, uint32_t i, uint32_t j) {
    const float a = logits[i], b = logits[j];
    if (a != a || b != b) return a != a && b != b ? i < j : b != b;
    return a != b ? a > b : i < j;
}

/* Writes the numbers and weights of the n_used largest of n logits, in descending order. */
static void select_experts(const float *logits, uint32_t n, uint32_t n_used, int32_t weighting,
                           float *route) {
    uint32_t last = 0;
    for (uint32_t k = 0; k < n_used; k++) {
        uint32_t best = n;
        for (uint32_t i = 0; i < n; i++) {
            if (k && !comes_before(logits, last, i)) continue;
            if (best == n || comes_before(logits, i, best)) best = i;
        }
        route[k] = (float)best;
        last = best;
    }
    if (weighting == OX_SIGMOID) {
        for (uint32_t k = 0; k < n_used; k++) {
            route[n_used + k] = 1.0f / (1.0f + v_exp_one(-logits[(uint32_t)route[k]]));
        }
        return;
    }
    const float max = logits[(uint32_t)route[0]];
    const int of_used = weighting == OX_SOFTMAX_OF_USED;
    float sum = 0.0f, sum_of_used = 0.0f;
    for (uint32_t k = 0; k < n_used; k++) {
        route[n_used + k] = v_exp_one(logits[(uint32_t)route[k]] - max);
        sum_of_used += route[n_used + k];
    }
    for (uint32_t i = 0; i < n && !of_used; i++) sum += v_exp_one(logits[i] - max);
    const float factor = 1.0f / (of_used ? sum_of_used : sum);
    for (uint32_t k = 0; k < n_used; k++) route[n_used + k] *= factor;
}

void ox_select_experts(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *dst = ox_buffer_at(run, op->dst);
    uint32_t first, last;
    ox_partition(run, n_rows, &first, &last);
    for (uint32_t t = first; t < last; t++) {
        select_experts(ox_row(src, t), src->width, (uint32_t)op->i[0], op->i[1], ox_row(dst, t));
    }
}

/* The pairs of a batch in the order of their experts. */
typedef struct routing {
    uint32_t n_experts;
    uint32_t n_used;
    uint32_t n_pairs;
    uint32_t *starts; /* [n_experts + 1] where the pairs of an expert start */
    uint32_t *pairs;  /* [n_pairs] */
} routing;

static uint64_t routing_bytes(uint32_t n_experts, uint32_t n_pairs) {
    return ((uint64_t)n_experts + 1 + n_pairs) * sizeof(uint32_t);
}

static uint32_t expert_of(const routing *r, const ox_buffer *routes, uint32_t pair) {
    const float number = ox_row(routes, pair / r->n_used)[pair % r->n_used];
    return number >= 0.0f && number < (float)r->n_experts ? (uint32_t)number : 0;
}

/* A counting sort. Every thread does it for itself, which is quicker than waiting for another. */
static routing route(const ox_buffer *routes, uint32_t n_experts, uint32_t n_rows,
                     uint8_t *memory) {
    routing r = {.n_experts = n_experts, .n_used = routes->width / 2};
    r.n_pairs = n_rows * r.n_used;
    r.starts = (uint32_t *)(void *)memory;
    r.pairs = r.starts + n_experts + 1;
    for (uint32_t e = 0; e <= n_experts; e++) r.starts[e] = 0;
    for (uint32_t p = 0; p < r.n_pairs; p++) r.starts[expert_of(&r, routes, p) + 1]++;
    for (uint32_t e = 0; e < n_experts; e++) r.starts[e + 1] += r.starts[e];
    for (uint32_t p = 0; p < r.n_pairs; p++) {
        r.pairs[r.starts[expert_of(&r, routes, p)]++] = p;
    }
    /* each start has advanced to the next one: move them back */
    for (uint32_t e = n_experts; e > 0; e--) r.starts[e] = r.starts[e - 1];
    r.starts[0] = 0;
    return r;
}

static ox_tensor expert_at(const ox_tensor *weight, uint32_t n_experts, uint32_t expert) {
    ox_tensor one = *weight;
    one.n_out = weight->n_out / n_experts;
    one.bytes = weight->bytes / n_experts;
    one.data = weight->data + one.bytes * expert;
    return one;
}

/* Shared scratch: the inputs of the sorted pairs as float32, then quantized, expert by expert. */
static uint64_t gathered_bytes(uint32_t n_in, uint32_t n_pairs) {
    return ox_align64((uint64_t)n_pairs * n_in * sizeof(float));
}

uint64_t ox_expert_shared_bytes(const ox_tensor *weight, uint32_t n_experts, uint32_t n_pairs) {
    ox_format format;
    const uint64_t gathered = gathered_bytes(weight->n_in, n_pairs);
    if (!ox_find_format(weight->format, &format)) return gathered;
    /* the last group of an expert may be padded, and there are at most n_pairs groups */
    const uint64_t n_active = n_experts < n_pairs ? n_experts : n_pairs;
    const uint64_t n_blocks = weight->n_in / 32, n_padded = n_pairs + n_active * V_TILE_TOKENS;
    return gathered + 2 * n_padded * n_blocks * sizeof(ox_act_block) +
           n_pairs * (n_blocks + 1) * sizeof(uint32_t) + 64 * n_active;
}

uint64_t ox_expert_local_bytes(const ox_tensor *weight, uint32_t n_experts, uint32_t n_pairs) {
    return ox_align64(ox_linear_local_bytes(weight, n_pairs)) + routing_bytes(n_experts, n_pairs);
}

/* Copies the inputs of this thread's part of the sorted pairs. The experts of a token have one
 * input in common, or one each. */
static void gather(const ox_run *run, const routing *r, const ox_buffer *src, uint32_t n_in,
                   float *to) {
    const uint32_t shared_by = src->width == n_in ? r->n_used : 1;
    uint32_t first, last;
    ox_partition(run, r->n_pairs, &first, &last);
    for (uint32_t i = first; i < last; i++) {
        const float *from = ox_row(src, 0) + (size_t)(r->pairs[i] / shared_by) * n_in;
        __builtin_memcpy(to + (size_t)i * n_in, from, (size_t)n_in * sizeof(float));
    }
}

/* 1 if the operation before this one has left the same inputs in the shared scratch, quantized if
 * this one needs them quantized. */
static int32_t input_is_ready(const ox_run *run, const ox_op *op) {
    const ox_op *ops = (const ox_op *)(uintptr_t)run->model->ops, *previous = op - 1;
    ox_format format;
    if (op <= ops || op >= ops + run->model->n_ops || ox_has_barrier(run, op)) return 0;
    if (previous->kind != OX_EXPERT_LINEAR || previous->src[0] != op->src[0] ||
        previous->src[1] != op->src[1] || previous->i[0] != op->i[0]) {
        return 0;
    }
    const ox_tensor *weight = ox_tensor_at(run, op->tensor[0]);
    const ox_tensor *before = ox_tensor_at(run, previous->tensor[0]);
    return before->n_in == weight->n_in &&
           (ox_find_format(before->format, &format) || !ox_find_format(weight->format, &format));
}

/* Quantizes the gathered inputs expert by expert, so that no group of tokens has two experts. */
static void quantize_inputs(const ox_run *run, const routing *r, uint32_t n_in,
                            const float *gathered, uint8_t *to) {
    for (uint32_t e = 0; e < r->n_experts; e++) {
        const uint32_t start = r->starts[e], n = r->starts[e + 1] - start;
        if (n == 0) continue;
        const ox_activations acts = ox_activations_at(to, n_in, n);
        ox_quantize_rows(run, &acts, gathered + (size_t)start * n_in, n);
        to += ox_align64(ox_activation_bytes(n_in, n));
    }
}

/* The products of all experts with their pairs; results are in the order of the pairs' numbers. */
static void multiply(const ox_run *run, const ox_op *op, const routing *r, const float *gathered,
                     uint8_t *quantized) {
    const ox_tensor *weight = ox_tensor_at(run, op->tensor[0]);
    const uint32_t n_in = weight->n_in;
    ox_queue queue = ox_queue_of(run, op);
    ox_format format;
    const int32_t is_quantized = ox_find_format(weight->format, &format);
    for (uint32_t e = 0; e < r->n_experts; e++) {
        const uint32_t start = r->starts[e], n = r->starts[e + 1] - start;
        if (n == 0) continue;
        const ox_tensor one = expert_at(weight, r->n_experts, e);
        const ox_product product = {
            .weight = &one,
            .src = gathered + (size_t)start * n_in,
            .dst = ox_row(ox_buffer_at(run, op->dst), 0),
            .dst_stride = one.n_out,
            .dst_rows = r->pairs + start,
            .n_rows = n,
        };
        if (is_quantized) {
            const ox_activations acts = ox_activations_at(quantized, n_in, n);
            ox_linear_quantized(run, &queue, &product, &format, &acts);
            quantized += ox_align64(ox_activation_bytes(n_in, n));
        } else {
            ox_linear_float(run, &queue, &product);
        }
    }
}

void ox_expert_linear(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    if (n_rows == 0) return;
    const ox_tensor *weight = ox_tensor_at(run, op->tensor[0]);
    const ox_buffer *routes = ox_buffer_at(run, op->src[1]);
    const uint32_t n_in = weight->n_in, n_pairs = n_rows * (routes->width / 2);
    uint8_t *tables = run->local + ox_align64(ox_linear_local_bytes(weight, n_pairs));
    const routing r = route(routes, (uint32_t)op->i[0], n_rows, tables);
    float *gathered = (float *)(void *)run->shared;
    uint8_t *quantized = run->shared + gathered_bytes(n_in, n_pairs);
    ox_format format;
    if (!input_is_ready(run, op)) {
        /* another thread may still be reading what the operation before has put there */
        if (!ox_has_barrier(run, op)) ox_barrier_wait(run);
        gather(run, &r, ox_buffer_at(run, op->src[0]), n_in, gathered);
        ox_barrier_wait(run);
        if (ox_find_format(weight->format, &format)) {
            quantize_inputs(run, &r, n_in, gathered, quantized);
            ox_barrier_wait(run);
        }
    }
    multiply(run, op, &r, gathered, quantized);
}

/* dst[i] = sum of weight[k] * src[k][i] over a token's experts, in their order. */
static void sum_experts(const float *src, const float *weights, uint32_t n_used, uint32_t n,
                        float *dst) {
    for (uint32_t i = 0; i < n; i += VF) {
        const uint32_t left = n - i;
        vf32 sum = v_zero();
        for (uint32_t k = 0; k < n_used; k++) {
            const float *from = src + (size_t)k * n + i;
            sum = v_fma(v_splat(weights[k]), v_load_upto(from, left), sum);
        }
        v_store_upto(dst + i, left, sum);
    }
}

void ox_expert_sum(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *src = ox_buffer_at(run, op->src[0]), *routes = ox_buffer_at(run, op->src[1]);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const uint32_t n_used = routes->width / 2;
    uint32_t first, last;
    ox_partition(run, n_rows, &first, &last);
    for (uint32_t t = first; t < last; t++) {
        sum_experts(ox_row(src, t), ox_row(routes, t) + n_used, n_used, dst->width, ox_row(dst, t));
    }
}
