/* Attention: grouped-query attention over the paged cache.
 *
 * Keys are read 64 positions at a time, with an online softmax (Milakov and Gimelshein 2018,
 * https://arxiv.org/abs/1805.02867; Dao et al. 2022, https://arxiv.org/abs/2205.14135): a row keeps
 * a running max of its scores, a running sum of exp(score - max) and an accumulator, the weighted
 * sum of values. It rescales sum and accumulator when the max grows. No score outlives its tile.
 *
 * The keys are divided into splits of 256 positions, as in flash-decoding. Each split starts from
 * an empty sum and is then merged into the splits before it, so that threads can work on different
 * splits of a row. Tiles and splits begin at fixed positions: a row's result does not depend on how
 * queries are divided into batches or between threads, nor on other sequences in the batch.
 *
 * A row is one query head of one token. The rows of a tile have one sequence and one key head. The
 * cache keeps keys transposed, so that every lane of a vector is another key. A few rows (decode)
 * are multiplied straight from the cache; for more (prefill) a tile's keys and values are converted
 * to float32 first.
 */
#include "ops/attention_tile.h"
#include "ops/operands.h"
#include "simd/vmath.h"

enum {
    MAX_ROWS = 64, /* in a tile, unless a single token has more */
    SPLIT = 4 * KEYS,
    MAX_SPLITS = 128 /* of a row, for threads to divide them between them */
};

static uint32_t max_rows(uint32_t group) { return group > MAX_ROWS ? group : MAX_ROWS; }

/* dst = softmax(scale * q k^T) v over a layer of the cache of the token's own sequence. A token
 * sees itself and the positions before it. */
typedef struct attention_args {
    int32_t queries; /* a buffer */
    int32_t layer;
    int32_t n_heads; /* of the queries */
    float scale;
    int32_t window;  /* > 0: it sees only this many positions, its own included */
    float softcap;   /* > 0: scores become softcap * tanh(score / softcap) before the softmax */
    int32_t causal;  /* 0: it sees its sequence to the end of the batch, or window / 2 positions
                      * before and after it */
    int32_t slopes;  /* a constant of n_heads values: a score falls by slope * distance; or -1 */
    int32_t sinks;   /* a vector of n_heads scores without values, or -1 */
    int32_t buckets; /* a constant: rows of position_bias, by the distance of a key; or -1 */
    int32_t position_bias; /* [n_buckets][n_heads], which is added to scores, or -1 */
} attention_args;
OX_OPERANDS(attention)

/* 1 if the numbers of buckets are an odd number of rows of the bias, or there is neither. */
static int32_t position_bias_fits(const ox_model *model, const attention_args *args) {
    const ox_tensor *buckets = ox_find_constant(model, args->buckets);
    const ox_tensor *bias = ox_find_tensor(model, args->position_bias);
    const uint32_t n_heads = (uint32_t)args->n_heads;
    if (args->buckets < 0 && args->position_bias < 0) return 1;
    if (!buckets || buckets->n_in % 2 == 0 || !ox_is_vector(buckets, buckets->n_in)) return 0;
    if (!bias || bias->n_in % n_heads || bias->n_out != 1 || !bias->data) return 0;
    if (bias->bytes != (uint64_t)bias->n_in * ox_bias_value_bytes(bias->format)) return 0;
    for (uint32_t i = 0; i < buckets->n_in; i++) {
        const float row =
            v_float_of_bits(v_load_u32((const uint8_t *)(uintptr_t)buckets->data + 4 * i));
        if (!(row >= 0.0f && row < (float)(bias->n_in / n_heads))) return 0;
    }
    return 1;
}

