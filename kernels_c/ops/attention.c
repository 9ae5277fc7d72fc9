/* OX_ATTENTION: grouped-query attention over the paged cache.
 *
 * Keys are taken 64 positions at a time, with an online softmax (Milakov and Gimelshein 2018,
 * https://arxiv.org/abs/1805.02867; Dao et al. 2022, https://arxiv.org/abs/2205.14135): a row keeps
 * the largest score so far, the sum of exp(score - largest) and the weighted sum of values, and
 * rescales them when a larger score comes. No score outlives its tile. A segment of 256 positions
 * is begun anew and then folded into what came before, so that threads can share a row's segments.
 * Tiles and segments begin at fixed positions: a row's result does not depend on how queries are
 * split into batches or threads, nor on other sequences in its batch.
 *
 * A row is one query head of one token. The rows of a tile share a sequence and a key head. The
 * cache keeps keys transposed, so that every lane of a vector is another key. A few rows (decode)
 * are multiplied straight from the cache; for more (prefill) a tile's keys and values first become
 * float32.
 */
#include "ops/attention_tile.h"
#include "simd/vmath.h"

enum {
    ROWS = 64, /* rows in a tile at most, unless one token alone has more */
    SEGMENT = 4 * KEYS,
    SHARED_SEGMENTS = 128 /* threads share a row's segments if there are not more */
};

static uint32_t most_rows(uint32_t group) { return group > ROWS ? group : ROWS; }

uint64_t ox_attention_local_bytes(const ox_model *model, const ox_op *op) {
    const ox_kv_layer *layer = ox_kv_layer_at(model, op->i[0]);
    const uint64_t k_stride = pad(layer->k_dim, 2 * VF), v_stride = pad(layer->v_dim, 2 * VF);
    const uint64_t rows = most_rows((uint32_t)op->i[1] / layer->n_heads);
    return 4 * (rows * (k_stride + KEYS + 2 * v_stride + 6) + KEYS * (k_stride + v_stride)) + 64;
}

/* A segment's share of one row: largest, total, sums. */
static uint32_t part_stride(const ox_kv_layer *layer) { return pad(layer->v_dim + 2, 16); }

uint64_t ox_attention_shared_bytes(const ox_model *model, const ox_op *op, uint32_t n_threads) {
    const ox_kv_layer *layer = ox_kv_layer_at(model, op->i[0]);
    if (n_threads == 1) return 0;
    return (uint64_t)SHARED_SEGMENTS * (uint32_t)op->i[1] * part_stride(layer) * sizeof(float);
}

static ox_attention_tile tile_at(const ox_run *run, const ox_op *op) {
    const ox_kv_layer *layer = ox_kv_layer_at(run->model, op->i[0]);
    const uint32_t rows = most_rows((uint32_t)op->i[1] / layer->n_heads);
    ox_attention_tile t = {.run = run, .op = op, .layer = layer};
    t.k_stride = pad(layer->k_dim, 2 * VF);
    t.v_stride = pad(layer->v_dim, 2 * VF);
    t.queries = (float *)run->local;
    t.scores = t.queries + (size_t)rows * t.k_stride;
    t.sums = t.scores + (size_t)rows * KEYS;
    t.all_sums = t.sums + (size_t)rows * t.v_stride;
    t.keys = t.all_sums + (size_t)rows * t.v_stride;
    t.values = t.keys + (size_t)KEYS * t.k_stride;
    t.largest = t.values + (size_t)KEYS * t.v_stride;
    t.totals = t.largest + rows;
    t.factors = t.totals + rows;
    t.all_largest = t.factors + rows;
    t.all_totals = t.all_largest + rows;
    t.ends = (uint32_t *)(t.all_totals + rows);
    return t;
}

/* Rows of one key head count from the sequence's first token on: where one of them stands in the
 * query and output buffers. */
static uint32_t token_of(const ox_attention_tile *t, uint32_t row) {
    return t->sequence->first_token + row / ((uint32_t)t->op->i[1] / t->layer->n_heads);
}
static size_t head_of(const ox_attention_tile *t, uint32_t row) {
    const uint32_t group = (uint32_t)t->op->i[1] / t->layer->n_heads;
    return (size_t)t->kv_head * group + row % group;
}

/* The first position that a token does not see. */
static uint32_t end_of(const ox_attention_tile *t, uint32_t token) {
    const ox_sequence *sequence = t->sequence;
    const int all = t->op->i[3] == 1;
    return all ? sequence->position + sequence->n_tokens : ox_position(sequence, token) + 1;
}

/* Cached values come as so many units (cached_unit) that products with them may be subnormal, which
 * is slow: a query makes up for it as far as it does not become infinite. */
