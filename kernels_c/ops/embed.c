/* Embed and PositionEmbed: rows of a weight as float32. */
#include "ops/operands.h"
#include "quant/codebook_formats.h"
#include "quant/repack.h"

/* Dequantizes one row of a column: f.block weights times scale. */
static void dequantize_column(const ox_format f, const uint8_t *column, uint32_t row, float scale,
                              float *to) {
    uint8_t expanded[EXPANDED_BYTES];
    ox_panel_scales scales;
    const uint8_t *tile = ready_column(f, column, expanded, &scales);
    const uint32_t v = row / VF, lane = row % VF;
    for (uint32_t sub = 0; sub < format_sub_blocks(f); sub++, tile += ready_tile_bytes(f)) {
        for (int group = 0; group < 8; group++) {
            const uint32_t part = sub * f.n_scales + (f.n_scales == 2 ? (uint32_t)group / 4 : 0);
            const float d = scales.d[part][row];
            const float m = format_has_min(f) ? scales.m[part][row] : 0.0f;
            uint8_t u[4 * VF];
            vb_store(u, tile_group(f, tile, group, (int)v));
            for (uint32_t i = 0; i < 4; i++) {
                const uint8_t x = u[4 * lane + i];
                const int32_t value = f.is_signed ? (int8_t)x : (int32_t)x - f.offset;
                *to++ = (d * (float)value + m) * scale;
            }
        }
    }
}

static void dequantize_row(const ox_format f, const ox_tensor *tensor, uint32_t row, float scale,
                           float *to) {
    const uint8_t *data = (const uint8_t *)(uintptr_t)tensor->data;
    const uint64_t row_bytes = format_row_bytes(f, tensor->n_in);
    const uint32_t panel = row / PANEL;
    const int packed = tensor->packed && panel < tensor->n_out / PANEL;
    uint8_t column[PANEL * OX_MAX_BLOCK_BYTES];
    for (uint32_t c = 0; c < tensor->n_in / f.block; c++) {
        if (packed) {
            const uint8_t *at = data + panel * PANEL * row_bytes;
            dequantize_column(f, at + (size_t)c * format_column_bytes(f), row % PANEL, scale, to);
        } else {
            const uint8_t *block = data + row * row_bytes + (size_t)c * f.block_bytes;
            ox_pack_rows(&f, block, row_bytes, 1, 1, column);
            dequantize_column(f, column, 0, scale, to);
        }
        to += f.block;
    }
}

static void float_row(const ox_tensor *tensor, uint32_t row, float scale, float *to) {
    const uint32_t bytes = tensor->format == OX_F32 ? 4 : 2;
    const uint8_t *from =
        (const uint8_t *)(uintptr_t)tensor->data + (uint64_t)row * tensor->n_in * bytes;
    for (uint32_t i = 0; i < tensor->n_in; i++, from += bytes) {
        if (tensor->format == OX_F32) {
            to[i] = v_float_of_bits(v_load_u32(from)) * scale;
        } else if (tensor->format == OX_F16) {
            to[i] = v_f16_to_f32(v_load_u16(from)) * scale;
        } else {
            to[i] = v_float_of_bits((uint32_t)v_load_u16(from) << 16) * scale;
        }
    }
}

static void any_row(const ox_tensor *tensor, uint32_t row, float scale, float *to) {
    const ox_format *format = ox_find_format(tensor->format);
    if (format) {
        dequantize_row(*format, tensor, row, scale, to);
    } else {
        float_row(tensor, row, scale, to);
    }
}

/* dst[t] = row token[t] of the weight * scale */
typedef struct embed_args {
    int32_t weight;
    float scale;
} embed_args;
OX_OPERANDS(embed)

/* A weight of which any row fits into dst. */
static int32_t check_table(const ox_model *model, int32_t weight, int32_t dst) {
    const ox_tensor *tensor = ox_find_tensor(model, weight);
    const ox_buffer *buffer = ox_find_buffer(model, dst);
    const int32_t status = ox_check_matrix(tensor);
    if (status) return status;
    return ox_model_status(ox_is_batch(buffer) && tensor->n_in == buffer->width);
}

int32_t ox_check_embed(const ox_model *model, const ox_op *op) {
    return check_table(model, embed_args_of(op).weight, op->dst);
}

/* Every token has a row. */
int32_t ox_check_embed_batch(const ox_model *model, const ox_op *op, const ox_batch *batch) {
    const uint32_t n_rows = ox_find_tensor(model, embed_args_of(op).weight)->n_out;
    const int32_t *tokens = (const int32_t *)(uintptr_t)batch->tokens;
    for (uint32_t t = 0; t < batch->n_tokens; t++) {
        if (tokens[t] < 0 || (uint32_t)tokens[t] >= n_rows) return OX_BAD_TOKEN;
    }
    return OX_OK;
}

void ox_embed(const ox_run *run, const ox_op *op) {
    const embed_args args = embed_args_of(op);
    const ox_tensor *tensor = ox_tensor_at(run, args.weight);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const int32_t *tokens = (const int32_t *)(uintptr_t)run->batch->tokens;
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst), &first, &last);
    for (uint32_t t = first; t < last; t++) {
        any_row(tensor, (uint32_t)tokens[t], args.scale, ox_row(dst, t));
    }
}

/* dst[t] = row position[t] of the weight */
typedef struct position_embed_args {
    int32_t weight;
} position_embed_args;
OX_OPERANDS(position_embed)

int32_t ox_check_position_embed(const ox_model *model, const ox_op *op) {
    return check_table(model, position_embed_args_of(op).weight, op->dst);
}

/* Every position has a row. */
int32_t ox_check_position_batch(const ox_model *model, const ox_op *op, const ox_batch *batch) {
    const uint32_t n_rows = ox_find_tensor(model, position_embed_args_of(op).weight)->n_out;
    const ox_sequence *sequences = (const ox_sequence *)(uintptr_t)batch->sequences;
    for (uint32_t s = 0; s < batch->n_sequences; s++) {
        const uint64_t end = (uint64_t)sequences[s].position + sequences[s].n_tokens;
        if (end > n_rows) return OX_BAD_BATCH;
    }
    return OX_OK;
}

void ox_position_embed(const ox_run *run, const ox_op *op) {
    const ox_tensor *tensor = ox_tensor_at(run, position_embed_args_of(op).weight);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst), &first, &last);
    for (uint32_t t = first; t < last; t++) {
        any_row(tensor, ox_position(ox_sequence_of(run, t), t), 1.0f, ox_row(dst, t));
    }
}
