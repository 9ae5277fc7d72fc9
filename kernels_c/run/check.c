/* Checks a model once, and each batch of tokens. */
#include "internal.h"
#include "ops/kv_cache.h"
#include "quant/formats.h"
#include "run/tables.h"

/* A float32 vector of n values. */
static int32_t is_vector(const ox_tensor *tensor, uint32_t n) {
    return tensor && tensor->format == 0 && tensor->n_out == 1 && tensor->n_in == n &&
           tensor->bytes == (uint64_t)n * 4 && tensor->data != 0;
}

/* A float32 vector or matrix of whole groups, which a row of `width` values repeats. */
static int32_t is_group_weight(const ox_tensor *tensor, uint32_t group, uint32_t width) {
    if (!tensor || tensor->format != 0 || tensor->data == 0) return 0;
    const uint64_t n = (uint64_t)tensor->n_in * tensor->n_out;
    return n > 0 && n <= width && width % n == 0 && n % group == 0 && tensor->bytes == n * 4;
}

static int32_t is_activation(int32_t kind) { return kind == OX_SILU || kind == OX_GELU; }

static int32_t is_batch(const ox_buffer *buffer) { return buffer && buffer->rows == OX_ROWS_BATCH; }

static int32_t same_shape(const ox_buffer *a, const ox_buffer *b) {
    return a && b && a->rows == b->rows && a->width == b->width;
}

/* A matrix in a format that has kernels. */
static int32_t check_matrix(const ox_tensor *tensor) {
    if (!tensor || tensor->data == 0) return OX_BAD_MODEL;
    if (!ox_format_supported(tensor->format)) return OX_BAD_FORMAT;
    return ox_check_weight(tensor) ? OX_OK : OX_BAD_MODEL;
}

static int32_t check_embed(const ox_model *model, const ox_op *op) {
    const ox_buffer *dst = find_buffer(model, op->dst);
    const ox_tensor *weight = find_tensor(model, op->tensor[0]);
    const int32_t status = check_matrix(weight);
    if (status) return status;
    return is_batch(dst) && weight->n_in == dst->width ? OX_OK : OX_BAD_MODEL;
}

static int32_t check_layer_norm(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = find_buffer(model, op->src[0]), *dst = find_buffer(model, op->dst);
    const ox_tensor *weight = find_tensor(model, op->tensor[0]);
    if (!same_shape(src, dst) || op->i[0] <= 0 ||
        !is_group_weight(weight, (uint32_t)op->i[0], src->width)) {
        return 0;
    }
    return op->tensor[1] < 0 ||
           is_vector(find_tensor(model, op->tensor[1]), weight->n_in * weight->n_out);
}

static int32_t check_linear(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = find_buffer(model, op->src[0]), *dst = find_buffer(model, op->dst);
    const ox_tensor *weight = find_tensor(model, op->tensor[0]);
    const int32_t status = check_matrix(weight);
    if (status) return status;
    if (!src || !dst || src == dst || src->rows != dst->rows || weight->n_in != src->width ||
        op->i[0] < 0 || (uint64_t)op->i[0] + weight->n_out > dst->width) {
        return OX_BAD_MODEL;
    }
    if (op->tensor[1] < 0) return OX_OK;
    return is_vector(find_tensor(model, op->tensor[1]), weight->n_out) ? OX_OK : OX_BAD_MODEL;
}

static int32_t check_rope_table(const ox_model *model, const ox_op *op) {
    const ox_buffer *dst = find_buffer(model, op->dst);
    const ox_tensor *frequencies = find_constant(model, op->tensor[0]);
    const ox_tensor *magnitudes = find_constant(model, op->tensor[1]);
    return is_batch(dst) && dst->width % 2 == 0 && is_vector(frequencies, dst->width / 2) &&
           magnitudes && magnitudes->n_in > 0 && is_vector(magnitudes, magnitudes->n_in) &&
           op->i[0] > 0;
}

static int32_t check_rope(const ox_model *model, const ox_op *op) {
    const ox_buffer *x = find_buffer(model, op->dst), *table = find_buffer(model, op->src[1]);
    const int32_t head = op->i[0], n_rot = op->i[1];
    return is_batch(x) && is_batch(table) && op->src[0] == op->dst && x != table && head > 0 &&
           n_rot > 0 && n_rot % 2 == 0 && n_rot <= head && x->width % (uint32_t)head == 0 &&
           table->width == (uint32_t)n_rot && (op->i[2] == 0 || op->i[2] == 1);
}

