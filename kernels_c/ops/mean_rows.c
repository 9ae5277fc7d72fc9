/* MeanRows: the mean over the tokens of a text. */
#include "ops/operands.h"
#include "simd/simd.h"

/* dst = for each row whose output the batch asks for, the mean of its sequence's rows of src */
typedef struct mean_rows_args {
    int32_t src;
} mean_rows_args;
OX_OPERANDS(mean_rows)

int32_t ox_check_mean_rows(const ox_model *model, const ox_op *op) {
    const ox_buffer *src = ox_find_buffer(model, mean_rows_args_of(op).src);
    const ox_buffer *dst = ox_find_buffer(model, op->dst);
    return ox_model_status(ox_is_batch(src) && dst && dst->rows == OX_ROWS_OUTPUT &&
                           src->width == dst->width);
}

/* to = the mean of n rows of src, n > 0, from `first` on. */
static void mean_of_rows(const ox_buffer *src, uint32_t first, uint32_t n, float *to) {
    const float factor = 1.0f / (float)n;
    for (uint32_t i = 0; i < src->width; i += VF) {
        const uint32_t left = src->width - i;
        vf32 sum = v_zero();
        for (uint32_t t = first; t < first + n; t++) {
            sum = v_add(sum, v_load_upto(ox_row(src, t) + i, left));
        }
        v_store_upto(to + i, left, v_mul(sum, v_splat(factor)));
    }
}

void ox_mean_rows(const ox_run *run, const ox_op *op) {
    const ox_buffer *src = ox_buffer_at(run, mean_rows_args_of(op).src);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const uint32_t *rows = (const uint32_t *)(uintptr_t)run->batch->outputs;
    const ox_sequence *sequence = (const ox_sequence *)(uintptr_t)run->batch->sequences;
    uint32_t i, last;
    ox_partition(run, ox_n_rows(run, dst), &i, &last);
    for (; i < last; i++) { /* both the rows and the sequences ascend */
        while (rows[i] >= sequence->first_token + sequence->n_tokens) sequence++;
        mean_of_rows(src, sequence->first_token, sequence->n_tokens, ox_row(dst, i));
    }
}
