/* OX_ROPE_TABLE and OX_ROPE. */
#include "internal.h"
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

void ox_rope_table(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const uint8_t *frequencies =
        (const uint8_t *)(uintptr_t)ox_constant_at(run, op->tensor[0])->data;
    const ox_tensor *runs = ox_constant_at(run, op->tensor[1]);
    const uint8_t *magnitudes = (const uint8_t *)(uintptr_t)runs->data;
    const uint32_t half = dst->width / 2, last_run = runs->n_in - 1;
    uint32_t first, last;
    ox_partition(run, n_rows, &first, &last);
    for (uint32_t t = first; t < last; t++) {
        const uint32_t position = ox_position(ox_sequence_of(run, t), t);
        const uint32_t n = position / (uint32_t)op->i[0], r = n < last_run ? n : last_run;
        const float magnitude = v_float_of_bits(v_load_u32(magnitudes + 4 * (size_t)r));
        float *row = ox_row(dst, t);
        for (uint32_t j = 0; j < half; j++) {
            const double angle =
                (double)position * v_float_of_bits(v_load_u32(frequencies + 4 * j));
            float sine = 0.0f, cosine = 1.0f;
            if (angle > -1e8 && angle < 1e8) sin_cos(angle, &sine, &cosine);
            row[j] = magnitude * cosine;
            row[half + j] = magnitude * sine;
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
    if (style == 0) {
        rotate_interleaved(x, cosines, sines, n_pairs);
    } else {
        rotate_neox(x, cosines, sines, n_pairs);
    }
}

void ox_rope(const ox_run *run, const ox_op *op, uint32_t n_rows) {
    const ox_buffer *x = ox_buffer_at(run, op->dst), *table = ox_buffer_at(run, op->src[1]);
    const uint32_t head = (uint32_t)op->i[0], half = (uint32_t)op->i[1] / 2;
    const uint32_t n_heads = x->width / head;
    uint32_t first, last;
    ox_partition(run, n_rows * n_heads, &first, &last);
    for (uint32_t i = first; i < last; i++) {
        const float *cosines = ox_row(table, i / n_heads);
        float *values = ox_row(x, i / n_heads) + (size_t)(i % n_heads) * head;
        ox_rotate(values, cosines, cosines + half, half, (uint32_t)op->i[2]);
    }
}
