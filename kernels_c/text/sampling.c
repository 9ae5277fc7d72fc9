/* What sampling does with all logits of a vocabulary. */
#include "ox.h"
#include "simd/vmath.h"

enum {
    BLOCK = 256,     /* logits that are weighed together */
    PASSED_OVER = 64 /* looked at together whether one may be among the largest */
};

/* Whether candidate a ranks behind b: a smaller logit, or an equal one of a larger id. */
static int32_t ranks_behind(float a, uint32_t a_id, float b, uint32_t b_id) {
    return a < b || (a == b && a_id > b_id);
}

/* A heap of which no candidate has one below it that ranks before it, or, reversed, behind it. */
V_INLINE void sift_down(float *values, uint32_t *ids, uint32_t n, uint32_t at, const int reversed) {
    const float value = values[at];
    const uint32_t id = ids[at];
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && reversed == ranks_behind(values[child], ids[child], values[child + 1],
                                                      ids[child + 1])) {
            child++;
        }
        if (reversed != ranks_behind(value, id, values[child], ids[child])) break;
        values[at] = values[child];
        ids[at] = ids[child];
    }
    values[at] = value;
    ids[at] = id;
}

V_INLINE void make_heap(float *values, uint32_t *ids, uint32_t n, const int reversed) {
    for (uint32_t i = n / 2; i-- > 0;) sift_down(values, ids, n, i, reversed);
}

/* Takes the root of a heap of n candidates and puts it behind those that are left. */
V_INLINE void pop_heap(float *values, uint32_t *ids, uint32_t n, const int reversed) {
    const float value = values[0];
    const uint32_t id = ids[0];
    values[0] = values[n - 1];
    ids[0] = ids[n - 1];
    values[n - 1] = value;
    ids[n - 1] = id;
    if (n > 1) sift_down(values, ids, n - 1, 0, reversed);
}

static float number(float x) { return x == x ? x : NEGATIVE_INFINITY; }

/* Of PASSED_OVER logits. */
static int32_t any_above(const float *logits, float threshold) {
    vf32 most[4];
    for (int i = 0; i < 4; i++) most[i] = v_splat(threshold);
    for (uint32_t i = 0; i < PASSED_OVER; i += 4 * VF) {
        V_UNROLL
        for (uint32_t j = 0; j < 4; j++) most[j] = v_max(most[j], v_load(logits + i + j * VF));
    }
    return v_hmax(v_max(v_max(most[0], most[1]), v_max(most[2], most[3]))) > threshold;
}

uint32_t ox_top_k(const float *logits, uint32_t n, uint32_t k, uint32_t *ids, float *values) {
    if (k > n) k = n;
    if (k == 0) return 0;
    for (uint32_t i = 0; i < k; i++) {
        ids[i] = i;
        values[i] = number(logits[i]);
    }
    make_heap(values, ids, k, 0);
    for (uint32_t i = k; i < n;) {
        /* most of the vocabulary is far below the k-th */
        const uint32_t end = n - i < PASSED_OVER ? n : i + PASSED_OVER;
        if (end - i == PASSED_OVER && !any_above(logits + i, values[0])) {
            i = end;
            continue;
        }
        for (; i < end; i++) {
            const float value = number(logits[i]);
            if (!ranks_behind(values[0], ids[0], value, i)) continue;
            values[0] = value;
            ids[0] = i;
            sift_down(values, ids, k, 0, 0);
        }
    }
    for (uint32_t end = k; end > 1; end--) pop_heap(values, ids, end, 0);
    return k;
}

static float largest_of(const float *logits, uint32_t n) {
    vf32 most = v_splat(NEGATIVE_INFINITY);
    uint32_t i = 0;
    for (; i + VF <= n; i += VF) most = v_max(most, v_load(logits + i));
    float largest = v_hmax(most);
    for (; i < n; i++) {
        if (logits[i] > largest) largest = logits[i];
    }
    return largest;
}

/* What makes weights of logits: exp((logit - largest) * inverse_temperature). */
typedef struct softmax {
    float largest;
    float inverse_temperature;
} softmax;

static softmax softmax_of(const float *logits, uint32_t n, float temperature) {
    const float inverse = 1.0f / temperature;
    return (softmax){largest_of(logits, n), inverse < __FLT_MAX__ ? inverse : __FLT_MAX__};
}

/* NaN weighs nothing; what equals the largest weighs 1, even if both are infinite. */
V_INLINE vf32 weights(softmax s, vf32 logits) {
    const vf32 numbers = v_max(v_splat(NEGATIVE_INFINITY), logits);
    const vf32 below = v_min(v_zero(), v_sub(numbers, v_splat(s.largest)));
    return v_exp(v_mul(below, v_splat(s.inverse_temperature)));
}

