/* The operations of a plan: one table, and what it declares. */
#ifndef OX_OPS_H
#define OX_OPS_H

#include "internal.h"

/* X(kind, name, scratch, batch) for each operation. Its C file defines
 *
 *     typedef struct name_args {...} name_args;  its operands: the fields of its Python dataclass
 *                                                (oxillama_web/plan/operations/), in their order,
 *                                                without the buffer that it writes, op->dst
 *     OX_OPERANDS(name)                          see ops/operands.h
 *     int32_t ox_check_name(model, op)           a status: whether the operands fit together
 *     void ox_name(run, op)                      this thread's part of the work
 *
 * and, where the table does not have a default of ops/ops.c, how much scratch it needs for a batch
 * and what it asks of the batch. */
/* clang-format off */
#define OX_EACH_OPERATION(X)                                              \
    X( 1, embed,          ox_no_scratch,             ox_check_embed_batch)    \
    X( 2, rms_norm,       ox_no_scratch,             ox_any_batch)            \
    X( 3, linear,         ox_linear_scratch,         ox_any_batch)            \
    X( 4, rope_table,     ox_no_scratch,             ox_any_batch)            \
    X( 5, rope,           ox_no_scratch,             ox_any_batch)            \
    X( 6, kv_store,       ox_no_scratch,             ox_any_batch)            \
    X( 7, attention,      ox_attention_scratch,      ox_any_batch)            \
    X( 8, glu,            ox_no_scratch,             ox_any_batch)            \
    X( 9, add,            ox_no_scratch,             ox_any_batch)            \
    X(10, select_rows,    ox_no_scratch,             ox_any_batch)            \
    X(11, softcap,        ox_no_scratch,             ox_any_batch)            \
    X(12, layer_norm,     ox_no_scratch,             ox_any_batch)            \
    X(13, activate,       ox_no_scratch,             ox_any_batch)            \
    X(14, scale,          ox_no_scratch,             ox_any_batch)            \
    X(15, position_embed, ox_no_scratch,             ox_check_position_batch) \
    X(16, select_experts, ox_select_experts_scratch, ox_any_batch)            \
    X(17, expert_linear,  ox_expert_linear_scratch,  ox_any_batch)            \
    X(18, expert_sum,     ox_no_scratch,             ox_any_batch)            \
    X(19, add_bias,       ox_no_scratch,             ox_any_batch)            \
    X(20, quantize,       ox_quantize_scratch,       ox_any_batch)            \
    X(21, gather_experts, ox_gather_experts_scratch, ox_any_batch)            \
    X(22, clamp,          ox_no_scratch,             ox_any_batch)            \
    X(23, xielu,          ox_no_scratch,             ox_any_batch)            \
    X(24, causal_conv,    ox_no_scratch,             ox_any_batch)            \
    X(25, gated_delta_rule, ox_no_scratch,           ox_any_batch)            \
    X(26, selective_scan, ox_selective_scan_scratch, ox_any_batch)            \
    X(27, decay,          ox_no_scratch,             ox_any_batch)            \
    X(28, take_columns,   ox_no_scratch,             ox_any_batch)            \
    X(30, put_columns,    ox_no_scratch,             ox_any_batch)            \
    X(31, mix_streams,    ox_no_scratch,             ox_any_batch)            \
    X(32, match_length,   ox_no_scratch,             ox_any_batch)            \
    X(33, keep_largest,   ox_no_scratch,             ox_any_batch)            \
    X(34, multiply_vector, ox_no_scratch,            ox_any_batch)            \
    X(40, join_heads,     ox_no_scratch,             ox_any_batch)            \
    X(41, all_experts,    ox_no_scratch,             ox_any_batch)            \
    X(42, scale_positions, ox_no_scratch,            ox_any_batch)            \
    X(50, mean_rows,      ox_no_scratch,             ox_any_batch)
/* clang-format on */

/* Scratch in bytes. */
typedef struct ox_scratch {
    uint64_t shared;   /* of all threads together */
    uint64_t local;    /* of each thread */
    uint64_t prepared; /* of each thread in a pass of one token: the input that is prepared */
} ox_scratch;

#define X(KIND, NAME, SCRATCH, BATCH)                                                              \
    uint32_t ox_##NAME##_words(void);                                                              \
    int32_t ox_check_##NAME(const ox_model *model, const ox_op *op);                               \
    ox_scratch SCRATCH(const ox_model *model, const ox_op *op, uint32_t n_tokens,                  \
                       uint32_t n_threads);                                                        \
    int32_t BATCH(const ox_model *model, const ox_op *op, const ox_batch *batch);                  \
    void ox_##NAME(const ox_run *run, const ox_op *op);
OX_EACH_OPERATION(X)
#undef X

enum ox_kind {
#define X(KIND, NAME, SCRATCH, BATCH) OX_KIND_##NAME = KIND,
    OX_EACH_OPERATION(X)
#undef X
};

/* The input in run->prepared: the operation that prepared it, or NULL if there is none or its
 * buffers have changed since, and the buffers that it was prepared from. */
typedef struct ox_input {
    const ox_op *by;
    int32_t from[2];
} ox_input;

/* Quantize and GatherExperts: what they prepare. */
ox_input ox_quantize_input(const ox_op *op);
ox_input ox_gather_experts_input(const ox_op *op);
/* Linear and ExpertLinear: 1 if they can take the input. */
int32_t ox_linear_takes(const ox_model *model, const ox_op *op, const ox_input *input);
int32_t ox_expert_linear_takes(const ox_model *model, const ox_op *op, const ox_input *input);

/* The same for an operation of any kind, unknown ones too. */
int32_t ox_check_op(const ox_model *model, const ox_op *op);
/* Whether an operation that was checked can take the input; keeps that up to date. */
int32_t ox_check_op_input(const ox_model *model, const ox_op *op, ox_input *input);
ox_scratch ox_scratch_of_op(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                            uint32_t n_threads);
int32_t ox_check_op_batch(const ox_model *model, const ox_op *op, const ox_batch *batch);
void ox_execute_op(const ox_run *run, const ox_op *op);

#endif
