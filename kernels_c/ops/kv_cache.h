/* The layout of keys and values in the pages of the cache.
 *
 * In F32 and F16 only the values themselves are stored. Q8_0 rounds 32 consecutive values of one
 * position and head to 8 bits with a float16 scale, as ggml does. The scales of a tile of 64
 * positions come after its values, as [blocks][64], so that attention finds the scales of
 * neighbouring positions side by side. See struct ox_kv_layer for the order of the values. */
#ifndef OX_KV_CACHE_H
#define OX_KV_CACHE_H

#include "internal.h"
#include "quant/formats.h"

enum { CACHED_BLOCK = 32, KEYS = OX_KEY_TILE };

static inline uint32_t cached_value_bytes(uint32_t format) {
    return format == OX_F32 ? 4 : format == OX_F16 ? 2 : 1;
}

/* Bytes of a tile: KEYS positions of one head, dim values each. */
static inline uint64_t cached_tile_bytes(uint32_t format, uint32_t dim) {
    const uint64_t values = (uint64_t)KEYS * dim * cached_value_bytes(format);
    const uint64_t blocks = ((uint64_t)dim + CACHED_BLOCK - 1) / CACHED_BLOCK;
    return format == OX_Q8_0 ? values + 2 * KEYS * blocks : values;
}

/* The tile of a head that contains a position, dim values wide. offset: of the layer's keys or
 * values in a page. */
static inline uint8_t *cached_tile_at(const ox_model *model, const ox_sequence *sequence,
                                      uint64_t offset, uint32_t dim, uint32_t head,
                                      uint32_t position) {
    const uint64_t *pages = (const uint64_t *)(uintptr_t)sequence->pages;
    const uint32_t page_tokens = model->page_tokens;
    const uint64_t tile = head * (page_tokens / KEYS) + position % page_tokens / KEYS;
    return (uint8_t *)(uintptr_t)pages[position / page_tokens] + offset +
           tile * cached_tile_bytes(model->kv_format, dim);
}

/* A tile of keys: [k_dim][KEYS]. */
static inline uint8_t *key_tile_at(const ox_model *model, const ox_kv_layer *layer,
                                   const ox_sequence *sequence, uint32_t head, uint32_t position) {
    return cached_tile_at(model, sequence, layer->k_offset, layer->k_dim, head, position);
}

/* A tile of values: [KEYS][v_dim]. */
static inline uint8_t *value_tile_at(const ox_model *model, const ox_kv_layer *layer,
                                     const ox_sequence *sequence, uint32_t head,
                                     uint32_t position) {
    return cached_tile_at(model, sequence, layer->v_offset, layer->v_dim, head, position);
}

/* kv_store.c: stores the dim values of one position and head in a tile. stride: from one value to
 * the next, KEYS for keys and 1 for values. */
void ox_store_cached(const float *x, uint32_t dim, uint32_t stride, uint32_t format,
                     uint32_t position, uint8_t *tile);

/* The float16 scales of a tile in Q8_0: [blocks][KEYS]. */
static inline uint8_t *cached_scales(uint8_t *tile, uint32_t dim) { return tile + KEYS * dim; }

/* Cached values as float32, in multiples of cached_unit; the integers of Q8_0. float16 values are
 * finite and never subnormal (see kv_store.c), so v_load_f16_rescaled is exact. */
V_INLINE vf32 load_cached(const uint8_t *p, const uint32_t format) {
    if (format == OX_Q8_0) return v_load_i8(p);
    return format == OX_F16 ? v_load_f16_rescaled(p) : v_load((const float *)(const void *)p);
}
V_INLINE float cached_unit(uint32_t format) { return format == OX_F16 ? V_F16_RESCALE : 1.0f; }

V_INLINE float load_cached_one(const uint8_t *p, const uint32_t format) {
    if (format == OX_Q8_0) return (float)(int8_t)*p;
    return format == OX_F16 ? v_f16_to_f32(v_load_u16(p)) : v_float_of_bits(v_load_u32(p));
}

#endif
