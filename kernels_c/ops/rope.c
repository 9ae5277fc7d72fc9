/* RopeTable and Rope. */
#include "ops/operands.h"
#include "simd/simd.h"

/* Sine and cosine for |x| up to about 1e8: x = n pi/2 + r, with pi/2 in two parts, then the Taylor
 * series of r in double, far more exact than float32. */
static void sin_cos(double x, float *sine, float *cosine) {
    const double scaled = x * 0.63661977236758134308;
    const int64_t n = (int64_t)(scaled + (scaled < 0 ? -0.5 : 0.5));
    const double r =
        (x - (double)n * 1.57079632673412561417) - (double)n * 6.07710050650619224932e-11;
    const double z = r * r;
    const double s =
        r *
        (1 + z * (-1.0 / 6 + z * (1.0 / 120 +
                                  z * (-1.0 / 5040 + z * (1.0 / 362880 + z * (-1.0 / 39916800))))));
    const double c =
        1 + z * (-1.0 / 2 + z * (1.0 / 24 + z * (-1.0 / 720 +
                                                 z * (1.0 / 40320 + z * (-1.0 / 3628800 +
                                                                         z * (1.0 / 479001600))))));
    const double sines[4] = {s, c, -s, -c}, cosines[4] = {c, -s, -c, s};
    *sine = (float)sines[n & 3];
    *cosine = (float)cosines[n & 3];
}

/* dst[t] = factor * (cos a, then sin a) with angles a = position[t] * frequencies */
typedef struct rope_table_args {
    int32_t frequencies;       /* a constant: half as many values as dst is wide */
    int32_t attention_factors; /* a constant: one for each interval, the last for all after those */
    int32_t interval;          /* in positions */
} rope_table_args;
OX_OPERANDS(rope_table)

int32_t ox_check_rope_table(const ox_model *model, const ox_op *op) {
    const rope_table_args args = rope_table_args_of(op);
    const ox_buffer *dst = ox_find_buffer(model, op->dst);
    const ox_tensor *frequencies = ox_find_constant(model, args.frequencies);
    const ox_tensor *factors = ox_find_constant(model, args.attention_factors);
    return ox_model_status(
        ox_is_batch(dst) && dst->width % 2 == 0 && ox_is_vector(frequencies, dst->width / 2) &&
        factors && factors->n_in > 0 && ox_is_vector(factors, factors->n_in) && args.interval > 0);
}

void ox_rope_table(const ox_run *run, const ox_op *op) {
    const rope_table_args args = rope_table_args_of(op);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const ox_tensor *factors = ox_constant_at(run, args.attention_factors);
    const uint8_t *frequencies =
        (const uint8_t *)(uintptr_t)ox_constant_at(run, args.frequencies)->data;
    const uint8_t *factor_bytes = (const uint8_t *)(uintptr_t)factors->data;
    const uint32_t half = dst->width / 2, last_interval = factors->n_in - 1;
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst), &first, &last);
    for (uint32_t t = first; t < last; t++) {
        const uint32_t position = ox_position(ox_sequence_of(run, t), t);
        const uint32_t n = position / (uint32_t)args.interval,
                       i = n < last_interval ? n : last_interval;
        const float factor = v_float_of_bits(v_load_u32(factor_bytes + 4 * (size_t)i));
        float *row = ox_row(dst, t);
        for (uint32_t j = 0; j < half; j++) {
            const double angle =
                (double)position * v_float_of_bits(v_load_u32(frequencies + 4 * j));
            float sine = 0.0f, cosine = 1.0f;
            if (angle > -1e8 && angle < 1e8) sin_cos(angle, &sine, &cosine);
            row[j] = factor * cosine;
            row[half + j] = factor * sine;
        }
    }
}

static void rotate_interleaved(float *x, const float *cosines, const float *sines, uint32_t half) {
    for (uint32_t j = 0; j < half; j++) {
        const float a = x[2 * j], b = x[2 * j + 1];
        x[2 * j] = a * cosines[j] - b * sines[j];
        x[2 * j + 1] = a * sines[j] + b * cosines[j];
    }
}

static void rotate_neox(float *x, const float *cosines, const float *sines, uint32_t half) {
    uint32_t j = 0;
    for (; j + VF <= half; j += VF) {
        const vf32 a = v_load(x + j), b = v_load(x + half + j);
        const vf32 c = v_load(cosines + j), s = v_load(sines + j);
        v_store(x + j, v_sub(v_mul(a, c), v_mul(b, s)));
        v_store(x + half + j, v_add(v_mul(a, s), v_mul(b, c)));
    }
    for (; j < half; j++) {
        const float a = x[j], b = x[half + j];
        x[j] = a * cosines[j] - b * sines[j];
        x[half + j] = a * sines[j] + b * cosines[j];
    }
}

void ox_rotate(float *x, const float *cosines, const float *sines, uint32_t n_pairs,
               uint32_t style) {
    if (style == OX_INTERLEAVED) {
        rotate_interleaved(x, cosines, sines, n_pairs);
    } else {
        rotate_neox(x, cosines, sines, n_pairs);
    }
}

/* Rotates the first n_rot values of each head of dst, in place. */
typedef struct rope_args {
    int32_t table; /* a buffer of RopeTable, n_rot wide */
    int32_t head_dim;
    int32_t n_rot;
    int32_t style; /* enum ox_rope_style */
} rope_args;
OX_OPERANDS(rope)

int32_t ox_check_rope(const ox_model *model, const ox_op *op) {
    const rope_args args = rope_args_of(op);
    const ox_buffer *x = ox_find_buffer(model, op->dst), *table = ox_find_buffer(model, args.table);
    return ox_model_status(ox_is_batch(x) && ox_is_batch(table) && x != table &&
                           args.head_dim > 0 && args.n_rot > 0 && args.n_rot % 2 == 0 &&
                           args.n_rot <= args.head_dim && x->width % (uint32_t)args.head_dim == 0 &&
                           table->width == (uint32_t)args.n_rot &&
                           (args.style == OX_INTERLEAVED || args.style == OX_NEOX));
}

void ox_rope(const ox_run *run, const ox_op *op) {
    const rope_args args = rope_args_of(op);
    const ox_buffer *x = ox_buffer_at(run, op->dst), *table = ox_buffer_at(run, args.table);
    const uint32_t head = (uint32_t)args.head_dim, half = (uint32_t)args.n_rot / 2;
    const uint32_t n_heads = x->width / head;
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, x) * n_heads, &first, &last);
    for (uint32_t i = first; i < last; i++) {
        const float *cosines = ox_row(table, i / n_heads);
        float *values = ox_row(x, i / n_heads) + (size_t)(i % n_heads) * head;
        ox_rotate(values, cosines, cosines + half, half, (uint32_t)args.style);
    }
}
