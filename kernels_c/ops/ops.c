/* Dispatches to the operations by their kind. */
#include "ops/ops.h"

int32_t ox_op_words(uint32_t kind) {
    switch (kind) {
#define X(KIND, NAME, SCRATCH, BATCH)                                                              \
    case KIND:                                                                                     \
        return (int32_t)ox_##NAME##_words();
        OX_EACH_OPERATION(X)
#undef X
    default:
        return -1;
    }
}

int32_t ox_check_op(const ox_model *model, const ox_op *op) {
    switch (op->kind) {
#define X(KIND, NAME, SCRATCH, BATCH)                                                              \
    case KIND:                                                                                     \
        return ox_check_##NAME(model, op);
        OX_EACH_OPERATION(X)
#undef X
    default:
        return OX_BAD_MODEL;
    }
}

static int32_t takes(const ox_model *model, const ox_op *op, const ox_input *input) {
    switch (op->kind) {
    case OX_KIND_linear:
        return ox_linear_takes(model, op, input);
    case OX_KIND_expert_linear:
        return ox_expert_linear_takes(model, op, input);
    default:
        return 1;
    }
}

int32_t ox_check_op_input(const ox_model *model, const ox_op *op, ox_input *input) {
    const int32_t fits = takes(model, op, input);
    if (op->kind == OX_KIND_quantize) {
        *input = ox_quantize_input(op);
    } else if (op->kind == OX_KIND_gather_experts) {
        *input = ox_gather_experts_input(op);
    } else if (op->dst == input->from[0] || op->dst == input->from[1]) {
        input->by = NULL;
    }
    return fits ? OX_OK : OX_BAD_MODEL;
}

ox_scratch ox_scratch_of_op(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                            uint32_t n_threads) {
    switch (op->kind) {
#define X(KIND, NAME, SCRATCH, BATCH)                                                              \
    case KIND:                                                                                     \
        return SCRATCH(model, op, n_tokens, n_threads);
        OX_EACH_OPERATION(X)
#undef X
    default:
        return (ox_scratch){0, 0, 0};
    }
}

int32_t ox_check_op_batch(const ox_model *model, const ox_op *op, const ox_batch *batch) {
    switch (op->kind) {
#define X(KIND, NAME, SCRATCH, BATCH)                                                              \
    case KIND:                                                                                     \
        return BATCH(model, op, batch);
        OX_EACH_OPERATION(X)
#undef X
    default:
        return OX_BAD_MODEL;
    }
}

void ox_execute_op(const ox_run *run, const ox_op *op) {
    switch (op->kind) {
#define X(KIND, NAME, SCRATCH, BATCH)                                                              \
    case KIND:                                                                                     \
        ox_##NAME(run, op);                                                                        \
        break;
        OX_EACH_OPERATION(X)
#undef X
    default:
        break;
    }
}

ox_scratch ox_no_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                         uint32_t n_threads) {
    (void)model, (void)op, (void)n_tokens, (void)n_threads;
    return (ox_scratch){0, 0, 0};
}

int32_t ox_any_batch(const ox_model *model, const ox_op *op, const ox_batch *batch) {
    (void)model, (void)op, (void)batch;
    return OX_OK;
}
