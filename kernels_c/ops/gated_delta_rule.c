/* GatedDeltaRule: linear attention with a state of [k_dim][v_dim] a head, corrected by each token.
 *
 * The columns of a state depend on nothing of each other. A thread takes a block of columns of one
 * head and goes through all tokens with it, token by token, so that the block stays in the nearest
 * cache, and the result does not depend on how tokens are divided into passes. */
#include "ops/operands.h"
#include "simd/simd.h"

enum { N_VECTORS = 4, COLUMNS = N_VECTORS * VF }; /* a block; its sums stay in registers */

typedef struct gated_delta_rule_args {
    int32_t query, key, value, decay, beta; /* buffers */
    int32_t state;                          /* [n_heads * k_dim][v_dim] */
    int32_t n_heads, n_key_heads;
    int32_t in_turn; /* 1: head h takes key head h % n_key_heads, 0: neighbours share one */
    float query_scale, key_scale;
} gated_delta_rule_args;
OX_OPERANDS(gated_delta_rule)

int32_t ox_check_gated_delta_rule(const ox_model *model, const ox_op *op) {
    const gated_delta_rule_args args = gated_delta_rule_args_of(op);
    const ox_buffer *query = ox_find_buffer(model, args.query);
    const ox_buffer *key = ox_find_buffer(model, args.key);
    const ox_buffer *value = ox_find_buffer(model, args.value);
    const ox_buffer *decay = ox_find_buffer(model, args.decay);
    const ox_buffer *beta = ox_find_buffer(model, args.beta);
    const ox_buffer *dst = ox_find_buffer(model, op->dst);
    if (!ox_is_batch(query) || !ox_same_shape(query, key) || !ox_is_batch(value) ||
        !ox_same_shape(value, dst) || !ox_is_batch(decay) || !ox_is_batch(beta) ||
        !ox_is_divided(dst) || dst == query || dst == key || dst == value || dst == decay ||
        dst == beta || args.n_heads <= 0 || args.n_key_heads <= 0) {
        return OX_BAD_MODEL;
    }
    const uint32_t n_heads = (uint32_t)args.n_heads, n_key_heads = (uint32_t)args.n_key_heads;
    if (n_heads % n_key_heads || key->width % n_key_heads || value->width % n_heads) {
        return OX_BAD_MODEL;
    }
    const uint64_t n_rows = (uint64_t)n_heads * (key->width / n_key_heads);
    return ox_model_status((decay->width == n_heads || decay->width == n_rows) &&
                           beta->width == n_heads &&
                           ox_is_state(model, args.state, n_rows, value->width / n_heads));
}

/* Some columns of one head's state, and what one token brings. */
typedef struct token {
    const float *query, *key; /* [k_dim] */
    const float *decay;       /* one value, or [k_dim] */
    const float *value;       /* of these columns */
    float beta;
} token;

/* n_columns of a state: at most n_vectors * VF. n_vectors is a constant in every call, and in the
 * one for whole blocks so is n_columns. each: whether each value of a key has a decay. */
V_INLINE void step(const gated_delta_rule_args *args, const token *in, const int32_t each,
                   float *state, size_t stride, uint32_t k_dim, const uint32_t n_vectors,
                   const uint32_t n_columns, float *to) {
    vf32 sum[N_VECTORS], delta[N_VECTORS];
    for (uint32_t v = 0; v < n_vectors; v++) sum[v] = v_zero();
    vf32 decay = v_splat(in->decay[0]);
    for (uint32_t i = 0; i < k_dim; i++) {
        const float *row = state + i * stride;
        const vf32 key = v_splat(in->key[i]);
        if (each) decay = v_splat(in->decay[i]);
        for (uint32_t v = 0; v < n_vectors; v++) {
            const vf32 old = v_load_upto(row + v * VF, n_columns - v * VF);
            sum[v] = v_fma(key, v_mul(decay, old), sum[v]);
        }
    }
    const vf32 scale = v_splat(args->key_scale), weight = v_splat(in->beta * args->key_scale);
    for (uint32_t v = 0; v < n_vectors; v++) {
        const vf32 value = v_load_upto(in->value + v * VF, n_columns - v * VF);
        delta[v] = v_mul(weight, v_sub(value, v_mul(scale, sum[v])));
        sum[v] = v_zero();
    }
    for (uint32_t i = 0; i < k_dim; i++) {
        float *row = state + i * stride;
        const vf32 key = v_splat(in->key[i]), query = v_splat(in->query[i]);
        if (each) decay = v_splat(in->decay[i]);
        for (uint32_t v = 0; v < n_vectors; v++) {
            const vf32 old = v_load_upto(row + v * VF, n_columns - v * VF);
            const vf32 changed = v_fma(key, delta[v], v_mul(decay, old));
            v_store_upto(row + v * VF, n_columns - v * VF, changed);
            sum[v] = v_fma(query, changed, sum[v]);
        }
    }
    const vf32 query_scale = v_splat(args->query_scale);
    for (uint32_t v = 0; v < n_vectors; v++) {
        v_store_upto(to + v * VF, n_columns - v * VF, v_mul(query_scale, sum[v]));
    }
}

