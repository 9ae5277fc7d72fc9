/* Attention of a tile of rows to a tile of keys: see attention.c. */
#ifndef OX_ATTENTION_TILE_H
#define OX_ATTENTION_TILE_H

#include "ops/kv_cache.h"

/* The work of one thread on one tile of rows. Strides are multiples of two vectors. */
typedef struct ox_attention_tile {
    const ox_run *run;
    const ox_buffer *src; /* the queries */
    const ox_buffer *dst;
    const ox_kv_layer *layer;
    const ox_sequence *sequence;
    float scale;       /* of the scores */
    float softcap;     /* > 0: scores become softcap * tanh(score / softcap) */
    uint32_t window;   /* see attention_args */
    int32_t is_causal; /* see attention_args */
    int32_t has_slopes;
    const uint8_t *head_slopes;   /* float32 [heads], at any address */
    const float *sinks;           /* the same, or NULL */
    const uint8_t *position_bias; /* [n][heads] of bias_format, at any address, or NULL */
    uint32_t bias_format;         /* OX_F32, OX_F16 or OX_BF16 */
    const uint8_t *buckets;       /* float32 [n_buckets], at any address: rows of it */
    uint32_t n_buckets;
    uint32_t n_heads;
    uint32_t group; /* query heads of each key head */
    uint32_t kv_head;
    uint32_t n_rows;
    uint32_t k_stride, v_stride;
    float *queries; /* [n_rows][k_stride], times the scale and query_factor_of */
    float *scores;  /* [n_rows][KEYS], later exp(score - max) / cached_unit */
    float *acc;     /* [n_rows][v_stride] accumulator: the weighted sum of values of this split */
    float *max;     /* [n_rows] running max of the scores */
    float *sum;     /* [n_rows] running sum of exp(score - max) */
    float *factors; /* [n_rows] a product of query and key times this is a score */
    float *merged_acc; /* the same over all splits so far */
    float *merged_max;
    float *merged_sum;
    float *slopes;           /* [n_rows] a score falls by this for each position between the two;
                              * only where has_slopes */
    uint32_t *visible_first; /* [n_rows] a row sees keys from this position */
    uint32_t *visible_end;   /* [n_rows] to before this position */
    uint32_t *position;      /* [n_rows] of its token */
    uint32_t *head;          /* [n_rows] of its query */
    float *keys;             /* [k_dim][KEYS] */
    float *values;           /* [KEYS][v_stride] */
} ox_attention_tile;

/* Bytes of a value of a position bias; 0: it must not have this format. */
static inline uint32_t ox_bias_value_bytes(uint32_t format) {
    return format == OX_F32 ? 4 : format == OX_F16 || format == OX_BF16 ? 2 : 0;
}

static inline uint32_t pad(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

/* Adds the keys first_key .. first_key + n_keys - 1, of one tile, to max, sum and acc of the rows.
 * A few rows read keys and values straight from the cache. For more rows, and for values that do
 * not fill whole vectors, they are converted to float32 first. Both ways do the same arithmetic in
 * the same order. next_key: the first key of the next tile, which is prefetched, or 0. */
void ox_attend_keys(const ox_attention_tile *t, uint32_t first_key, uint32_t n_keys,
                    uint32_t next_key);

#endif
