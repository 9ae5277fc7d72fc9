/* Access to the tables of a model. */
#ifndef OX_TABLES_H
#define OX_TABLES_H

#include "internal.h"

static inline const ox_op *ops_of(const ox_model *model) {
    return (const ox_op *)(uintptr_t)model->ops;
}
static inline const ox_buffer *buffers_of(const ox_model *model) {
    return (const ox_buffer *)(uintptr_t)model->buffers;
}
static inline const ox_tensor *tensors_of(const ox_model *model) {
    return (const ox_tensor *)(uintptr_t)model->tensors;
}

/* A row of a table, or NULL if the number is outside of the table. */
static inline const ox_buffer *find_buffer(const ox_model *model, int32_t index) {
    return index >= 0 && (uint32_t)index < model->n_buffers ? buffers_of(model) + index : NULL;
}
static inline const ox_tensor *find_tensor(const ox_model *model, int32_t index) {
    return index >= 0 && (uint32_t)index < model->n_tensors ? tensors_of(model) + index : NULL;
}
static inline const ox_tensor *find_constant(const ox_model *model, int32_t index) {
    const ox_tensor *constants = (const ox_tensor *)(uintptr_t)model->constants;
    return index >= 0 && (uint32_t)index < model->n_constants ? constants + index : NULL;
}
static inline const ox_kv_layer *find_layer(const ox_model *model, int32_t index) {
    return index >= 0 && (uint32_t)index < model->n_kv_layers ? ox_kv_layer_at(model, index) : NULL;
}

#endif
