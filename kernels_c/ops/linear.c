/* Linear: dst = scale * weight @ src (+ bias), the weights quantized or not. */
#include "ops/linear.h"
#include "ops/linear_float.h"
#include "ops/operands.h"
#include "quant/gemm.h"
#include "quant/repack.h"

uint64_t ox_linear_local_bytes(const ox_tensor *weight, uint32_t n_rows) {
    const ox_format *format = ox_find_format(weight->format);
    if (!format) return ox_linear_float_local_bytes(weight, n_rows);
    const uint64_t panel = PANEL * format_row_bytes(*format, weight->n_in);
    const uint64_t unpacked = n_rows > OX_GEMV_TOKENS ? ox_unpacked_bytes(format, weight->n_in) : 0;
    return ox_align64(panel) + unpacked;
}

/* Stores a panel's results for tokens token .. token + n_tokens - 1; the panel has n_valid rows. */
static void store_panel(const ox_product *product, uint32_t panel, uint32_t n_valid, uint32_t token,
                        uint32_t n_tokens, const float (*rows)[PANEL]) {
    const vf32 scale = v_splat(product->scale);
    for (uint32_t t = 0; t < n_tokens; t++) {
        float *to = ox_product_row(product, token + t) + (size_t)panel * PANEL;
        const float *bias = product->bias ? product->bias + (size_t)panel * PANEL : NULL;
        if (n_valid == PANEL) {
            for (int i = 0; i < PANEL; i += VF) {
                const vf32 x = v_mul(v_load(rows[t] + i), scale);
                v_store(to + i, bias ? v_add(x, v_load(bias + i)) : x);
            }
        } else {
            for (uint32_t i = 0; i < n_valid; i++)
                to[i] = rows[t][i] * product->scale + bias_of(product, panel * PANEL + i);
        }
    }
}

/* Weights in blocks of 256 are so coarse that residuals would not show. */
static uint32_t n_residuals(const ox_format *format, const ox_activations *acts, uint32_t group) {
    return format->block == 32 ? acts->n_residuals[group] : 0;
}

static void add_rows(float (*to)[PANEL], const float (*rows)[PANEL], uint32_t n_tokens) {
    for (uint32_t t = 0; t < n_tokens; t++) {
        for (int i = 0; i < PANEL; i += VF) {
            v_store(to[t] + i, v_add(v_load(to[t] + i), v_load(rows[t] + i)));
        }
    }
}

/* One panel for all tokens. Rows that are not packed yet are packed into scratch memory. */
static void multiply_panel(const ox_run *run, const ox_product *product, const ox_format *format,
                           const ox_activations *acts, uint32_t p) {
    const ox_tensor *weight = product->weight;
    const uint32_t n_columns = weight->n_in / format->block;
    const uint64_t row_bytes = format_row_bytes(*format, weight->n_in);
    const uint64_t panel_bytes = PANEL * row_bytes;
    uint8_t *repacked = run->local;
    uint8_t *unpacked = run->local + ox_align64(panel_bytes);

    const uint32_t left = weight->n_out - p * PANEL, n_valid = left < PANEL ? left : PANEL;
    const uint8_t *panel = (const uint8_t *)(uintptr_t)weight->data + p * panel_bytes;
    const uint8_t *end = (const uint8_t *)(uintptr_t)weight->data + weight->bytes;
    if (!weight->packed || n_valid < PANEL) {
        ox_pack_rows(format, panel, row_bytes, n_valid, n_columns, repacked);
        panel = repacked;
        end = repacked + panel_bytes;
    }
    float rows[V_TILE_TOKENS][PANEL], more[V_TILE_TOKENS][PANEL];
    if (product->n_rows <= OX_GEMV_TOKENS) {
        ox_panel_gemv(format, panel, end, n_columns, acts->blocks, product->n_rows, rows);
        for (uint32_t e = 0; e < n_residuals(format, acts, 0); e++) {
            ox_panel_gemv(format, panel + acts->residual_blocks[e] * format_column_bytes(*format),
                          end, 1, acts->residuals + (size_t)e * acts->group, product->n_rows, more);
            add_rows(rows, (const float (*)[PANEL])more, product->n_rows);
        }
        store_panel(product, p, n_valid, 0, product->n_rows, (const float (*)[PANEL])rows);
        return;
    }
    ox_panel_unpack(format, panel, n_columns, unpacked);
    for (uint32_t t = 0; t < product->n_rows; t += V_TILE_TOKENS) {
        const uint32_t rest = product->n_rows - t;
        const uint32_t n = rest < V_TILE_TOKENS ? rest : V_TILE_TOKENS;
        const size_t at = (size_t)t * acts->n_blocks;
        const uint32_t *residual_blocks = acts->residual_blocks + at / V_TILE_TOKENS;
        ox_panel_gemm(format, unpacked, acts->n_blocks, acts->blocks + at, n, rows);
        for (uint32_t e = 0; e < n_residuals(format, acts, t / V_TILE_TOKENS); e++) {
            ox_panel_gemm(format, unpacked + residual_blocks[e] * ox_unpacked_bytes(format, 32), 1,
                          acts->residuals + at + (size_t)e * V_TILE_TOKENS, n, more);
            add_rows(rows, (const float (*)[PANEL])more, n);
        }
        store_panel(product, p, n_valid, t, n, (const float (*)[PANEL])rows);
    }
}