int32_t ox_check_attention(const ox_model *model, const ox_op *op) {
    const attention_args args = attention_args_of(op);
    const ox_buffer *q = ox_find_buffer(model, args.queries), *dst = ox_find_buffer(model, op->dst);
    const ox_kv_layer *layer = ox_find_layer(model, args.layer);
    const ox_tensor *slopes = ox_find_constant(model, args.slopes);
    const ox_tensor *sinks = ox_find_tensor(model, args.sinks);
    return ox_model_status(
        ox_is_divided(dst) && ox_is_batch(q) && ox_is_batch(dst) && q != dst && layer &&
        args.n_heads > 0 && (uint32_t)args.n_heads % layer->n_heads == 0 && args.window >= 0 &&
        (args.slopes < 0 || ox_is_vector(slopes, (uint32_t)args.n_heads)) &&
        (args.sinks < 0 || ox_is_vector(sinks, (uint32_t)args.n_heads)) &&
        position_bias_fits(model, &args) && (args.causal == 1 || args.causal == 0) &&
        q->width == (uint64_t)args.n_heads * layer->k_dim &&
        dst->width == (uint64_t)args.n_heads * layer->v_dim);
}

/* The partial result of a row from one split: max, sum, accumulator. */
static uint32_t partial_stride(const ox_kv_layer *layer) { return pad(layer->v_dim + 2, 16); }

ox_scratch ox_attention_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                                uint32_t n_threads) {
    (void)n_tokens;
    const attention_args args = attention_args_of(op);
    const ox_kv_layer *layer = ox_find_layer(model, args.layer);
    if (!layer) return (ox_scratch){0, 0, 0};
    const uint64_t k_stride = pad(layer->k_dim, 2 * VF), v_stride = pad(layer->v_dim, 2 * VF);
    const uint64_t n_heads = (uint32_t)args.n_heads;
    const uint64_t rows = max_rows((uint32_t)args.n_heads / layer->n_heads);
    const uint64_t values =
        rows * (k_stride + KEYS + 2 * v_stride + 10) + KEYS * (k_stride + v_stride);
    const uint64_t partials = MAX_SPLITS * n_heads * partial_stride(layer);
    return (ox_scratch){.shared = n_threads > 1 ? partials * sizeof(float) : 0,
                        .local = values * sizeof(float) + 64};
}

static ox_attention_tile tile_at(const ox_run *run, const ox_op *op) {
    const attention_args args = attention_args_of(op);
    const ox_kv_layer *layer = ox_kv_layer_at(run->model, args.layer);
    const uint32_t group = (uint32_t)args.n_heads / layer->n_heads, rows = max_rows(group);
    ox_attention_tile t = {
        .run = run,
        .src = ox_buffer_at(run, args.queries),
        .dst = ox_buffer_at(run, op->dst),
        .layer = layer,
        .scale = args.scale,
        .softcap = args.softcap,
        .window = (uint32_t)args.window,
        .is_causal = args.causal,
        .has_slopes = args.slopes >= 0,
        .sinks = ox_vector_at(run, args.sinks),
        .group = group,
        .n_heads = (uint32_t)args.n_heads,
    };
    t.k_stride = pad(layer->k_dim, 2 * VF);
    t.v_stride = pad(layer->v_dim, 2 * VF);
    t.queries = (float *)run->local;
    t.scores = t.queries + (size_t)rows * t.k_stride;
    t.acc = t.scores + (size_t)rows * KEYS;
    t.merged_acc = t.acc + (size_t)rows * t.v_stride;
    t.keys = t.merged_acc + (size_t)rows * t.v_stride;
    t.values = t.keys + (size_t)KEYS * t.k_stride;
    t.max = t.values + (size_t)KEYS * t.v_stride;
    t.sum = t.max + rows;
    t.factors = t.sum + rows;
    t.merged_max = t.factors + rows;
    t.merged_sum = t.merged_max + rows;
    t.slopes = t.merged_sum + rows;
    t.visible_first = (uint32_t *)(t.slopes + rows);
    t.visible_end = t.visible_first + rows;
    t.position = t.visible_end + rows;
    t.head = t.position + rows;
    if (t.has_slopes) {
        t.head_slopes = (const uint8_t *)(uintptr_t)ox_constant_at(run, args.slopes)->data;
    }
    if (args.position_bias >= 0) {
        const ox_tensor *buckets = ox_constant_at(run, args.buckets);
        const ox_tensor *bias = ox_tensor_at(run, args.position_bias);
        t.position_bias = (const uint8_t *)(uintptr_t)bias->data;
        t.bias_format = bias->format;
        t.buckets = (const uint8_t *)(uintptr_t)buckets->data;
        t.n_buckets = buckets->n_in;
    }
    return t;
}