/* The weights of up to BLOCK logits, and their sum. */
static float weigh_block(softmax s, const float *logits, uint32_t n, float block[BLOCK]) {
    vf32 total = v_zero();
    for (uint32_t i = 0; i < n; i += VF) {
        if (n - i >= VF) {
            v_store(block + i, weights(s, v_load(logits + i)));
        } else {
            v_store(block + i, weights(s, v_load_part(logits + i, n - i)));
            for (uint32_t j = n; j < i + VF; j++) block[j] = 0.0f;
        }
        total = v_add(total, v_load(block + i));
    }
    return v_hsum(total);
}

static double weight_sum(softmax s, const float *logits, uint32_t n) {
    float block[BLOCK];
    double total = 0.0;
    for (uint32_t i = 0; i < n; i += BLOCK) {
        total += weigh_block(s, logits + i, n - i < BLOCK ? n - i : BLOCK, block);
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
    if (s.largest == NEGATIVE_INFINITY) return s.largest;
    return (float)(s.largest * (double)s.inverse_temperature +
                   natural_log(weight_sum(s, logits, n)));
}

/* sum(w * log(w)) of up to BLOCK weights w; what weighs nothing adds nothing. */
static float weighted_logs(softmax s, const float *logits, uint32_t n, const float *block) {
    vf32 total = v_zero();
    for (uint32_t i = 0; i < n; i += VF) {
        const vf32 x = v_load_upto(logits + i, n - i);
        const vf32 below = v_min(v_zero(), v_sub(x, v_splat(s.largest)));
        /* -infinity times 0 would be no number */
        const vf32 log_weight = v_max(v_splat(-1e4f), v_mul(below, v_splat(s.inverse_temperature)));
        total = v_fma(v_load(block + i), log_weight, total);
    }
    return v_hsum(total);
}

float ox_entropy(const float *logits, uint32_t n, float temperature) {
    const softmax s = softmax_of(logits, n, temperature);
    if (s.largest == NEGATIVE_INFINITY) return 0.0f;
    float block[BLOCK];
    double total = 0.0, logs = 0.0;
    for (uint32_t i = 0; i < n; i += BLOCK) {
        const uint32_t n_block = n - i < BLOCK ? n - i : BLOCK;
        total += weigh_block(s, logits + i, n_block, block);
        logs += weighted_logs(s, logits + i, n_block, block);
    }
    return (float)(natural_log(total) - logs / total);
}

uint32_t ox_sample(const float *logits, uint32_t n, float temperature, double u) {
    const softmax s = softmax_of(logits, n, temperature);
    const double total = weight_sum(s, logits, n), limit = total * (1.0 - 0x1p-52);
    const double target = u * total < limit ? u * total : limit;
    float block[BLOCK];
    double before = 0.0;
    uint32_t chosen = 0;
    for (uint32_t first = 0; first < n; first += BLOCK) {
        const uint32_t n_block = n - first < BLOCK ? n - first : BLOCK;
        const double after = before + weigh_block(s, logits + first, n_block, block);
        double cumulative = before;
        before = after;
        if (after <= target) continue;
        for (uint32_t i = 0; i < n_block; i++) {
            cumulative += block[i];
            if (block[i] > 0.0f) chosen = first + i;
            if (cumulative > target) break;
        }
        return chosen; /* where rounding kept the sum below the target: the last possible token */
    }
    return chosen;
}

/* Writes the tokens whose logits are above a bound; returns how many there are. */
static uint32_t collect_above(const float *logits, uint32_t n, float bound, uint32_t *ids,
                              float *values) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < n;) {
        const uint32_t end = n - i < PASSED_OVER ? n : i + PASSED_OVER;
        if (end - i == PASSED_OVER && !any_above(logits + i, bound)) {
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

static float weight_of(softmax s, float logit) {
    return logit < s.largest ? v_exp_one((logit - s.largest) * s.inverse_temperature) : 1.0f;
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

/* The bound falls until what is above it weighs enough: few tokens of a vocabulary are ordered. */
uint32_t ox_top_p(const float *logits, uint32_t n, float temperature, double p, uint32_t *ids,
                  float *values) {
    const softmax s = softmax_of(logits, n, temperature);
    if (s.largest == NEGATIVE_INFINITY) return 0;
    const double target = p * weight_sum(s, logits, n);
    uint32_t n_above = 0;
    float bound = s.largest;
    for (float depth = 3.0f; bound > NEGATIVE_INFINITY; depth += 3.0f) {
        bound = s.largest - depth * temperature;
        if (!(bound < s.largest) || depth > 30.0f) bound = NEGATIVE_INFINITY;
        n_above = collect_above(logits, n, bound, ids, values);
        if (weight_sum(s, values, n_above) >= target) break;
    }
    make_heap(values, ids, n_above, 1);
    double cumulative = 0.0;
    uint32_t count = 0;
    do {
        pop_heap(values, ids, n_above - count, 1);
        count++;
        cumulative += weight_of(s, values[n_above - count]);
    } while (cumulative < target && count < n_above);
    reverse(values, ids, n_above);
    return count;
}