static void multiply_quantized(const ox_run *run, ox_queue *queue, const ox_product *product,
                               const ox_format *format, const ox_activations *acts) {
    const uint32_t n_out = product->weight->n_out;
    const uint32_t n_panels = n_out / PANEL + (n_out % PANEL != 0);
    const uint32_t per_chunk = tiles_per_chunk(run, product, n_panels);
    uint32_t chunk;
    while (ox_next_chunk(queue, (n_panels + per_chunk - 1) / per_chunk, &chunk)) {
        const uint32_t first = chunk * per_chunk, left = n_panels - first;
        for (uint32_t i = 0; i < per_chunk && i < left; i++) {
            multiply_panel(run, product, format, acts, first + i);
        }
    }
}

void ox_multiply(const ox_run *run, ox_queue *queue, const ox_product *product,
                 uint8_t *quantized) {
    const ox_format *format = ox_find_format(product->weight->format);
    if (!format) {
        ox_linear_float(run, queue, product);
        return;
    }
    const ox_activations acts =
        ox_activations_at(quantized, product->weight->n_in, product->n_rows);
    multiply_quantized(run, queue, product, format, &acts);
}

/* dst[t][column .. column + n_out) = (scale *) weight @ src[t] (+ bias) */
typedef struct linear_args {
    int32_t src; /* if the weight is quantized, Quantize has prepared it */
    int32_t weight;
    int32_t bias; /* a vector of n_out values, or -1 */
    int32_t column;
    int32_t scale; /* a vector of one value, or -1 */
} linear_args;
OX_OPERANDS(linear)

int32_t ox_check_linear(const ox_model *model, const ox_op *op) {
    const linear_args args = linear_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    const ox_tensor *weight = ox_find_tensor(model, args.weight);
    const int32_t status = ox_check_matrix(weight);
    if (status) return status;
    return ox_model_status(
        ox_is_divided(dst) && ox_same_rows(src, dst) && src != dst && weight->n_in == src->width &&
        args.column >= 0 && (uint64_t)args.column + weight->n_out <= dst->width &&
        (args.bias < 0 || ox_is_vector(ox_find_tensor(model, args.bias), weight->n_out)) &&
        (args.scale < 0 || ox_is_vector(ox_find_tensor(model, args.scale), 1)));
}

/* Quantized weights take src as Quantize has rounded it. */
int32_t ox_linear_takes(const ox_model *model, const ox_op *op, const ox_input *input) {
    const linear_args args = linear_args_of(op);
    if (!ox_find_format(ox_find_tensor(model, args.weight)->format)) return 1;
    return input->by && input->by->kind == OX_KIND_quantize && input->from[0] == args.src;
}

ox_scratch ox_linear_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                             uint32_t n_threads) {
    (void)n_threads;
    const ox_tensor *weight = ox_find_tensor(model, linear_args_of(op).weight);
    return (ox_scratch){.local = weight ? ox_linear_local_bytes(weight, n_tokens) : 0};
}

void ox_linear(const ox_run *run, const ox_op *op) {
    const linear_args args = linear_args_of(op);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const float *scale = ox_vector_at(run, args.scale);
    const ox_product product = {
        .weight = ox_tensor_at(run, args.weight),
        .bias = ox_vector_at(run, args.bias),
        .scale = scale ? v_float_of_bits(v_load_u32(scale)) : 1.0f,
        .src = ox_row(ox_buffer_at(run, args.src), 0),
        .dst = ox_row(dst, 0) + args.column,
        .dst_stride = dst->width,
        .n_rows = ox_n_rows(run, dst),
    };
    if (product.n_rows == 0) return;
    ox_queue queue = ox_queue_of(run, op);
    ox_multiply(run, &queue, &product, run->prepared);
}
