/* How operations read their operands, find what those name, and check them. */
#ifndef OX_OPERANDS_H
#define OX_OPERANDS_H

#include "ops/ops.h"
#include "quant/formats.h"

/* Reads the operands of an operation as the struct of its kind, and tells how many they are. */
#define OX_OPERANDS(NAME)                                                                          \
    _Static_assert(sizeof(NAME##_args) <= sizeof(((ox_op *)0)->args), "too many operands");        \
    static inline NAME##_args NAME##_args_of(const ox_op *op) {                                    \
        NAME##_args args;                                                                          \
        __builtin_memcpy(&args, op->args, sizeof args);                                            \
        return args;                                                                               \
    }                                                                                              \
    uint32_t ox_##NAME##_words(void) { return sizeof(NAME##_args) / sizeof(int32_t); }

/* The operands' buffers, weights, constants, layers and states: ox_check_model has checked their
 * numbers. */
static inline const ox_buffer *ox_buffer_at(const ox_run *run, int32_t index) {
    return run->buffers + index;
}
static inline const ox_tensor *ox_tensor_at(const ox_run *run, int32_t index) {
    return (const ox_tensor *)(uintptr_t)run->model->tensors + index;
}
static inline const ox_tensor *ox_constant_at(const ox_run *run, int32_t index) {
    return (const ox_tensor *)(uintptr_t)run->model->constants + index;
}
/* A float32 vector at any address, or NULL if the operation has none. */
static inline const float *ox_vector_at(const ox_run *run, int32_t index) {
    return index >= 0 ? (const float *)(uintptr_t)ox_tensor_at(run, index)->data : NULL;
}

static inline float *ox_row(const ox_buffer *buffer, uint32_t row) {
    return (float *)(uintptr_t)buffer->data + (size_t)row * buffer->width;
}
/* The rows of a buffer that this pass computes. */
static inline uint32_t ox_n_rows(const ox_run *run, const ox_buffer *buffer) {
    return buffer->rows == OX_ROWS_BATCH ? run->batch->n_tokens : run->batch->n_outputs;
}

/* The same before they are checked: NULL if the number is outside of its table. */
static inline const ox_buffer *ox_find_buffer(const ox_model *model, int32_t index) {
    const ox_buffer *buffers = (const ox_buffer *)(uintptr_t)model->buffers;
    return index >= 0 && (uint32_t)index < model->n_buffers ? buffers + index : NULL;
}
static inline const ox_tensor *ox_find_tensor(const ox_model *model, int32_t index) {
    const ox_tensor *tensors = (const ox_tensor *)(uintptr_t)model->tensors;
    return index >= 0 && (uint32_t)index < model->n_tensors ? tensors + index : NULL;
}
static inline const ox_tensor *ox_find_constant(const ox_model *model, int32_t index) {
    const ox_tensor *constants = (const ox_tensor *)(uintptr_t)model->constants;
    return index >= 0 && (uint32_t)index < model->n_constants ? constants + index : NULL;
}
static inline const ox_kv_layer *ox_find_layer(const ox_model *model, int32_t index) {
    return index >= 0 && (uint32_t)index < model->n_kv_layers ? ox_kv_layer_at(model, index) : NULL;
}

/* The state of a layer in its sequence, float32 [rows][width]. */
static inline float *ox_state_of(const ox_run *run, const ox_sequence *sequence, int32_t index) {
    return (float *)(uintptr_t)(sequence->states + ox_state_at(run->model, index)->offset);
}
/* 1 if a state has this shape. */
static inline int32_t ox_is_state(const ox_model *model, int32_t index, uint64_t rows,
                                  uint64_t width) {
    if (index < 0 || (uint32_t)index >= model->n_states) return 0;
    const ox_state *state = ox_state_at(model, index);
    return state->rows == rows && state->width == width;
}

/* What a check returns. */
static inline int32_t ox_model_status(int32_t fits) { return fits ? OX_OK : OX_BAD_MODEL; }

static inline int32_t ox_is_batch(const ox_buffer *buffer) {
    return buffer && buffer->rows == OX_ROWS_BATCH;
}
static inline int32_t ox_same_rows(const ox_buffer *a, const ox_buffer *b) {
    return a && b && a->rows == b->rows;
}
static inline int32_t ox_same_shape(const ox_buffer *a, const ox_buffer *b) {
    return ox_same_rows(a, b) && a->width == b->width;
}
/* 1 if threads can divide the work of computing a buffer: no thread computes a copy. */
static inline int32_t ox_is_divided(const ox_buffer *dst) { return dst && !dst->replicated; }

/* A float32 vector of n values. */
static inline int32_t ox_is_vector(const ox_tensor *tensor, uint32_t n) {
    return tensor && tensor->format == OX_F32 && tensor->n_out == 1 && tensor->n_in == n &&
           tensor->bytes == (uint64_t)n * sizeof(float) && tensor->data != 0;
}

#endif
