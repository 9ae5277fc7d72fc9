/* What sampling does with all logits of a vocabulary. */
#include "ox.h"
#include "simd.h"

#define NEGATIVE_INFINITY (-__builtin_inff())

/* Whether candidate a ranks behind b: a smaller logit, or an equal one of a larger id. */
static int32_t ranks_behind(float a, uint32_t a_id, float b, uint32_t b_id) {
    return a < b || (a == b && a_id > b_id);
}

/* A heap whose root ranks behind all others. */
static void sift_down(float *values, uint32_t *ids, uint32_t n, uint32_t at) {
    const float value = values[at];
    const uint32_t id = ids[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n &&
            ranks_behind(values[child + 1], ids[child + 1], values[child], ids[child])) {
            child++;
        }
        if (!ranks_behind(values[child], ids[child], value, id)) break;
        values[at] = values[child];
        ids[at] = ids[child];
    }
    values[at] = value;
    ids[at] = id;
}

static float number(float x) { return x == x ? x : NEGATIVE_INFINITY; }

static int32_t any_above(const float *logits, float threshold) {
    vf32 most = v_max(v_splat(threshold), v_load(logits));
    for (uint32_t i = VF; i < 16; i += VF) most = v_max(most, v_load(logits + i));
    return v_hmax(most) > threshold;
}

uint32_t ox_top_k(const float *logits, uint32_t n, uint32_t k, uint32_t *ids, float *values) {
    if (k > n) k = n;
    if (k == 0) return 0;
    for (uint32_t i = 0; i < k; i++) {
        ids[i] = i;
        values[i] = number(logits[i]);
    }
    for (uint32_t i = k / 2; i-- > 0;) sift_down(values, ids, k, i);
    for (uint32_t i = k; i < n;) {
        /* most of the vocabulary is far below the k-th: sixteen at a time are passed over */
        if (i + 16 <= n && !any_above(logits + i, values[0])) {
            i += 16;
            continue;
        }
        const uint32_t end = i + 16 <= n ? i + 16 : n;
        for (; i < end; i++) {
            const float value = number(logits[i]);
            if (!ranks_behind(values[0], ids[0], value, i)) continue;
            values[0] = value;
            ids[0] = i;
            sift_down(values, ids, k, 0);
        }
    }
    for (uint32_t end = k; end-- > 1;) { /* heap sort: the hindmost goes to the end */
        const float value = values[0];
        const uint32_t id = ids[0];
        values[0] = values[end];
        ids[0] = ids[end];
        values[end] = value;
        ids[end] = id;
        sift_down(values, ids, end, 0);
    }
    return k;
}

static float largest_of(const float *logits, uint32_t n) {
    float largest = NEGATIVE_INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        if (logits[i] > largest) largest = logits[i];
    }
    return largest;
}

/* exp((logit - largest) / temperature) of VF logits; lanes behind n are 0 */
V_INLINE vf32 weights(const float *logits, uint32_t n, float largest, float inverse) {
    float lanes[VF];
    for (uint32_t i = 0; i < VF; i++) lanes[i] = i < n ? logits[i] : NEGATIVE_INFINITY;
    return v_exp(v_mul(v_sub(v_load(lanes), v_splat(largest)), v_splat(inverse)));
}

static double weight_sum(const float *logits, uint32_t n, float largest, float inverse) {
    double total = 0.0;
    for (uint32_t i = 0; i < n; i += VF) {
        total += v_hsum(weights(logits + i, n - i, largest, inverse));
    }
    return total;
}

/* ln(x) for x >= 1: x = 2^e m with m near 1, then 2 atanh((m - 1) / (m + 1)) as a series. */
static double natural_log(double x) {
    uint64_t bits;
    __builtin_memcpy(&bits, &x, 8);
    int32_t e = (int32_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
    double m;
    __builtin_memcpy(&m, &bits, 8);
    if (m > 1.4142135623730951) {
        m *= 0.5;
        e++;
    }
    const double z = (m - 1) / (m + 1), square = z * z;
    double series = 0.0;
    for (int32_t i = 19; i >= 1; i -= 2) series = series * square + 1.0 / i;
    return e * 0.69314718055994530942 + 2 * z * series;
}

float ox_logsumexp(const float *logits, uint32_t n, float temperature) {
    const float largest = largest_of(logits, n), inverse = 1.0f / temperature;
    if (largest == NEGATIVE_INFINITY) return largest;
    return (float)(largest * (double)inverse +
                   natural_log(weight_sum(logits, n, largest, inverse)));
}

uint32_t ox_sample(const float *logits, uint32_t n, float temperature, double u) {
    const float largest = largest_of(logits, n), inverse = 1.0f / temperature;
    const double target = u * weight_sum(logits, n, largest, inverse);
    double cumulative = 0.0;
    uint32_t chosen = 0;
    for (uint32_t i = 0; i < n; i += VF) {
        float lanes[VF];
        v_store(lanes, weights(logits + i, n - i, largest, inverse));
        for (uint32_t j = 0; j < VF && i + j < n; j++) {
            cumulative += lanes[j];
            if (lanes[j] > 0.0f) chosen = i + j;
            if (cumulative > target) return i + j;
        }
    }
    return chosen; /* rounding kept the sum below the target: the last possible token */
}