/* The rows of one key head are numbered from the sequence's first token on. These give the place of
 * a row in the query and output buffers. */
static uint32_t token_of(const ox_attention_tile *t, uint32_t row) {
    return t->sequence->first_token + row / t->group;
}
static size_t head_of(const ox_attention_tile *t, uint32_t row) {
    return (size_t)t->kv_head * t->group + row % t->group;
}

/* The first position that a token sees. */
static uint32_t visible_first_of(const ox_attention_tile *t, uint32_t token) {
    const uint32_t position = ox_position(t->sequence, token);
    const uint32_t n_before = t->is_causal ? t->window - 1 : t->window / 2;
    return t->window && position > n_before ? position - n_before : 0;
}

/* The first position after it that a token does not see. */
static uint32_t visible_end_of(const ox_attention_tile *t, uint32_t token) {
    const uint32_t position = ox_position(t->sequence, token);
    const uint32_t n_after = t->sequence->position + t->sequence->n_tokens - position - 1;
    if (t->is_causal) return position + 1;
    return position + 1 + (t->window && t->window / 2 < n_after ? t->window / 2 : n_after);
}

/* Cached values are read in units (cached_unit) so small that products with them may be subnormal,
 * which is slow. Queries are multiplied by this factor to avoid it, unless it makes them infinite.
 */
static float query_factor_of(const float *query, uint32_t n) {
    vf32 max = v_zero();
    for (uint32_t i = 0; i < n; i += VF) max = v_max(max, v_abs(v_load(query + i)));
    return v_hmax(max) < 0x1p60f ? 0x1p64f : 1.0f;
}

static void load_queries(ox_attention_tile *t, uint32_t first, uint32_t last) {
    const uint32_t dim = t->layer->k_dim;
    const float unit = cached_unit(t->run->model->kv_format);
    t->n_rows = last - first;
    for (uint32_t r = 0; r < t->n_rows; r++) {
        const uint32_t row = first + r;
        const float *from = ox_row(t->src, token_of(t, row)) + head_of(t, row) * dim;
        float *to = t->queries + (size_t)r * t->k_stride;
        for (uint32_t i = 0; i < dim; i++) to[i] = from[i] * t->scale;
        for (uint32_t i = dim; i < t->k_stride; i++) to[i] = 0.0f;
        t->factors[r] = 1.0f;
        if (unit != 1.0f) {
            const float factor = query_factor_of(to, t->k_stride);
            for (uint32_t i = 0; i < dim; i++) to[i] *= factor;
            t->factors[r] = 1.0f / unit / factor;
        }
        t->visible_first[r] = visible_first_of(t, token_of(t, row));
        t->visible_end[r] = visible_end_of(t, token_of(t, row));
        t->position[r] = ox_position(t->sequence, token_of(t, row));
        t->head[r] = (uint32_t)head_of(t, row);
        if (t->has_slopes) {
            t->slopes[r] = v_float_of_bits(v_load_u32(t->head_slopes + 4 * head_of(t, row)));
        }
    }
}

static void clear_rows(const ox_attention_tile *t, float *acc, float *max, float *sum) {
    __builtin_memset(acc, 0, (size_t)t->n_rows * t->v_stride * sizeof(float));
    for (uint32_t r = 0; r < t->n_rows; r++) {
        max[r] = NEGATIVE_INFINITY;
        sum[r] = 0.0f;
    }
}

