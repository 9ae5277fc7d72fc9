/* Scores, softmax and weighted values of a tile of rows over a tile of keys. */
#include "ops/attention_tile.h"
#include "ops/attention_gemm.h"
#include "simd/vmath.h"

enum { MAX_STRAIGHT_ROWS = 8 /* that are multiplied straight from the cache */ };

/* The keys [first, end) of a tile, counted from its first key. */
typedef struct key_range {
    uint32_t first;
    uint32_t end;
} key_range;

/* The keys that a row sees. */
static key_range seen_keys(const ox_attention_tile *t, uint32_t r, uint32_t first_key) {
    const uint32_t first = t->visible_first[r], end = t->visible_end[r];
    const uint32_t from = first > first_key ? first - first_key : 0;
    const uint32_t to = end > first_key ? end - first_key : 0;
    return (key_range){from < KEYS ? from : KEYS, to < KEYS ? to : KEYS};
}

/* How many rows from r on are multiplied together. */
static uint32_t rows_from(const ox_attention_tile *t, uint32_t r) {
    return t->n_rows - r < TILE_ROWS ? t->n_rows - r : TILE_ROWS;
}

/* The keys that all of the rows r .. r + n_rows - 1 see; [KEYS, KEYS) if there are none. */
static key_range common_keys(const ox_attention_tile *t, uint32_t r, uint32_t n_rows,
                             uint32_t first_key) {
    /* later rows belong to later tokens */
    const uint32_t first = seen_keys(t, r + n_rows - 1, first_key).first;
    const uint32_t end = seen_keys(t, r, first_key).end;
    return first < end ? (key_range){first, end} : (key_range){KEYS, KEYS};
}

static uint32_t block_size(uint32_t dim, uint32_t first) {
    return dim - first < CACHED_BLOCK ? dim - first : CACHED_BLOCK;
}

/* scores = queries @ keys for a tile of keys, [k_dim][KEYS]. scales: of the keys, or NULL. */
static void multiply_keys(const ox_attention_tile *t, uint32_t first_key, const uint8_t *keys,
                          const uint8_t *scales, uint32_t format) {
    const uint32_t bytes = cached_value_bytes(format), dim = t->layer->k_dim;
    for (uint32_t r = 0; r < t->n_rows; r += TILE_ROWS) {
        const uint32_t n_rows = rows_from(t, r);
        const uint32_t end = seen_keys(t, r + n_rows - 1, first_key).end;
        ox_tile_product product = {.a = t->queries + (size_t)r * t->k_stride,
                                   .b = keys,
                                   .c = t->scores + (size_t)r * KEYS,
                                   .a_stride = t->k_stride,
                                   .b_stride = KEYS * bytes,
                                   .c_stride = KEYS,
                                   .n_rows = n_rows,
                                   .n = dim,
                                   .width = pad(end, 2 * VF)};
        if (!scales) {
            ox_multiply_tile(&product, format);
            continue;
        }
        for (uint32_t i = 0; i < dim; i += CACHED_BLOCK) {
            product.scales = scales + 2 * (size_t)(i / CACHED_BLOCK * KEYS);
            product.n = block_size(dim, i);
            product.add = i > 0;
            ox_multiply_tile(&product, format);
            product.a += CACHED_BLOCK;
            product.b += CACHED_BLOCK * KEYS * bytes;
        }
    }
}

/* The part of a product with n_rows rows from `row` on, and some of the keys. */
static void multiply_part(ox_tile_product product, uint32_t row, uint32_t n_rows, key_range keys,
                          uint32_t format) {
    if (keys.first >= keys.end) return;
    product.a += row * product.a_stride + keys.first;
    product.b += keys.first * product.b_stride;
    product.c += row * product.c_stride;
    product.n_rows = n_rows;
    product.n = keys.end - keys.first;
    ox_multiply_tile(&product, format);
}

/* A product of the rows from r on with the keys that they see. Keys that only some of the rows see
 * are taken row by row, in order: those before the common keys, the common keys, those after. A
 * hidden key is left out altogether, since 0 times its value may be NaN. */
static void multiply_seen(const ox_attention_tile *t, uint32_t r, uint32_t first_key,
                          const ox_tile_product *product, uint32_t format) {
    const key_range common = common_keys(t, r, product->n_rows, first_key);
    for (uint32_t i = 0; i < product->n_rows; i++) {
        const key_range keys = seen_keys(t, r + i, first_key);
        const uint32_t end = keys.end < common.first ? keys.end : common.first;
        multiply_part(*product, i, 1, (key_range){keys.first, end}, format);
    }
    multiply_part(*product, 0, product->n_rows, common, format);
    for (uint32_t i = 0; i < product->n_rows; i++) {
        const key_range keys = seen_keys(t, r + i, first_key);
        const uint32_t first = keys.first > common.end ? keys.first : common.end;
        multiply_part(*product, i, 1, (key_range){first, keys.end}, format);
    }
}

