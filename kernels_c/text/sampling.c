/* The parts of sampling that look at all logits of a vocabulary. */
#include "ox.h"
#include "simd/vmath.h"

enum {
    BLOCK = 256,    /* logits whose exponentials are summed in float32 */
    SKIP_WIDTH = 64 /* logits that are skipped together if all are too small */
};

/* 1 if candidate a ranks below b: its logit is smaller, or equal with a larger id. */
static int32_t ranks_below(float a, uint32_t a_id, float b, uint32_t b_id) {
    return a < b || (a == b && a_id > b_id);
}

/* Restores the heap below `at`. No candidate ranks above its children, or, reversed, below them. */
V_INLINE void sift_down(float *values, uint32_t *ids, uint32_t n, uint32_t at, const int reversed) {
    const float value = values[at];
    const uint32_t id = ids[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n &&
            reversed == ranks_below(values[child], ids[child], values[child + 1], ids[child + 1])) {
            child++;
        }
        if (reversed != ranks_below(value, id, values[child], ids[child])) break;
        values[at] = values[child];
        ids[at] = ids[child];
    }
    values[at] = value;
    ids[at] = id;
}

V_INLINE void make_heap(float *values, uint32_t *ids, uint32_t n, const int reversed) {
    for (uint32_t i = n / 2; i-- > 0;) sift_down(values, ids, n, i, reversed);
}

/* Moves the root of a heap of n candidates to the place after the n - 1 that are left. */
V_INLINE void pop_heap(float *values, uint32_t *ids, uint32_t n, const int reversed) {
    const float value = values[0];
    const uint32_t id = ids[0];
    values[0] = values[n - 1];
    ids[0] = ids[n - 1];
    values[n - 1] = value;
    ids[n - 1] = id;
    if (n > 1) sift_down(values, ids, n - 1, 0, reversed);
}

static float nan_to_neg_inf(float x) { return x == x ? x : NEGATIVE_INFINITY; }

/* 1 if one of SKIP_WIDTH logits is above the threshold. */
static int32_t any_above(const float *logits, float threshold) {
    vf32 max[4];
    for (int i = 0; i < 4; i++) max[i] = v_splat(threshold);
    for (uint32_t i = 0; i < SKIP_WIDTH; i += 4 * VF) {
        V_UNROLL
        for (uint32_t j = 0; j < 4; j++) max[j] = v_max(max[j], v_load(logits + i + j * VF));
    }
    return v_hmax(v_max(v_max(max[0], max[1]), v_max(max[2], max[3]))) > threshold;
}

uint32_t ox_top_k(const float *logits, uint32_t n, uint32_t k, uint32_t *ids, float *values) {
    if (k > n) k = n;
    if (k == 0) return 0;
    for (uint32_t i = 0; i < k; i++) {
        ids[i] = i;
        values[i] = nan_to_neg_inf(logits[i]);
    }
    make_heap(values, ids, k, 0);
    for (uint32_t i = k; i < n;) {
        /* most of the vocabulary is far below the k-th */
        const uint32_t end = n - i < SKIP_WIDTH ? n : i + SKIP_WIDTH;
        if (end - i == SKIP_WIDTH && !any_above(logits + i, values[0])) {
            i = end;
            continue;
        }
        for (; i < end; i++) {
            const float value = nan_to_neg_inf(logits[i]);
            if (!ranks_below(values[0], ids[0], value, i)) continue;
            values[0] = value;
            ids[0] = i;
            sift_down(values, ids, k, 0, 0);
        }
    }
    for (uint32_t end = k; end > 1; end--) pop_heap(values, ids, end, 0);
    return k;
}

static float max_of(const float *logits, uint32_t n) {
    vf32 lanes = v_splat(NEGATIVE_INFINITY);
    uint32_t i = 0;
    for (; i + VF <= n; i += VF) lanes = v_max(lanes, v_load(logits + i));
    float max = v_hmax(lanes);
    for (; i < n; i++) {
        if (logits[i] > max) max = logits[i];
    }
    return max;
}

/* Unnormalized probabilities: exp((logit - max) * inverse_temperature). */
typedef struct softmax {
    float max;
    float inverse_temperature;
} softmax;

static softmax softmax_of(const float *logits, uint32_t n, float temperature) {
    const float inverse = 1.0f / temperature;
    return (softmax){max_of(logits, n), inverse < __FLT_MAX__ ? inverse : __FLT_MAX__};
}

/* 0 for NaN; 1 for a logit that equals the max, even if both are infinite. */
V_INLINE vf32 exponentials(softmax s, vf32 logits) {
    const vf32 numbers = v_max(v_splat(NEGATIVE_INFINITY), logits);
    const vf32 below = v_min(v_zero(), v_sub(numbers, v_splat(s.max)));
    return v_exp(v_mul(below, v_splat(s.inverse_temperature)));
}

/* Writes the exponentials of n <= BLOCK logits, and returns their sum. */
static float exp_block(softmax s, const float *logits, uint32_t n, float block[BLOCK]) {
    vf32 total = v_zero();
    for (uint32_t i = 0; i < n; i += VF) {
        if (n - i >= VF) {
            v_store(block + i, exponentials(s, v_load(logits + i)));
        } else {
            v_store(block + i, exponentials(s, v_load_part(logits + i, n - i)));
            for (uint32_t j = n; j < i + VF; j++) block[j] = 0.0f;
        }
        total = v_add(total, v_load(block + i));
    }
    return v_hsum(total);
}

