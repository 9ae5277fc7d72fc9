/* SelectiveScan: a linear recurrence with a state of [n_state][head_dim] a head.
 *
 * A thread takes a block of columns of one head and goes through all tokens with it, as in
 * gated_delta_rule.c. */
#include "ops/operands.h"
#include "simd/vmath.h"

enum { N_VECTORS = 4, COLUMNS = N_VECTORS * VF }; /* a block; its sums stay in registers */

typedef struct selective_scan_args {
    int32_t x, step, b, c; /* buffers */
    int32_t bias;          /* a vector as wide as step, or -1 */
    int32_t rate;          /* float32 [n_heads], or [n_heads * head_dim][n_state] */
    int32_t skip;          /* float32 [n_heads], or [n_heads * head_dim] */
    int32_t state;         /* [n_heads * n_state][head_dim] */
    int32_t n_heads, n_groups;
} selective_scan_args;
OX_OPERANDS(selective_scan)

/* The number of values of a float32 tensor of any shape, 0 if it is none. */
static uint64_t count_values(const ox_tensor *tensor) {
    if (!tensor || tensor->format != OX_F32 || tensor->data == 0) return 0;
    const uint64_t n = (uint64_t)tensor->n_in * tensor->n_out;
    return n <= 1ull << 40 && tensor->bytes == n * sizeof(float) ? n : 0;
}

int32_t ox_check_selective_scan(const ox_model *model, const ox_op *op) {
    const selective_scan_args args = selective_scan_args_of(op);
    const ox_buffer *x = ox_find_buffer(model, args.x), *step = ox_find_buffer(model, args.step);
    const ox_buffer *b = ox_find_buffer(model, args.b), *c = ox_find_buffer(model, args.c);
    const ox_buffer *dst = ox_find_buffer(model, op->dst);
    if (!ox_is_batch(x) || !ox_same_shape(x, dst) || !ox_is_batch(step) || !ox_is_batch(b) ||
        !ox_same_shape(b, c) || !ox_is_divided(dst) || dst == x || dst == step || dst == b ||
        dst == c || args.n_heads <= 0 || args.n_groups <= 0) {
        return OX_BAD_MODEL;
    }
    const uint32_t n_heads = (uint32_t)args.n_heads, n_groups = (uint32_t)args.n_groups;
    if (n_heads % n_groups || x->width % n_heads || b->width % n_groups) return OX_BAD_MODEL;
    const uint64_t n_state = b->width / n_groups, head_dim = x->width / n_heads;
    const uint64_t n_rates = count_values(ox_find_tensor(model, args.rate));
    const uint64_t n_skips = count_values(ox_find_tensor(model, args.skip));
    const int32_t is_of_heads = n_rates == n_heads && step->width == n_heads;
    const int32_t is_of_values = n_rates == x->width * n_state && step->width == x->width;
    return ox_model_status(
        (is_of_heads || is_of_values) && (n_skips == n_heads || n_skips == x->width) &&
        (args.bias < 0 || ox_is_vector(ox_find_tensor(model, args.bias), step->width)) &&
        ox_is_state(model, args.state, n_heads * n_state, head_dim));
}

ox_scratch ox_selective_scan_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                                     uint32_t n_threads) {
    const selective_scan_args args = selective_scan_args_of(op);
    const ox_buffer *b = ox_find_buffer(model, args.b);
    (void)n_tokens, (void)n_threads;
    /* the rates of a block */
    return (ox_scratch){0, (uint64_t)b->width * COLUMNS * sizeof(float), 0};
}

/* Some columns of one head. */
typedef struct columns {
    const float *bias, *skip; /* bias: NULL if there is none */
    const float *rates;       /* one, or [n_state][COLUMNS] */
    float *state;
    size_t stride; /* from a row of the state to the next */
    uint32_t n_state;
    int32_t each;      /* 1: steps and rates are those of columns, 0: of the head */
    int32_t each_skip; /* the same of skip */
} columns;

static inline float load_one(const float *p) { return v_float_of_bits(v_load_u32(p)); }

V_INLINE vf32 load_each(const float *p, const int32_t each, uint32_t n) {
    return each ? v_load_upto(p, n) : v_splat(load_one(p));
}

/* One token: state = exp(step * rate) * state + b (step * x)^T, to = state^T c + skip * x.
 * n_vectors and each are constants in every call, and in the one for whole blocks so is n_columns.
 */