static int32_t check_kv_store(const ox_model *model, const ox_op *op) {
    const ox_buffer *k = find_buffer(model, op->src[0]), *v = find_buffer(model, op->src[1]);
    const ox_kv_layer *layer = find_layer(model, op->i[0]);
    return is_batch(k) && is_batch(v) && layer &&
           k->width == (uint64_t)layer->n_heads * layer->k_dim &&
           v->width == (uint64_t)layer->n_heads * layer->v_dim;
}

static int32_t check_attention(const ox_model *model, const ox_op *op) {
    const ox_buffer *q = find_buffer(model, op->src[0]), *dst = find_buffer(model, op->dst);
    const ox_kv_layer *layer = find_layer(model, op->i[0]);
    const int32_t n_heads = op->i[1];
    return is_batch(q) && is_batch(dst) && q != dst && layer && n_heads > 0 &&
           (uint32_t)n_heads % layer->n_heads == 0 && op->i[2] >= 0 &&
           (op->i[3] == 0 || (op->i[3] == 1 && op->i[2] == 0)) &&
           q->width == (uint64_t)n_heads * layer->k_dim &&
           dst->width == (uint64_t)n_heads * layer->v_dim;
}

/* Numbers of experts are stored as floats, which must be exact. */
static int32_t check_select_experts(const ox_model *model, const ox_op *op) {
    const ox_buffer *logits = find_buffer(model, op->src[0]), *dst = find_buffer(model, op->dst);
    const int32_t n_used = op->i[0];
    return logits && dst && logits != dst && logits->rows == dst->rows &&
           logits->width <= 1u << 16 && n_used > 0 && (uint32_t)n_used <= logits->width &&
           dst->width == 2 * (uint32_t)n_used && op->i[1] >= OX_SOFTMAX_OF_ALL &&
           op->i[1] <= OX_SIGMOID;
}

static int32_t check_expert_linear(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = find_buffer(model, op->src[0]), *dst = find_buffer(model, op->dst);
    const ox_buffer *routes = find_buffer(model, op->src[1]);
    const ox_tensor *weight = find_tensor(model, op->tensor[0]);
    const int32_t n_experts = op->i[0], status = check_matrix(weight);
    if (status) return status;
    if (!src || !dst || !routes || dst == src || dst == routes || src->rows != dst->rows ||
        routes->rows != dst->rows || routes->width % 2 || n_experts <= 0 || n_experts > 1 << 16 ||
        weight->n_out % (uint32_t)n_experts) {
        return OX_BAD_MODEL;
    }
    const uint64_t n_used = routes->width / 2;
    return dst->width == n_used * (weight->n_out / (uint32_t)n_experts) &&
                   (src->width == weight->n_in || src->width == n_used * weight->n_in)
               ? OX_OK
               : OX_BAD_MODEL;
}

static int32_t check_expert_sum(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = find_buffer(model, op->src[0]), *dst = find_buffer(model, op->dst);
    const ox_buffer *routes = find_buffer(model, op->src[1]);
    return src && dst && routes && dst != src && dst != routes && src->rows == dst->rows &&
           routes->rows == dst->rows && routes->width % 2 == 0 &&
           src->width == (uint64_t)(routes->width / 2) * dst->width;
}

/* 1 if each thread can compute the whole result by itself. */
static int32_t can_be_replicated(uint32_t kind) {
    switch (kind) {
    case OX_LINEAR:
    case OX_ATTENTION:
    case OX_SELECT_EXPERTS:
    case OX_EXPERT_LINEAR:
    case OX_EXPERT_SUM:
        return 0;
    default:
        return 1;
    }
}