static double exp_sum(softmax s, const float *logits, uint32_t n) {
    float block[BLOCK];
    double total = 0.0;
    for (uint32_t i = 0; i < n; i += BLOCK) {
        total += exp_block(s, logits + i, n - i < BLOCK ? n - i : BLOCK, block);
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
    const softmax s = softmax_of(logits, n, temperature);
    if (s.max == NEGATIVE_INFINITY) return s.max;
    return (float)(s.max * (double)s.inverse_temperature + natural_log(exp_sum(s, logits, n)));
}

/* sum(p * log(p)) of the exponentials p of n <= BLOCK logits; p = 0 adds 0. */
static float exp_log_sum(softmax s, const float *logits, uint32_t n, const float *block) {
    vf32 total = v_zero();
    for (uint32_t i = 0; i < n; i += VF) {
        const vf32 x = v_load_upto(logits + i, n - i);
        const vf32 below = v_min(v_zero(), v_sub(x, v_splat(s.max)));
        /* 0 * -infinity would be NaN */
        const vf32 log_p = v_max(v_splat(-1e4f), v_mul(below, v_splat(s.inverse_temperature)));
        total = v_fma(v_load(block + i), log_p, total);
    }
    return v_hsum(total);
}

float ox_entropy(const float *logits, uint32_t n, float temperature) {
    const softmax s = softmax_of(logits, n, temperature);
    if (s.max == NEGATIVE_INFINITY) return 0.0f;
    float block[BLOCK];
    double total = 0.0, logs = 0.0;
    for (uint32_t i = 0; i < n; i += BLOCK) {
        const uint32_t n_block = n - i < BLOCK ? n - i : BLOCK;
        total += exp_block(s, logits + i, n_block, block);
        logs += exp_log_sum(s, logits + i, n_block, block);
    }
    return (float)(natural_log(total) - logs / total);
}

uint32_t ox_sample(const float *logits, uint32_t n, float temperature, double u) {
    const softmax s = softmax_of(logits, n, temperature);
    const double total = exp_sum(s, logits, n), limit = total * (1.0 - 0x1p-52);
    const double target = u * total < limit ? u * total : limit;
    float block[BLOCK];
    double before = 0.0;
    uint32_t chosen = 0;
    for (uint32_t first = 0; first < n; first += BLOCK) {
        const uint32_t n_block = n - first < BLOCK ? n - first : BLOCK;
        const double after = before + exp_block(s, logits + first, n_block, block);
        double cumulative = before;
        before = after;
        if (after <= target) continue;
        for (uint32_t i = 0; i < n_block; i++) {
            cumulative += block[i];
            if (block[i] > 0.0f) chosen = first + i;
            if (cumulative > target) break;
        }
        return chosen; /* the last possible token, if rounding keeps the sum below the target */
    }
    return chosen;
}

/* Writes the tokens whose logits are above the bound, and returns how many. */
static uint32_t collect_above(const float *logits, uint32_t n, float bound, uint32_t *ids,
                              float *values) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n;) {
        const uint32_t end = n - i < SKIP_WIDTH ? n : i + SKIP_WIDTH;
        if (end - i == SKIP_WIDTH && !any_above(logits + i, bound)) {
            i = end;
            continue;
        }
        for (; i < end; i++) {
            if (!(logits[i] > bound)) continue;
            ids[count] = i;
            values[count++] = logits[i];
        }
    }
    return count;
}

static float exp_of(softmax s, float logit) {
    return logit < s.max ? v_exp_one((logit - s.max) * s.inverse_temperature) : 1.0f;
}

static void reverse(float *values, uint32_t *ids, uint32_t n) {
    for (uint32_t i = 0, j = n; i + 1 < j--; i++) {
        const float value = values[i];
        const uint32_t id = ids[i];
        values[i] = values[j];
        ids[i] = ids[j];
        values[j] = value;
        ids[j] = id;
    }
}

/* The bound falls until the probabilities above it reach p, so that few tokens need sorting. */
uint32_t ox_top_p(const float *logits, uint32_t n, float temperature, double p, uint32_t *ids,
                  float *values) {
    const softmax s = softmax_of(logits, n, temperature);
    if (s.max == NEGATIVE_INFINITY) return 0;
    const double target = p * exp_sum(s, logits, n);
    uint32_t n_above = 0;
    float bound = s.max;
    for (float depth = 3.0f; bound > NEGATIVE_INFINITY; depth += 3.0f) {
        bound = s.max - depth * temperature;
        if (!(bound < s.max) || depth > 30.0f) bound = NEGATIVE_INFINITY;
        n_above = collect_above(logits, n, bound, ids, values);
        if (exp_sum(s, values, n_above) >= target) break;
    }
    make_heap(values, ids, n_above, 1);
    double cumulative = 0.0;
    uint32_t count = 0;
    do {
        pop_heap(values, ids, n_above - count, 1);
        count++;
        cumulative += exp_of(s, values[n_above - count]);
    } while (cumulative < target && count < n_above);
    reverse(values, ids, n_above);
    return count;
}
