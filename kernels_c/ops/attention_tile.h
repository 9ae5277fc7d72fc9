/* Attention of a tile of rows to a tile of keys. */
#ifndef OX_ATTENTION_TILE_H
#define OX_ATTENTION_TILE_H

#include "ops/kv_cache.h"

/* Work of one thread on one tile of rows. Strides are multiples of two vectors. */
typedef struct ox_attention_tile {
    const ox_run *run;
    const ox_op *op;
    const ox_kv_layer *layer;
    const ox_sequence *sequence;
    uint32_t kv_head;
    uint32_t n_rows;
    uint32_t k_stride, v_stride;
    float *queries;  /* [n_rows][k_stride], times the scale and query_factor_of */
    float *scores;   /* [n_rows][KEYS], then their exponentials, over cached_unit */
    float *sums;     /* [n_rows][v_stride] weighted values, of the segment */
    float *largest;  /* [n_rows] */
    float *totals;   /* [n_rows] */
    float *factors;  /* [n_rows] that make a product of query and keys a score */
    float *all_sums; /* the same of all segments so far */
    float *all_largest;
    float *all_totals;
    uint32_t *ends; /* [n_rows] a row sees keys before this position */
    float *keys;    /* [k_dim][KEYS] */
    float *values;  /* [KEYS][v_stride] */
} ox_attention_tile;

static inline uint32_t pad(uint32_t n, uint32_t to) { return (n + to - 1) / to * to; }

/* A few rows take keys and values straight from the cache. For more, and for values that do not
 * fill whole vectors, they become float32 first. Both ways do the same arithmetic in the same
 * order. next_key: of the tile that comes next, or 0. */
void ox_attend_keys(const ox_attention_tile *t, uint32_t first_key, uint32_t n_keys,
                    uint32_t next_key);

#endif