/* The exponentials of n_rows rows times the scales of a block of values. */
static void scale_scores(const float *scores, const uint8_t *scales, uint32_t n_rows, float *to) {
    for (uint32_t j = 0; j < KEYS; j += VF) {
        const vf32 scale = v_load_f16(scales + 2 * j);
        for (uint32_t r = 0; r < n_rows; r++)
            v_store(to + r * KEYS + j, v_mul(v_load(scores + r * KEYS + j), scale));
    }
}

/* acc += scores @ values, for values of `width`: v_dim in the cache, else v_stride. scales: of the
 * values, or NULL. */
static void multiply_values(const ox_attention_tile *t, uint32_t first_key, const uint8_t *values,
                            uint32_t width, const uint8_t *scales, uint32_t format) {
    const size_t bytes = cached_value_bytes(format);
    float scaled[TILE_ROWS * KEYS];
    for (uint32_t r = 0; r < t->n_rows; r += TILE_ROWS) {
        const float *scores = t->scores + (size_t)r * KEYS;
        ox_tile_product product = {.a = scores,
                                   .b = values,
                                   .c = t->acc + (size_t)r * t->v_stride,
                                   .a_stride = KEYS,
                                   .b_stride = width * bytes,
                                   .c_stride = t->v_stride,
                                   .n_rows = rows_from(t, r),
                                   .width = width,
                                   .add = 1};
        if (!scales) {
            multiply_seen(t, r, first_key, &product, format);
            continue;
        }
        product.a = scaled;
        for (uint32_t i = 0; i < width; i += CACHED_BLOCK) {
            const uint8_t *of_block = scales + (size_t)i / CACHED_BLOCK * 2 * KEYS;
            scale_scores(scores, of_block, product.n_rows, scaled);
            product.width = block_size(width, i);
            multiply_seen(t, r, first_key, &product, format);
            product.b += CACHED_BLOCK * bytes;
            product.c += CACHED_BLOCK;
        }
    }
}

/* A tile's values as float32 [n_keys][v_stride]. */
static void load_values(const ox_attention_tile *t, const uint8_t *values, uint32_t n_keys,
                        uint32_t format) {
    const uint32_t dim = t->layer->v_dim;
    for (uint32_t j = 0; j < n_keys; j++, values += (size_t)dim * cached_value_bytes(format)) {
        float *to = t->values + (size_t)j * t->v_stride;
        ox_load_cached(values, dim, format, to);
        for (uint32_t i = dim; i < t->v_stride; i++) to[i] = 0.0f;
    }
}

static void softcap_scores(float *scores, float cap) {
    for (uint32_t j = 0; j < KEYS; j += VF) {
        const vf32 tanh = v_tanh(v_div(v_load(scores + j), v_splat(cap)));
        v_store(scores + j, v_mul(v_splat(cap), tanh));
    }
}

/* Lowers a row's scores by the distance between its token and the keys. */
static void slope_scores(float *scores, float slope, uint32_t position, uint32_t first_key) {
    for (uint32_t j = 0; j < KEYS; j++) {
        const uint32_t key = first_key + j;
        const uint32_t distance = key < position ? position - key : key - position;
        scores[j] -= slope * (float)distance;
    }
}

/* A value of a position bias. */
static float load_bias(const uint8_t *p, uint32_t format) {
    if (format == OX_F32) return v_float_of_bits(v_load_u32(p));
    const uint16_t bits = v_load_u16(p);
    return format == OX_F16 ? v_f16_to_f32(bits) : v_float_of_bits((uint32_t)bits << 16);
}

/* Adds to a row's scores what the distances between its token and the keys stand for. */
static void bias_scores(const ox_attention_tile *t, uint32_t r, uint32_t first_key, float *scores) {
    const int64_t farthest = t->n_buckets / 2;
    const uint32_t n_bytes = ox_bias_value_bytes(t->bias_format);
    for (uint32_t j = 0; j < KEYS; j++) {
        int64_t distance = (int64_t)first_key + j - t->position[r];
        if (distance < -farthest) distance = -farthest;
        if (distance > farthest) distance = farthest;
        const uint8_t *bucket = t->buckets + 4 * (distance + farthest);
        const size_t row = (size_t)v_float_of_bits(v_load_u32(bucket));
        const uint8_t *bias = t->position_bias + (row * t->n_heads + t->head[r]) * n_bytes;
        scores[j] += load_bias(bias, t->bias_format);
    }
}