static void step_any(const gated_delta_rule_args *args, const token *in, int32_t each, float *state,
                     size_t stride, uint32_t k_dim, uint32_t n_columns, float *to) {
    /* the loop for whole blocks is a function of its own */
    if (n_columns == COLUMNS) {
        if (each) {
            step(args, in, 1, state, stride, k_dim, N_VECTORS, COLUMNS, to);
        } else {
            step(args, in, 0, state, stride, k_dim, N_VECTORS, COLUMNS, to);
        }
        return;
    }
    for (uint32_t c = 0; c < n_columns; c += VF) {
        const uint32_t n = n_columns - c < VF ? n_columns - c : VF;
        token part = *in;
        part.value += c;
        step(args, &part, each, state + c, stride, k_dim, 1, n, to + c);
    }
}

void ox_gated_delta_rule(const ox_run *run, const ox_op *op) {
    const gated_delta_rule_args args = gated_delta_rule_args_of(op);
    const ox_buffer *query = ox_buffer_at(run, args.query), *key = ox_buffer_at(run, args.key);
    const ox_buffer *value = ox_buffer_at(run, args.value), *decay = ox_buffer_at(run, args.decay);
    const ox_buffer *beta = ox_buffer_at(run, args.beta), *dst = ox_buffer_at(run, op->dst);
    const uint32_t n_heads = (uint32_t)args.n_heads, n_key_heads = (uint32_t)args.n_key_heads;
    const uint32_t k_dim = key->width / n_key_heads, v_dim = value->width / n_heads;
    const uint32_t n_blocks = (v_dim + COLUMNS - 1) / COLUMNS;
    const int32_t each = decay->width != n_heads;
    uint32_t item, last;
    ox_partition(run, n_heads * n_blocks, &item, &last);
    for (; item < last; item++) {
        const uint32_t head = item / n_blocks, column = item % n_blocks * COLUMNS;
        const uint32_t key_head =
            args.in_turn ? head % n_key_heads : head / (n_heads / n_key_heads);
        const uint32_t n_columns = v_dim - column < COLUMNS ? v_dim - column : COLUMNS;
        const size_t value_at = (size_t)head * v_dim + column, key_at = (size_t)key_head * k_dim;
        for (uint32_t s = 0; s < run->batch->n_sequences; s++) {
            const ox_sequence *sequence = ox_sequence_at(run, s);
            float *state =
                ox_state_of(run, sequence, args.state) + (size_t)head * k_dim * v_dim + column;
            for (uint32_t i = 0; i < sequence->n_tokens; i++) {
                const uint32_t t = sequence->first_token + i;
                const token in = {
                    .query = ox_row(query, t) + key_at,
                    .key = ox_row(key, t) + key_at,
                    .decay = ox_row(decay, t) + (each ? (size_t)head * k_dim : head),
                    .value = ox_row(value, t) + value_at,
                    .beta = ox_row(beta, t)[head],
                };
                step_any(&args, &in, each, state, v_dim, k_dim, n_columns,
                         ox_row(dst, t) + value_at);
            }
        }
    }
}