static void store_outputs(const ox_attention_tile *t, uint32_t first, uint32_t last) {
    const uint32_t dim = t->layer->v_dim;
    for (uint32_t row = first; row < last; row++) {
        const float *from = t->merged_acc + (size_t)(row - first) * t->v_stride;
        const float factor = 1.0f / t->merged_sum[row - first];
        float *to = ox_row(t->dst, token_of(t, row)) + head_of(t, row) * dim;
        for (uint32_t i = 0; i < dim; i++) to[i] = from[i] * factor;
    }
}

/* Attends to the keys of one split. */
static void attend_split(const ox_attention_tile *t, uint32_t first_key, uint32_t end_key) {
    clear_rows(t, t->acc, t->max, t->sum);
    for (uint32_t key = first_key; key < end_key; key += KEYS) {
        const uint32_t n = end_key - key < KEYS ? end_key - key : KEYS;
        const uint32_t next = key + KEYS < end_key ? key + KEYS : 0;
        ox_attend_keys(t, key, n, next);
    }
}

/* The score of a head's sink: as of a split before all others, whose value is 0. */
static float sink_of(const ox_attention_tile *t, size_t head) {
    return v_float_of_bits(v_load_u32((const uint8_t *)t->sinks + head * sizeof(float)));
}

/* Merges a split into the splits before it. */
static void merge_split(float max, float sum, const float *acc, uint32_t n, float *merged_max,
                        float *merged_sum, float *merged_acc) {
    if (sum == 0.0f) return; /* no key was visible */
    const float new_max = max > *merged_max ? max : *merged_max;
    const float before = *merged_max == NEGATIVE_INFINITY ? 0.0f : v_exp_one(*merged_max - new_max);
    const float factor = v_exp_one(max - new_max);
    for (uint32_t i = 0; i < n; i++) merged_acc[i] = merged_acc[i] * before + acc[i] * factor;
    *merged_sum = *merged_sum * before + sum * factor;
    *merged_max = new_max;
}

/* The keys that some row of the tile sees, rounded down to the start of a tile of keys. */
static void visible_keys(const ox_attention_tile *t, uint32_t *first_key, uint32_t *end_key) {
    *first_key = t->visible_first[0] / KEYS * KEYS;
    *end_key = t->visible_end[t->n_rows - 1];
}

static uint32_t split_end(uint32_t key, uint32_t end_key) {
    const uint32_t next = (key / SPLIT + 1) * SPLIT;
    return next < end_key ? next : end_key;
}

static void attend_rows(ox_attention_tile *t, uint32_t first, uint32_t last) {
    uint32_t key, end_key;
    load_queries(t, first, last);
    clear_rows(t, t->merged_acc, t->merged_max, t->merged_sum);
    for (uint32_t r = 0; t->sinks && r < t->n_rows; r++) {
        t->merged_max[r] = sink_of(t, head_of(t, first + r));
        t->merged_sum[r] = 1.0f;
    }
    visible_keys(t, &key, &end_key);
    for (uint32_t next; key < end_key; key = next) {
        next = split_end(key, end_key);
        attend_split(t, key, next);
        for (uint32_t r = 0; r < t->n_rows; r++) {
            const size_t at = (size_t)r * t->v_stride;
            merge_split(t->max[r], t->sum[r], t->acc + at, t->v_stride, t->merged_max + r,
                        t->merged_sum + r, t->merged_acc + at);
        }
    }
    store_outputs(t, first, last);
}

static float *partial_at(const ox_attention_tile *t, size_t head, uint32_t split) {
    return (float *)(void *)t->run->shared + (head * MAX_SPLITS + split) * partial_stride(t->layer);
}

/* Merges the partial results of a head into the output. */
static void merge_head(const ox_attention_tile *t, uint32_t head, uint32_t n_splits) {
    const uint32_t dim = t->layer->v_dim;
    float *to = ox_row(t->dst, 0) + (size_t)head * dim;
    float max = t->sinks ? sink_of(t, head) : NEGATIVE_INFINITY, sum = t->sinks ? 1.0f : 0.0f;
    for (uint32_t i = 0; i < dim; i++) to[i] = 0.0f;
    for (uint32_t s = 0; s < n_splits; s++) {
        const float *partial = partial_at(t, head, s);
        merge_split(partial[0], partial[1], partial + 2, dim, &max, &sum, to);
    }
    const float factor = 1.0f / sum;
    for (uint32_t i = 0; i < dim; i++) to[i] *= factor;
}