static int32_t check_op(const ox_model *model, const ox_op *op) {
    const ox_buffer *a = find_buffer(model, op->src[0]), *b = find_buffer(model, op->src[1]);
    const ox_buffer *dst = find_buffer(model, op->dst);
    const ox_tensor *tensor = find_tensor(model, op->tensor[0]);
    int32_t fits = 0;
    if (dst && dst->replicated && !can_be_replicated(op->kind)) return OX_BAD_MODEL;
    switch (op->kind) {
    case OX_EMBED:
    case OX_POSITION_EMBED:
        return check_embed(model, op);
    case OX_RMS_NORM:
        fits = same_shape(a, dst) && op->i[0] > 0 && a->width % (uint32_t)op->i[0] == 0 &&
               (op->tensor[0] < 0 || is_vector(tensor, (uint32_t)op->i[0]));
        break;
    case OX_LAYER_NORM:
        fits = check_layer_norm(model, op);
        break;
    case OX_LINEAR:
        return check_linear(model, op);
    case OX_ROPE_TABLE:
        fits = check_rope_table(model, op);
        break;
    case OX_ROPE:
        fits = check_rope(model, op);
        break;
    case OX_KV_STORE:
        fits = check_kv_store(model, op);
        break;
    case OX_ATTENTION:
        fits = check_attention(model, op);
        break;
    case OX_GLU:
        fits = same_shape(a, b) && same_shape(a, dst) && is_activation(op->i[0]);
        break;
    case OX_ACTIVATE:
        fits = same_shape(a, dst) && is_activation(op->i[0]);
        break;
    case OX_SCALE:
        fits = same_shape(a, dst);
        break;
    case OX_ADD:
        fits = same_shape(a, b) && same_shape(a, dst);
        break;
    case OX_SELECT_ROWS:
        fits = is_batch(a) && dst && dst->rows == OX_ROWS_OUTPUT && a->width == dst->width;
        break;
    case OX_SOFTCAP:
        fits = same_shape(a, dst) && op->f[0] != 0.0f;
        break;
    case OX_ADD_BIAS:
        fits = same_shape(a, dst) && is_vector(tensor, a->width);
        break;
    case OX_SELECT_EXPERTS:
        fits = check_select_experts(model, op);
        break;
    case OX_EXPERT_LINEAR:
        return check_expert_linear(model, op);
    case OX_EXPERT_SUM:
        fits = check_expert_sum(model, op);
        break;
    default:
        break;
    }
    return fits ? OX_OK : OX_BAD_MODEL;
}

/* Keys and values of all layers must fit into a page. */
static int32_t check_kv_layout(const ox_model *model) {
    const uint32_t format = model->kv_format;
    if (model->n_kv_layers == 0) return 1;
    if (format != CACHED_F32 && format != CACHED_F16 && format != CACHED_Q8_0) return 0;
    if (model->page_tokens < OX_KEY_TILE || model->page_tokens > 1u << 16 ||
        (model->page_tokens & (model->page_tokens - 1)) || model->page_bytes > 1ull << 48) {
        return 0;
    }
    for (uint32_t i = 0; i < model->n_kv_layers; i++) {
        const ox_kv_layer *layer = ox_kv_layer_at(model, (int32_t)i);
        const uint64_t limit = 1u << 20, n_tiles = model->page_tokens / KEYS * layer->n_heads;
        if (layer->n_heads == 0 || layer->k_dim == 0 || layer->v_dim == 0) return 0;
        if (layer->n_heads > limit || layer->k_dim > limit || layer->v_dim > limit) return 0;
        const uint64_t k_bytes = n_tiles * cached_tile_bytes(format, layer->k_dim);
        const uint64_t v_bytes = n_tiles * cached_tile_bytes(format, layer->v_dim);
        if (k_bytes > model->page_bytes || v_bytes > model->page_bytes) return 0;
        if (layer->k_offset > model->page_bytes - k_bytes) return 0;
        if (layer->v_offset > model->page_bytes - v_bytes) return 0;
        if (layer->k_offset % 64 || layer->v_offset % 64) return 0;
    }
    return 1;
}

/* A table has at most 2^20 rows, so that an operation's number fits into a status. */
static int32_t is_table(uint64_t address, uint32_t n) {
    return n == 0 || (address != 0 && n <= 1u << 20);
}

int32_t ox_check_model(const ox_model *model) {
    if (!is_table(model->tensors, model->n_tensors) || !is_table(model->ops, model->n_ops) ||
        !is_table(model->constants, model->n_constants) ||
        !is_table(model->buffers, model->n_buffers) ||
        !is_table(model->kv_layers, model->n_kv_layers) || !check_kv_layout(model)) {
        return OX_BAD_MODEL;
    }
    for (uint32_t i = 0; i < model->n_buffers; i++) {
        const ox_buffer *buffer = buffers_of(model) + i;
        if (buffer->rows > OX_ROWS_OUTPUT || buffer->width == 0 || buffer->width > 1u << 30) {
            return OX_BAD_MODEL;
        }
    }
    for (uint32_t i = 0; i < model->n_ops; i++) {
        const int32_t status = check_op(model, ops_of(model) + i);
        if (status) return status | (int32_t)(i << 8);
    }
    return OX_OK;
}