static float query_factor_of(const float *query, uint32_t n) {
    vf32 most = v_zero();
    for (uint32_t i = 0; i < n; i += VF) most = v_max(most, v_abs(v_load(query + i)));
    return v_hmax(most) < 0x1p60f ? 0x1p64f : 1.0f;
}

static void begin_rows(ox_attention_tile *t, uint32_t first, uint32_t last) {
    const ox_buffer *q = ox_buffer_at(t->run, t->op->src[0]);
    const uint32_t dim = t->layer->k_dim;
    const float unit = cached_unit(t->run->model->kv_format);
    t->n_rows = last - first;
    for (uint32_t r = 0; r < t->n_rows; r++) {
        const uint32_t row = first + r;
        const float *from = ox_row(q, token_of(t, row)) + head_of(t, row) * dim;
        float *to = t->queries + (size_t)r * t->k_stride;
        for (uint32_t i = 0; i < dim; i++) to[i] = from[i] * t->op->f[0];
        for (uint32_t i = dim; i < t->k_stride; i++) to[i] = 0.0f;
        t->factors[r] = 1.0f;
        if (unit != 1.0f) {
            const float factor = query_factor_of(to, t->k_stride);
            for (uint32_t i = 0; i < dim; i++) to[i] *= factor;
            t->factors[r] = 1.0f / unit / factor;
        }
        t->ends[r] = end_of(t, token_of(t, row));
    }
}

static void clear_rows(const ox_attention_tile *t, float *sums, float *largest, float *totals) {
    __builtin_memset(sums, 0, (size_t)t->n_rows * t->v_stride * sizeof(float));
    for (uint32_t r = 0; r < t->n_rows; r++) {
        largest[r] = NEGATIVE_INFINITY;
        totals[r] = 0.0f;
    }
}

static void end_rows(const ox_attention_tile *t, uint32_t first, uint32_t last) {
    const ox_buffer *dst = ox_buffer_at(t->run, t->op->dst);
    const uint32_t dim = t->layer->v_dim;
    for (uint32_t row = first; row < last; row++) {
        const float *from = t->all_sums + (size_t)(row - first) * t->v_stride;
        const float factor = 1.0f / t->all_totals[row - first];
        float *to = ox_row(dst, token_of(t, row)) + head_of(t, row) * dim;
        for (uint32_t i = 0; i < dim; i++) to[i] = from[i] * factor;
    }
}

/* Rows over keys of one segment. */
static void attend_segment(const ox_attention_tile *t, uint32_t first_key, uint32_t end_key) {
    clear_rows(t, t->sums, t->largest, t->totals);
    for (uint32_t key = first_key; key < end_key; key += KEYS) {
        const uint32_t n = end_key - key < KEYS ? end_key - key : KEYS;
        const uint32_t next = key + KEYS < end_key ? key + KEYS : 0;
        ox_attend_keys(t, key, n, next);
    }
}

/* Adds a segment to what the segments before it have given. */
static void fold_segment(float largest, float total, const float *sums, uint32_t n,
                         float *all_largest, float *all_total, float *all_sums) {
    if (total == 0.0f) return; /* it was out of sight */
    const float most = largest > *all_largest ? largest : *all_largest;
    const float before = *all_largest == NEGATIVE_INFINITY ? 0.0f : v_exp_one(*all_largest - most);
    const float factor = v_exp_one(largest - most);
    for (uint32_t i = 0; i < n; i++) all_sums[i] = all_sums[i] * before + sums[i] * factor;
    *all_total = *all_total * before + total * factor;
    *all_largest = most;
}

/* The keys that any row of a tile sees, from the beginning of a tile of keys on. */
static void visible_keys(const ox_attention_tile *t, uint32_t *first_key, uint32_t *end_key) {
    const uint32_t window = (uint32_t)t->op->i[2], end = t->ends[0];
    *first_key = window && end > window ? (end - window) / KEYS * KEYS : 0;
    *end_key = t->ends[t->n_rows - 1];
}

static uint32_t segment_end(uint32_t key, uint32_t end_key) {
    const uint32_t next = (key / SEGMENT + 1) * SEGMENT;
    return next < end_key ? next : end_key;
}

static void attend_rows(ox_attention_tile *t, uint32_t first, uint32_t last) {
    uint32_t key, end_key;
    begin_rows(t, first, last);
    clear_rows(t, t->all_sums, t->all_largest, t->all_totals);
    visible_keys(t, &key, &end_key);
    for (uint32_t next; key < end_key; key = next) {
        next = segment_end(key, end_key);
        attend_segment(t, key, next);
        for (uint32_t r = 0; r < t->n_rows; r++) {
            const size_t at = (size_t)r * t->v_stride;
            fold_segment(t->largest[r], t->totals[r], t->sums + at, t->v_stride, t->all_largest + r,
                         t->all_totals + r, t->all_sums + at);
        }
    }
    end_rows(t, first, last);
}