/* One token whose splits are divided between the threads. */
static void attend_splits(ox_attention_tile *t, ox_queue *queue, uint32_t n_splits) {
    const ox_run *run = t->run;
    const uint32_t n_kv_heads = t->layer->n_heads, n_heads = n_kv_heads * t->group;
    const uint32_t group = t->group;
    uint32_t i;
    while (ox_next_chunk(queue, n_splits * n_kv_heads, &i)) {
        uint32_t key, end_key;
        t->kv_head = i % n_kv_heads;
        load_queries(t, 0, group);
        visible_keys(t, &key, &end_key);
        const uint32_t skipped = i / n_kv_heads;
        if (skipped) key = (key / SPLIT + skipped) * SPLIT;
        attend_split(t, key, split_end(key, end_key));
        for (uint32_t r = 0; r < group; r++) {
            float *partial = partial_at(t, (size_t)t->kv_head * group + r, skipped);
            partial[0] = t->max[r];
            partial[1] = t->sum[r];
            __builtin_memcpy(partial + 2, t->acc + (size_t)r * t->v_stride,
                             t->layer->v_dim * sizeof(float));
        }
    }
    ox_barrier_wait(run);
    uint32_t first, last;
    ox_partition(run, n_heads, &first, &last);
    for (uint32_t head = first; head < last; head++) merge_head(t, head, n_splits);
}

/* How many splits the only token of a batch sees. */
static uint32_t count_splits(const ox_attention_tile *t) {
    const uint32_t token = t->sequence->first_token;
    return t->sequence->position / SPLIT - visible_first_of(t, token) / SPLIT + 1;
}

/* Threads take tiles of the rows of one key head. The tiles of the last tokens see the most keys
 * and come first: if a thread began one of them late, the others would wait for it. */
static void attend_sequence(ox_attention_tile *t, ox_queue *queue, uint32_t n_rows, uint32_t rows) {
    const uint32_t n_kv_heads = t->layer->n_heads;
    const uint32_t n_tiles = (n_rows + rows - 1) / rows * n_kv_heads;
    uint32_t chunk;
    while (ox_next_chunk(queue, n_tiles, &chunk)) {
        const uint32_t at = n_tiles - 1 - chunk, first = at / n_kv_heads * rows;
        t->kv_head = at % n_kv_heads;
        attend_rows(t, first, first + rows < n_rows ? first + rows : n_rows);
    }
}

void ox_attention(const ox_run *run, const ox_op *op) {
    ox_attention_tile t = tile_at(run, op);
    const uint32_t n_kv_heads = t.layer->n_heads, group = t.group;
    uint32_t rows = group >= MAX_ROWS ? group : MAX_ROWS / group * group;
    ox_queue queue = ox_queue_of(run, op);
    if (run->batch->n_tokens == 1 && run->n_threads > 1) {
        t.sequence = ox_sequence_at(run, 0);
        const uint32_t n_splits = count_splits(&t);
        if (run->is_replicated && n_splits > 1 && n_splits <= MAX_SPLITS) {
            /* another thread may still be merging the splits of an attention before this one */
            if (!ox_has_barrier(run, op)) ox_barrier_wait(run);
            attend_splits(&t, &queue, n_splits);
            return;
        }
        if (n_kv_heads < run->n_threads) { /* few heads: their groups of rows are divided */
            const uint32_t n_parts = (run->n_threads + n_kv_heads - 1) / n_kv_heads;
            rows = (group + n_parts - 1) / n_parts;
        }
    }
    for (uint32_t s = 0; s < run->batch->n_sequences; s++) {
        t.sequence = ox_sequence_at(run, s);
        attend_sequence(&t, &queue, t.sequence->n_tokens * group, rows);
    }
}
