/* KVStore: writes keys and values of a batch into the cache. */
#include "ops/kv_cache.h"
#include "ops/operands.h"

enum { F16_BLOCK = 64 }; /* values rounded to float16 at a time: whole vectors */

/* Rounds n <= F16_BLOCK values. Instead of infinity it gives the largest number, and 0 instead of a
 * subnormal, so that reading needs no special cases. */
static void round_to_f16(const float *x, uint32_t n, uint16_t *halves) {
    for (uint32_t i = 0; i < n; i += VF) {
        const vf32 value = v_load_upto(x + i, n - i);
        v_store_f16(halves + i, v_min(v_max(value, v_splat(-65504.0f)), v_splat(65504.0f)));
    }
    for (uint32_t i = 0; i < n; i++) halves[i] = halves[i] & 0x7c00 ? halves[i] : 0;
}

static void store_f16(const float *x, uint32_t dim, uint32_t stride, uint8_t *to) {
    uint16_t halves[F16_BLOCK];
    for (uint32_t first = 0; first < dim; first += F16_BLOCK) {
        const uint32_t n = dim - first < F16_BLOCK ? dim - first : F16_BLOCK;
        round_to_f16(x + first, n, halves);
        for (uint32_t i = 0; i < n; i++)
            __builtin_memcpy(to + 2 * (size_t)(first + i) * stride, halves + i, 2);
    }
}

/* Rounds up to 32 values to 8 bits. The scale is max|x| / 127 in float16, or NaN if a value is NaN.
 */
static void store_block(const float *x, uint32_t n, size_t stride, uint8_t *to, uint8_t *scale_to) {
    float max = 0.0f, nan = 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        const float size = x[i] < 0.0f ? -x[i] : x[i];
        if (size > max) max = size;
        if (x[i] != x[i]) nan = x[i];
    }
    const float limit = 127.0f * 65504.0f;
    if (max > limit) max = limit;
    const float inverse = max > 0x1p-100f ? 127.0f / max : 0.0f;
    for (uint32_t i = 0; i < n; i++) {
        float q = x[i] * inverse;
        q = q > 127.0f ? 127.0f : q >= -127.0f ? q : -127.0f;
        /* adding 1.5 * 2^23 rounds, and leaves the integer in the lowest bits */
        to[i * stride] = (uint8_t)v_bits_of_float(q + 0x1.8p23f);
    }
    const uint16_t scale = v_f32_to_f16(max / 127.0f + nan);
    __builtin_memcpy(scale_to, &scale, 2);
}

void ox_store_cached(const float *x, uint32_t dim, uint32_t stride, uint32_t format,
                     uint32_t position, uint8_t *tile) {
    const uint32_t in_tile = position % KEYS, first = stride == 1 ? in_tile * dim : in_tile;
    uint8_t *to = tile + (size_t)first * cached_value_bytes(format);
    if (format == OX_Q8_0) {
        uint8_t *scales = cached_scales(tile, dim) + 2 * in_tile;
        for (uint32_t i = 0; i < dim; i += CACHED_BLOCK, scales += 2 * KEYS) {
            const uint32_t n = dim - i < CACHED_BLOCK ? dim - i : CACHED_BLOCK;
            store_block(x + i, n, stride, to + (size_t)i * stride, scales);
        }
        return;
    }
    if (format == OX_F16) {
        store_f16(x, dim, stride, to);
        return;
    }
    for (uint32_t i = 0; i < dim; i++) __builtin_memcpy(to + 4 * (size_t)i * stride, x + i, 4);
}

/* Writes the keys and values of the batch into a layer of the cache. */
typedef struct kv_store_args {
    int32_t keys, values; /* buffers */
    int32_t layer;
} kv_store_args;
OX_OPERANDS(kv_store)

int32_t ox_check_kv_store(const ox_model *model, const ox_op *op) {
    const kv_store_args args = kv_store_args_of(op);
    const ox_buffer *k = ox_find_buffer(model, args.keys), *v = ox_find_buffer(model, args.values);
    const ox_kv_layer *layer = ox_find_layer(model, args.layer);
    return ox_model_status(ox_is_batch(k) && ox_is_batch(v) && layer &&
                           k->width == (uint64_t)layer->n_heads * layer->k_dim &&
                           v->width == (uint64_t)layer->n_heads * layer->v_dim);
}

void ox_kv_store(const ox_run *run, const ox_op *op) {
    const kv_store_args args = kv_store_args_of(op);
    const ox_model *model = run->model;
    const ox_kv_layer *layer = ox_kv_layer_at(model, args.layer);
    const ox_buffer *keys = ox_buffer_at(run, args.keys), *values = ox_buffer_at(run, args.values);
    uint32_t first, last;
    ox_partition(run, run->batch->n_tokens * layer->n_heads, &first, &last);
    for (uint32_t i = first; i < last; i++) {
        const uint32_t t = i / layer->n_heads, head = i % layer->n_heads;
        const ox_sequence *sequence = ox_sequence_of(run, t);
        const uint32_t position = ox_position(sequence, t), format = model->kv_format;
        ox_store_cached(ox_row(keys, t) + (size_t)head * layer->k_dim, layer->k_dim, KEYS, format,
                        position, key_tile_at(model, layer, sequence, head, position));
        ox_store_cached(ox_row(values, t) + (size_t)head * layer->v_dim, layer->v_dim, 1, format,
                        position, value_tile_at(model, layer, sequence, head, position));
    }
}