/* Every buffer must hold the rows of its kind, and its number of values must fit in 32 bits. */
static int32_t buffers_fit(const ox_model *model, const ox_batch *batch) {
    for (uint32_t i = 0; i < model->n_buffers; i++) {
        const ox_buffer *buffer = buffers_of(model) + i;
        const uint32_t rows = buffer->rows == OX_ROWS_BATCH ? batch->n_tokens : batch->n_outputs;
        if (rows > buffer->capacity || buffer->data == 0 || buffer->data % 64) return 0;
        const uint64_t n_values = (uint64_t)rows * buffer->width;
        if (n_values > UINT32_MAX || n_values > SIZE_MAX / sizeof(float)) return 0;
    }
    return 1;
}

int32_t ox_pages_fit(const ox_model *model, const ox_sequence *sequence) {
    const uint64_t end = (uint64_t)sequence->position + sequence->n_tokens;
    const uint64_t *pages = (const uint64_t *)(uintptr_t)sequence->pages;
    if (end > INT32_MAX) return 0;
    if (model->n_kv_layers == 0) return 1;
    if (!pages || end > (uint64_t)sequence->n_pages * model->page_tokens) return 0;
    for (uint64_t i = 0; i * model->page_tokens < end; i++) {
        if (pages[i] == 0 || pages[i] % 64) return 0;
    }
    return 1;
}

/* The tokens of the sequences, one sequence after the other, must be those of the batch. */
static int32_t sequences_fit(const ox_model *model, const ox_batch *batch) {
    const ox_sequence *sequences = (const ox_sequence *)(uintptr_t)batch->sequences;
    uint32_t n_tokens = 0;
    if (!sequences || batch->n_sequences == 0) return 0;
    for (uint32_t i = 0; i < batch->n_sequences; i++) {
        const ox_sequence *sequence = sequences + i;
        if (sequence->first_token != n_tokens || sequence->n_tokens == 0 ||
            sequence->n_tokens > batch->n_tokens - n_tokens || !ox_pages_fit(model, sequence)) {
            return 0;
        }
        n_tokens += sequence->n_tokens;
    }
    return n_tokens == batch->n_tokens;
}

static int32_t outputs_ascend(const ox_batch *batch) {
    const uint32_t *outputs = (const uint32_t *)(uintptr_t)batch->outputs;
    if (batch->n_outputs > batch->n_tokens || (batch->n_outputs && !outputs)) return 0;
    for (uint32_t i = 0; i < batch->n_outputs; i++) {
        if (outputs[i] >= batch->n_tokens || (i && outputs[i] <= outputs[i - 1])) return 0;
    }
    return 1;
}

/* Every token must have a row in every embedding. */
static int32_t tokens_exist(const ox_model *model, const ox_batch *batch) {
    const int32_t *tokens = (const int32_t *)(uintptr_t)batch->tokens;
    for (uint32_t i = 0; i < model->n_ops; i++) {
        const ox_op *op = ops_of(model) + i;
        if (op->kind != OX_EMBED) continue;
        const uint32_t n_rows = tensors_of(model)[op->tensor[0]].n_out;
        for (uint32_t t = 0; t < batch->n_tokens; t++) {
            if (tokens[t] < 0 || (uint32_t)tokens[t] >= n_rows) return 0;
        }
    }
    return 1;
}

/* Every position must have a row in every position embedding. */
static int32_t positions_exist(const ox_model *model, const ox_batch *batch) {
    const ox_sequence *sequences = (const ox_sequence *)(uintptr_t)batch->sequences;
    for (uint32_t i = 0; i < model->n_ops; i++) {
        const ox_op *op = ops_of(model) + i;
        if (op->kind != OX_POSITION_EMBED) continue;
        const uint32_t n_rows = tensors_of(model)[op->tensor[0]].n_out;
        for (uint32_t s = 0; s < batch->n_sequences; s++) {
            if ((uint64_t)sequences[s].position + sequences[s].n_tokens > n_rows) return 0;
        }
    }
    return 1;
}

int32_t ox_check_batch(const ox_model *model, const ox_batch *batch) {
    if (batch->n_tokens == 0 || batch->tokens == 0 || !buffers_fit(model, batch) ||
        !sequences_fit(model, batch) || !outputs_ascend(batch) || !positions_exist(model, batch)) {
        return OX_BAD_BATCH;
    }
    return tokens_exist(model, batch) ? OX_OK : OX_BAD_TOKEN;
}