static float *part_at(const ox_attention_tile *t, size_t head, uint32_t segment) {
    return (float *)(void *)t->run->shared +
           (head * SHARED_SEGMENTS + segment) * part_stride(t->layer);
}

/* Puts a head's segments together in the buffer of the results. */
static void fold_head(const ox_attention_tile *t, uint32_t head, uint32_t n_segments) {
    const uint32_t dim = t->layer->v_dim;
    float *to = ox_row(ox_buffer_at(t->run, t->op->dst), 0) + (size_t)head * dim;
    float largest = NEGATIVE_INFINITY, total = 0.0f;
    for (uint32_t i = 0; i < dim; i++) to[i] = 0.0f;
    for (uint32_t s = 0; s < n_segments; s++) {
        const float *part = part_at(t, head, s);
        fold_segment(part[0], part[1], part + 2, dim, &largest, &total, to);
    }
    const float factor = 1.0f / total;
    for (uint32_t i = 0; i < dim; i++) to[i] *= factor;
}

/* One token, its segments shared between the threads. */
static void share_segments(ox_attention_tile *t, uint32_t n_segments) {
    const ox_run *run = t->run;
    const uint32_t n_kv_heads = t->layer->n_heads, n_heads = (uint32_t)t->op->i[1];
    const uint32_t group = n_heads / n_kv_heads;
    /* another thread may still read what the operation before has put there */
    if (!ox_meets(run, t->op)) ox_barrier_wait(run);
    ox_turns turns = ox_turns_of(run, t->op);
    uint32_t i;
    while (ox_take_turn(&turns, n_segments * n_kv_heads, &i)) {
        uint32_t key, end_key;
        t->kv_head = i % n_kv_heads;
        begin_rows(t, 0, group);
        visible_keys(t, &key, &end_key);
        const uint32_t skipped = i / n_kv_heads;
        if (skipped) key = (key / SEGMENT + skipped) * SEGMENT;
        attend_segment(t, key, segment_end(key, end_key));
        for (uint32_t r = 0; r < group; r++) {
            float *part = part_at(t, (size_t)t->kv_head * group + r, skipped);
            part[0] = t->largest[r];
            part[1] = t->totals[r];
            __builtin_memcpy(part + 2, t->sums + (size_t)r * t->v_stride,
                             t->layer->v_dim * sizeof(float));
        }
    }
    ox_barrier_wait(run);
    uint32_t first, last;
    ox_share(run, n_heads, &first, &last);
    for (uint32_t head = first; head < last; head++) fold_head(t, head, n_segments);
}

/* How many segments the only token of a batch sees. */
static uint32_t count_segments(const ox_run *run, const ox_op *op) {
    const uint32_t position = ox_sequence_at(run, 0)->position, window = (uint32_t)op->i[2];
    const uint32_t first = window && position >= window ? position - window + 1 : 0;
    return position / SEGMENT - first / SEGMENT + 1;
}

/* Threads take tiles of one key head's rows. The last tokens' tiles see the most keys, and come
 * first: who begins one late would be waited for. */
static void attend_sequence(ox_attention_tile *t, ox_turns *turns, uint32_t n_rows, uint32_t rows) {
    const uint32_t n_kv_heads = t->layer->n_heads;
    const uint32_t n_tiles = (n_rows + rows - 1) / rows * n_kv_heads;
    uint32_t turn;
    while (ox_take_turn(turns, n_tiles, &turn)) {
        const uint32_t at = n_tiles - 1 - turn, first = at / n_kv_heads * rows;
        t->kv_head = at % n_kv_heads;
        attend_rows(t, first, first + rows < n_rows ? first + rows : n_rows);
    }
}

void ox_attention(const ox_run *run, const ox_op *op, uint32_t n_tokens) {
    ox_attention_tile t = tile_at(run, op);
    const uint32_t n_kv_heads = t.layer->n_heads, group = (uint32_t)op->i[1] / n_kv_heads;
    uint32_t rows = group >= ROWS ? group : ROWS / group * group;
    if (n_tokens == 1 && run->n_threads > 1) {
        t.sequence = ox_sequence_at(run, 0);
        const uint32_t n_segments = count_segments(run, op);
        if (n_segments > 1 && n_segments <= SHARED_SEGMENTS) {
            share_segments(&t, n_segments);
            return;
        }
        if (n_kv_heads < run->n_threads) { /* few heads: a group's rows are split */
            const uint32_t parts = (run->n_threads + n_kv_heads - 1) / n_kv_heads;
            rows = (group + parts - 1) / parts;
        }
    }
    ox_turns turns = ox_turns_of(run, op);
    for (uint32_t s = 0; s < run->batch->n_sequences; s++) {
        t.sequence = ox_sequence_at(run, s);
        attend_sequence(&t, &turns, t.sequence->n_tokens * group, rows);
    }
}
