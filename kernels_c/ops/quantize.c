/* Quantize: rounds an input to 8 bits for the products with quantized weights that follow. */
#include "ops/operands.h"
#include "quant/activations.h"

/* A buffer whose rows are quantized into run->prepared. */
typedef struct quantize_args {
    int32_t src;
} quantize_args;
OX_OPERANDS(quantize)

int32_t ox_check_quantize(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = ox_find_buffer(model, quantize_args_of(op).src);
    return ox_model_status(src && src->width % 32 == 0);
}

ox_input ox_quantize_input(const ox_op *op) {
    const int32_t src = quantize_args_of(op).src;
    return (ox_input){.by = op, .from = {src, src}};
}

ox_scratch ox_quantize_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                               uint32_t n_threads) {
    const ox_buffer *src = ox_find_buffer(model, quantize_args_of(op).src);
    if (!src) return (ox_scratch){0, 0, 0};
    return (ox_scratch){.shared = ox_activation_bytes(src->width, n_tokens),
                        .prepared = n_threads > 1 ? ox_activation_bytes(src->width, 1) : 0};
}

/* Threads divide groups of tokens: a single token is too little work to divide. */
void ox_quantize(const ox_run *run, const ox_op *op) {
    const ox_buffer *src = ox_buffer_at(run, quantize_args_of(op).src);
    const ox_input_rows rows = {.array = ox_row(src, 0)};
    const ox_run view = ox_preparing(run);
    const uint32_t n_rows = ox_n_rows(run, src);
    uint32_t first, last;
    if (n_rows == 0) return;
    ox_partition(&view, ox_activation_groups(n_rows), &first, &last);
    const ox_activations acts = ox_activations_at(run->prepared, src->width, n_rows);
    ox_quantize_groups(&acts, &rows, n_rows, first, last);
}