/* Turns a row's scores of one tile of keys into exponentials, and updates max, sum and acc. */
static void online_softmax(const ox_attention_tile *t, uint32_t r, uint32_t first_key) {
    float *scores = t->scores + (size_t)r * KEYS;
    const key_range seen = seen_keys(t, r, first_key);
    for (uint32_t j = 0; j < KEYS; j += VF)
        v_store(scores + j, v_mul(v_load(scores + j), v_splat(t->factors[r])));
    if (t->softcap > 0.0f) softcap_scores(scores, t->softcap);
    if (t->has_slopes) slope_scores(scores, t->slopes[r], t->position[r], first_key);
    if (t->position_bias) bias_scores(t, r, first_key, scores);
    for (uint32_t j = 0; j < seen.first; j++) scores[j] = NEGATIVE_INFINITY;
    for (uint32_t j = seen.end; j < KEYS; j++) scores[j] = NEGATIVE_INFINITY;
    vf32 lanes = v_load(scores);
    for (uint32_t j = VF; j < KEYS; j += VF) lanes = v_max(lanes, v_load(scores + j));
    const float tile_max = v_hmax(lanes), before = t->max[r];
    const float max = tile_max > before ? tile_max : before;
    if (max == NEGATIVE_INFINITY) { /* nothing visible yet, or NaN */
        for (uint32_t j = 0; j < KEYS; j++) {
            if (scores[j] == NEGATIVE_INFINITY) scores[j] = 0.0f;
            t->sum[r] += scores[j];
        }
        return;
    }
    const vf32 weight = v_splat(1.0f / cached_unit(t->run->model->kv_format));
    vf32 sum = v_zero();
    for (uint32_t j = 0; j < KEYS; j += VF) {
        const vf32 e = v_exp(v_sub(v_load(scores + j), v_splat(max)));
        v_store(scores + j, v_mul(e, weight));
        sum = v_add(sum, e);
    }
    if (max > before) {
        const float factor = before == NEGATIVE_INFINITY ? 0.0f : v_exp_one(before - max);
        float *acc = t->acc + (size_t)r * t->v_stride;
        for (uint32_t i = 0; i < t->v_stride; i += VF) {
            v_store(acc + i, v_mul(v_load(acc + i), v_splat(factor)));
        }
        t->sum[r] *= factor;
        t->max[r] = max;
    }
    t->sum[r] += v_hsum(sum);
}

/* Tiles are not in an order that a processor would guess. */
static void prefetch(const uint8_t *tile, size_t n_bytes) {
    enum { CACHE_LINE = 64 };
    for (size_t i = 0; i < n_bytes; i += CACHE_LINE) v_prefetch(tile + i);
}

void ox_attend_keys(const ox_attention_tile *t, uint32_t first_key, uint32_t n_keys,
                    uint32_t next_key) {
    const ox_model *model = t->run->model;
    const ox_kv_layer *layer = t->layer;
    const uint32_t format = model->kv_format, bytes = cached_value_bytes(format);
    uint8_t *keys = key_tile_at(model, layer, t->sequence, t->kv_head, first_key);
    uint8_t *values = value_tile_at(model, layer, t->sequence, t->kv_head, first_key);
    const uint8_t *k_scales = NULL, *v_scales = NULL;
    if (format == OX_Q8_0) {
        k_scales = cached_scales(keys, layer->k_dim);
        v_scales = cached_scales(values, layer->v_dim);
    }
    prefetch(values, (size_t)n_keys * layer->v_dim * bytes);
    const int straight = t->n_rows <= MAX_STRAIGHT_ROWS || format == OX_F32;
    if (straight) {
        multiply_keys(t, first_key, keys, k_scales, format);
    } else {
        ox_load_cached(keys, layer->k_dim * KEYS, format, t->keys);
        multiply_keys(t, first_key, (const uint8_t *)t->keys, k_scales, OX_F32);
    }
    for (uint32_t r = 0; r < t->n_rows; r++) online_softmax(t, r, first_key);
    if (next_key) {
        const uint8_t *next = key_tile_at(model, layer, t->sequence, t->kv_head, next_key);
        prefetch(next, (size_t)KEYS * layer->k_dim * bytes);
    }
    if (straight && t->v_stride == layer->v_dim) {
        multiply_values(t, first_key, values, t->v_stride, v_scales, format);
    } else {
        load_values(t, values, n_keys, format);
        multiply_values(t, first_key, (const uint8_t *)t->values, t->v_stride, v_scales, OX_F32);
    }
}
