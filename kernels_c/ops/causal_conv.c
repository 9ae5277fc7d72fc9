/* CausalConv: a short convolution over time, each channel by itself.
 *
 * A thread takes a block of channels and goes through all tokens with it. The rows of a state are
 * the last inputs, the oldest first. */
#include "ops/operands.h"
#include "simd/vmath.h"

enum { MAX_TAPS = 8, BLOCK = 16 }; /* channels that a thread takes at a time: a cache line */

typedef struct causal_conv_args {
    int32_t src;
    int32_t weight; /* float32 [channels][taps] */
    int32_t bias;   /* a vector of channels, or -1 */
    int32_t state;  /* [taps - 1][channels] */
    int32_t silu;   /* 1: SiLU follows */
} causal_conv_args;
OX_OPERANDS(causal_conv)

int32_t ox_check_causal_conv(const ox_model *model, const ox_op *op) {
    const causal_conv_args args = causal_conv_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    const ox_tensor *weight = ox_find_tensor(model, args.weight);
    if (!ox_is_batch(src) || !ox_same_shape(src, dst) || src == dst || !ox_is_divided(dst)) {
        return OX_BAD_MODEL;
    }
    if (!weight || weight->format != OX_F32 || weight->data == 0 || weight->n_out != src->width ||
        weight->n_in < 2 || weight->n_in > MAX_TAPS ||
        weight->bytes != (uint64_t)weight->n_in * weight->n_out * sizeof(float)) {
        return OX_BAD_MODEL;
    }
    return ox_model_status(
        (args.bias < 0 || ox_is_vector(ox_find_tensor(model, args.bias), src->width)) &&
        ox_is_state(model, args.state, weight->n_in - 1, src->width));
}

/* The channels [c, c + n) of a sequence's tokens. */
typedef struct channels {
    const float *x; /* the first token's row of src, at channel c */
    float *to;
    float *state;
    size_t stride; /* from a row to the next */
    uint32_t n;    /* at most VF */
    uint32_t n_tokens;
} channels;

/* weights: of each tap those of the channels. taps is a constant in every call, so that the last
 * inputs stay in registers. */
V_INLINE void convolve(const channels *at, const vf32 *weights, vf32 bias, const uint32_t taps,
                       const int32_t silu) {
    vf32 last[MAX_TAPS];
    for (uint32_t j = 0; j + 1 < taps; j++) {
        last[j] = v_load_upto(at->state + j * at->stride, at->n);
    }
    for (uint32_t t = 0; t < at->n_tokens; t++) {
        last[taps - 1] = v_load_upto(at->x + t * at->stride, at->n);
        vf32 sum = bias;
        for (uint32_t j = 0; j < taps; j++) sum = v_fma(weights[j], last[j], sum);
        if (silu) sum = v_mul(sum, v_sigmoid(sum));
        v_store_upto(at->to + t * at->stride, at->n, sum);
        for (uint32_t j = 0; j + 1 < taps; j++) last[j] = last[j + 1];
    }
    for (uint32_t j = 0; j + 1 < taps; j++) {
        v_store_upto(at->state + j * at->stride, at->n, last[j]);
    }
}

static void convolve_any(const channels *at, const vf32 *weights, vf32 bias, uint32_t taps,
                         int32_t silu) {
    if (taps == 3) {
        convolve(at, weights, bias, 3, silu);
    } else if (taps == 4) {
        convolve(at, weights, bias, 4, silu);
    } else {
        convolve(at, weights, bias, taps, silu);
    }
}

/* The weights of each tap for the channels [c, c + n). */
static void load_taps(const float *weight, uint32_t taps, size_t c, uint32_t n, vf32 *weights) {
    for (uint32_t j = 0; j < taps; j++) {
        float lanes[VF];
        for (uint32_t i = 0; i < VF; i++) {
            lanes[i] = i < n ? v_float_of_bits(v_load_u32(weight + (c + i) * taps + j)) : 0.0f;
        }
        weights[j] = v_load(lanes);
    }
}

void ox_causal_conv(const ox_run *run, const ox_op *op) {
    const causal_conv_args args = causal_conv_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const ox_tensor *tensor = ox_tensor_at(run, args.weight);
    const float *weight = ox_vector_at(run, args.weight), *bias = ox_vector_at(run, args.bias);
    const uint32_t width = src->width, taps = tensor->n_in;
    uint32_t block, last_block;
    ox_partition(run, (width + BLOCK - 1) / BLOCK, &block, &last_block);
    const uint32_t end = last_block * BLOCK < width ? last_block * BLOCK : width;
    for (uint32_t c = block * BLOCK; c < end; c += VF) {
        const uint32_t n = end - c < VF ? end - c : VF;
        vf32 weights[MAX_TAPS];
        load_taps(weight, taps, c, n, weights);
        const vf32 shift = bias ? v_load_upto(bias + c, n) : v_zero();
        for (uint32_t i = 0; i < run->batch->n_sequences; i++) {
            const ox_sequence *sequence = ox_sequence_at(run, i);
            const channels at = {
                .x = ox_row(src, sequence->first_token) + c,
                .to = ox_row(dst, sequence->first_token) + c,
                .state = ox_state_of(run, sequence, args.state) + c,
                .stride = width,
                .n = n,
                .n_tokens = sequence->n_tokens,
            };
            convolve_any(&at, weights, shift, taps, args.silu);
        }
    }
}