V_INLINE void scan(const columns *at, const float *x, const float *step, const float *b,
                   const float *c, const uint32_t n_vectors, const uint32_t n_columns,
                   const int32_t each, float *to) {
    vf32 steps[N_VECTORS], inputs[N_VECTORS], sum[N_VECTORS];
    for (uint32_t v = 0; v < n_vectors; v++) {
        const uint32_t n = n_columns - v * VF, i = each ? v * VF : 0;
        vf32 raw = load_each(step + i, each, n);
        if (at->bias) raw = v_add(raw, load_each(at->bias + i, each, n));
        steps[v] = each || v == 0 ? v_softplus(raw) : steps[0];
        inputs[v] = v_mul(steps[v], v_load_upto(x + v * VF, n));
        sum[v] = v_zero();
    }
    const vf32 decay = each ? v_zero() : v_exp(v_mul(steps[0], v_splat(load_one(at->rates))));
    for (uint32_t i = 0; i < at->n_state; i++) {
        float *row = at->state + i * at->stride;
        const vf32 in = v_splat(b[i]), out = v_splat(c[i]);
        for (uint32_t v = 0; v < n_vectors; v++) {
            const uint32_t n = n_columns - v * VF;
            vf32 left = decay;
            if (each) left = v_exp(v_mul(steps[v], v_load(at->rates + i * COLUMNS + v * VF)));
            const vf32 old = v_mul(left, v_load_upto(row + v * VF, n));
            const vf32 changed = v_fma(in, inputs[v], old);
            v_store_upto(row + v * VF, n, changed);
            sum[v] = v_fma(out, changed, sum[v]);
        }
    }
    for (uint32_t v = 0; v < n_vectors; v++) {
        const uint32_t n = n_columns - v * VF, i = at->each_skip ? v * VF : 0;
        const vf32 skip = load_each(at->skip + i, at->each_skip, n);
        v_store_upto(to + v * VF, n, v_fma(skip, v_load_upto(x + v * VF, n), sum[v]));
    }
}

static void scan_any(const columns *at, const float *x, const float *step, const float *b,
                     const float *c, uint32_t n_columns, float *to) {
    if (n_columns == COLUMNS) {
        if (at->each) {
            scan(at, x, step, b, c, N_VECTORS, COLUMNS, 1, to);
        } else {
            scan(at, x, step, b, c, N_VECTORS, COLUMNS, 0, to);
        }
        return;
    }
    for (uint32_t i = 0; i < n_columns; i += VF) {
        const uint32_t n = n_columns - i < VF ? n_columns - i : VF, own = at->each ? i : 0;
        columns part = *at;
        part.state += i;
        if (at->each) part.rates += i;
        if (at->each && at->bias) part.bias += i;
        if (at->each_skip) part.skip += i;
        if (at->each) {
            scan(&part, x + i, step + own, b, c, 1, n, 1, to + i);
        } else {
            scan(&part, x + i, step, b, c, 1, n, 0, to + i);
        }
    }
}

/* The rates of n columns, [n_state][COLUMNS], from those of the columns' own rows. */
static void transpose_rates(const float *rates, uint32_t n_state, uint32_t n, float *to) {
    for (uint32_t i = 0; i < n_state; i++) {
        for (uint32_t j = 0; j < COLUMNS; j++) {
            to[i * COLUMNS + j] = j < n ? load_one(rates + (size_t)j * n_state + i) : 0.0f;
        }
    }
}

void ox_selective_scan(const ox_run *run, const ox_op *op) {
    const selective_scan_args args = selective_scan_args_of(op);
    const ox_buffer *x = ox_buffer_at(run, args.x), *step = ox_buffer_at(run, args.step);
    const ox_buffer *b = ox_buffer_at(run, args.b), *c = ox_buffer_at(run, args.c);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const float *bias = ox_vector_at(run, args.bias), *rates = ox_vector_at(run, args.rate);
    const float *skips = ox_vector_at(run, args.skip);
    const uint32_t n_heads = (uint32_t)args.n_heads, head_dim = x->width / n_heads;
    const uint32_t n_state = b->width / (uint32_t)args.n_groups;
    const uint32_t n_blocks = (head_dim + COLUMNS - 1) / COLUMNS;
    const ox_tensor *rate = ox_tensor_at(run, args.rate), *skip = ox_tensor_at(run, args.skip);
    const int32_t each = (uint64_t)rate->n_in * rate->n_out != n_heads;
    const int32_t each_skip = (uint64_t)skip->n_in * skip->n_out != n_heads;
    float *transposed = (float *)(void *)run->local;
    uint32_t item, last;
    ox_partition(run, n_heads * n_blocks, &item, &last);
    for (; item < last; item++) {
        const uint32_t head = item / n_blocks, column = item % n_blocks * COLUMNS;
        const uint32_t n_columns = head_dim - column < COLUMNS ? head_dim - column : COLUMNS;
        const size_t value_at = (size_t)head * head_dim + column;
        const size_t own_at = each ? value_at : head;
        const size_t group_at = (size_t)(head / (n_heads / (uint32_t)args.n_groups)) * n_state;
        columns at = {
            .bias = bias ? bias + own_at : NULL,
            .skip = skips + (each_skip ? value_at : head),
            .rates = each ? transposed : rates + head,
            .stride = head_dim,
            .n_state = n_state,
            .each = each,
            .each_skip = each_skip,
        };
        if (each) transpose_rates(rates + value_at * n_state, n_state, n_columns, transposed);
        for (uint32_t s = 0; s < run->batch->n_sequences; s++) {
            const ox_sequence *sequence = ox_sequence_at(run, s);
            at.state =
                ox_state_of(run, sequence, args.state) + (size_t)head * n_state * head_dim + column;
            for (uint32_t i = 0; i < sequence->n_tokens; i++) {
                const uint32_t t = sequence->first_token + i;
                scan_any(&at, ox_row(x, t) + value_at, ox_row(step, t) + own_at,
                         ox_row(b, t) + group_at, ox_row(c, t) + group_at, n_columns,
                         ox_row(dst, t) + value_at);
            }
        }
    }
}
