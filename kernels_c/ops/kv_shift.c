/* ox_kv_shift: a context shift. Positions in the middle of a cache are evicted; those after them
 * move down, and their keys are rotated back by as many positions (K-shift): a rotation by p
 * followed by one by -n is a rotation by p - n (Su et al. 2021, https://arxiv.org/abs/2104.09864).
 */
#include "ops/kv_cache.h"

/* The place of value i of a position in a tile, counted in values. */
static size_t value_at(uint32_t position, uint32_t i, uint32_t dim, uint32_t stride) {
    const size_t in_tile = position % KEYS;
    return stride == 1 ? in_tile * dim + i : (size_t)i * stride + in_tile;
}

/* The float16 scale of value i of a position, in a tile of Q8_0. */
static uint8_t *scale_at(uint8_t *tile, uint32_t position, uint32_t i, uint32_t dim) {
    return cached_scales(tile, dim) + 2 * (size_t)(i / CACHED_BLOCK * KEYS + position % KEYS);
}

static void load_key(uint8_t *tile, uint32_t position, uint32_t dim, uint32_t format, float *key) {
    const uint32_t bytes = cached_value_bytes(format);
    for (uint32_t i = 0; i < dim; i++) {
        key[i] = load_cached_one(tile + value_at(position, i, dim, KEYS) * bytes, format);
        if (format == OX_Q8_0) {
            key[i] *= v_f16_to_f32(v_load_u16(scale_at(tile, position, i, dim)));
        }
    }
}

/* Moves the values of one position and head, to another tile or within one. */
static void move_cached(uint8_t *from, uint32_t from_position, uint8_t *to, uint32_t to_position,
                        uint32_t dim, uint32_t stride, uint32_t format) {
    const uint32_t bytes = cached_value_bytes(format), run = stride == 1 ? dim : 1;
    for (uint32_t i = 0; i < dim; i += run) {
        __builtin_memmove(to + value_at(to_position, i, dim, stride) * bytes,
                          from + value_at(from_position, i, dim, stride) * bytes,
                          (size_t)run * bytes);
    }
    if (format != OX_Q8_0) return;
    for (uint32_t i = 0; i < dim; i += CACHED_BLOCK) {
        __builtin_memcpy(scale_at(to, to_position, i, dim), scale_at(from, from_position, i, dim),
                         2);
    }
}

/* Goes up through the positions, so that none is overwritten before it has moved. */
static void shift_head(const ox_model *model, const ox_kv_layer *layer, const ox_sequence *sequence,
                       uint32_t head, uint32_t n, const ox_key_rotation *rotation, float *key) {
    const float *cosines = (const float *)(uintptr_t)rotation->table;
    const uint32_t end = sequence->position + sequence->n_tokens, format = model->kv_format;
    for (uint32_t from = sequence->position; from < end; from++) {
        const uint32_t to = from - n;
        uint8_t *from_keys = key_tile_at(model, layer, sequence, head, from);
        uint8_t *to_keys = key_tile_at(model, layer, sequence, head, to);
        if (rotation->n_pairs) {
            load_key(from_keys, from, layer->k_dim, format, key);
            ox_rotate(key, cosines, cosines + rotation->n_pairs, rotation->n_pairs,
                      rotation->style);
            ox_store_cached(key, layer->k_dim, KEYS, format, to, to_keys);
        } else {
            move_cached(from_keys, from, to_keys, to, layer->k_dim, KEYS, format);
        }
        move_cached(value_tile_at(model, layer, sequence, head, from), from,
                    value_tile_at(model, layer, sequence, head, to), to, layer->v_dim, 1, format);
    }
}

static int32_t check_rotation(const ox_key_rotation *rotation, uint32_t k_dim) {
    if (rotation->n_pairs == 0) return 1;
    return rotation->n_pairs <= k_dim / 2 && rotation->style <= 1 && rotation->table != 0 &&
           rotation->table % sizeof(float) == 0;
}

int32_t ox_kv_shift(const ox_model *model, const ox_sequence *sequence, uint32_t n,
                    const ox_key_rotation *rotations, float *scratch, uint32_t n_scratch) {
    if (n == 0 || n > sequence->position || !ox_pages_fit(model, sequence)) return OX_BAD_BATCH;
    for (uint32_t i = 0; i < model->n_kv_layers; i++) {
        const uint32_t k_dim = ox_kv_layer_at(model, (int32_t)i)->k_dim;
        if (!check_rotation(rotations + i, k_dim)) return OX_BAD_MODEL;
        if (k_dim > n_scratch) return OX_BAD_SCRATCH;
    }
    for (uint32_t i = 0; i < model->n_kv_layers; i++) {
        const ox_kv_layer *layer = ox_kv_layer_at(model, (int32_t)i);
        for (uint32_t head = 0; head < layer->n_heads; head++) {
            shift_head(model, layer, sequence, head, n, rotations + i, scratch);
        }
    }
    return OX_OK;
}
