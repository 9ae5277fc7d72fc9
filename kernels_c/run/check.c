/* Checks a model once, and each batch of tokens. */
#include "ops/kv_cache.h"
#include "ops/ops.h"

/* Keys and values of all layers must fit into a page. */
static int32_t check_kv_layout(const ox_model *model) {
    const uint32_t format = model->kv_format;
    if (model->n_kv_layers == 0) return 1;
    if (format != OX_F32 && format != OX_F16 && format != OX_Q8_0) return 0;
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

/* The states must fit into those of a sequence. */
static int32_t check_states(const ox_model *model) {
    if (model->state_bytes > 1ull << 48) return 0;
    for (uint32_t i = 0; i < model->n_states; i++) {
        const ox_state *state = ox_state_at(model, (int32_t)i);
        const uint64_t limit = 1u << 24;
        if (state->rows == 0 || state->width == 0 || state->offset % 64) return 0;
        if (state->rows > limit || state->width > limit) return 0;
        const uint64_t n_bytes = (uint64_t)state->rows * state->width * sizeof(float);
        if (n_bytes > model->state_bytes || state->offset > model->state_bytes - n_bytes) return 0;
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
        !is_table(model->kv_layers, model->n_kv_layers) || !check_kv_layout(model) ||
        !is_table(model->states, model->n_states) || !check_states(model)) {
        return OX_BAD_MODEL;
    }
    for (uint32_t i = 0; i < model->n_buffers; i++) {
        const ox_buffer *buffer = (const ox_buffer *)(uintptr_t)model->buffers + i;
        if (buffer->rows > OX_ROWS_OUTPUT || buffer->width == 0 || buffer->width > 1u << 30) {
            return OX_BAD_MODEL;
        }
    }
    ox_input input = {.by = NULL, .from = {-1, -1}};
    for (uint32_t i = 0; i < model->n_ops; i++) {
        const ox_op *op = (const ox_op *)(uintptr_t)model->ops + i;
        int32_t status = ox_check_op(model, op);
        if (status == OX_OK) status = ox_check_op_input(model, op, &input);
        if (status) return status | (int32_t)(i << 8);
    }
    return OX_OK;
}

/* Every buffer must hold the rows of its kind, and its number of values must fit in 32 bits. */
static int32_t buffers_fit(const ox_model *model, const ox_batch *batch) {
    for (uint32_t i = 0; i < model->n_buffers; i++) {
        const ox_buffer *buffer = (const ox_buffer *)(uintptr_t)model->buffers + i;
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
        if (model->n_states && (sequence->states == 0 || sequence->states % 64)) return 0;
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

int32_t ox_check_batch(const ox_model *model, const ox_batch *batch) {
    if (batch->n_tokens == 0 || batch->tokens == 0 || !buffers_fit(model, batch) ||
        !sequences_fit(model, batch) || !outputs_ascend(batch)) {
        return OX_BAD_BATCH;
    }
    for (uint32_t i = 0; i < model->n_ops; i++) {
        const ox_op *op = (const ox_op *)(uintptr_t)model->ops + i;
        const int32_t status = ox_check_op_batch(model, op, batch);
        if (status) return status;
    }
    return OX_OK;
}
