/* SelectExperts, GatherExperts, ExpertLinear and ExpertSum: a mixture of experts, of which each
 * token uses a few (Shazeer et al. 2017, https://arxiv.org/abs/1701.06538).
 *
 * A row of routes holds the numbers of a token's n_used experts, then their weights, all float32. A
 * pair is a token with one of its experts; its number is token * n_used + k. A row of a buffer with
 * pairs, [n_used][width], holds the pairs of one token. Pairs are sorted by expert and multiplied
 * expert by expert, so that an expert's weights are read once for all tokens of a batch. */
#include "ops/linear.h"
#include "ops/operands.h"
#include "quant/formats.h"
#include "simd/vmath.h"

/* The weight of an expert: a softmax over all logits, or over those of the used experts, or the
 * sigmoid of its logit, or that as a part of the used experts' sum. */
enum weighting { SOFTMAX_OF_ALL = 0, SOFTMAX_OF_USED = 1, SIGMOID = 2, SIGMOID_OF_USED = 3 };

/* dst[t] = the numbers of the n_used largest scores of src[t], as floats, largest first, then
 * weights */
typedef struct select_experts_args {
    int32_t src;       /* logits */
    int32_t bias;      /* a vector that is added to the scores, or -1 */
    int32_t n_used;    /* of each token */
    int32_t weighting; /* enum weighting */
    float scale;       /* of the weights */
    int32_t n_groups;  /* the experts divide into; only those of the best can be used */
    int32_t n_groups_used;
} select_experts_args;
OX_OPERANDS(select_experts)

/* Whether a group of experts is left over. */
static int32_t are_groups(const select_experts_args *args, uint32_t n_experts) {
    if (args->n_groups < 1 || args->n_groups_used < 1 || args->n_groups_used > args->n_groups ||
        n_experts % (uint32_t)args->n_groups) {
        return 0;
    }
    const uint64_t group = n_experts / (uint32_t)args->n_groups;
    return args->n_groups == 1 ||
           (group >= 2 && (uint32_t)args->n_used <= group * (uint32_t)args->n_groups_used);
}

/* Experts' numbers must be exact as floats. */
int32_t ox_check_select_experts(const ox_model *model, const ox_op *op) {
    const select_experts_args args = select_experts_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    return ox_model_status(
        ox_is_divided(dst) && ox_same_rows(src, dst) && src != dst && src->width <= 1u << 16 &&
        args.n_used > 0 && (uint32_t)args.n_used <= src->width &&
        dst->width == 2 * (uint32_t)args.n_used && args.weighting >= SOFTMAX_OF_ALL &&
        args.weighting <= SIGMOID_OF_USED && are_groups(&args, src->width) &&
        (args.bias < 0 || ox_is_vector(ox_find_tensor(model, args.bias), src->width)));
}

/* The scores of a token's experts, and its groups' scores. */
ox_scratch ox_select_experts_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                                     uint32_t n_threads) {
    (void)n_tokens;
    (void)n_threads;
    const ox_buffer *src = ox_find_buffer(model, select_experts_args_of(op).src);
    return (ox_scratch){.local = src ? 2 * (uint64_t)src->width * sizeof(float) : 0};
}

/* 1 if score i ranks before score j: the larger first, then the smaller index; NaN last. */
static int comes_before(const float *scores, uint32_t i, uint32_t j) {
    const float a = scores[i], b = scores[j];
    if (a != a || b != b) return a != a && b != b ? i < j : b != b;
    return a != b ? a > b : i < j;
}

/* The number of the score that ranks next after `last`, or the first one if there is no last. */
static uint32_t next_best(const float *scores, uint32_t n, int has_last, uint32_t last) {
    uint32_t best = n;
    for (uint32_t i = 0; i < n; i++) {
        if (has_last && !comes_before(scores, last, i)) continue;
        if (best == n || comes_before(scores, i, best)) best = i;
    }
    return best;
}

static float sigmoid_one(float x) { return 1.0f / (1.0f + v_exp_one(-x)); }

static float largest(const float *x, uint32_t n) {
    float max = x[0];
    for (uint32_t i = 1; i < n; i++) max = x[i] > max || max != max ? x[i] : max;
    return max;
}

/* The factor that makes exponentials of x - max a softmax. */
static float softmax_factor(const float *x, uint32_t n, float max) {
    float sum = 0.0f;
    for (uint32_t i = 0; i < n; i++) sum += v_exp_one(x[i] - max);
    return 1.0f / sum;
}

/* Gives the experts outside of the groups whose two best scores have the largest sums a score of
 * -infinity. sums: memory for n / 2 values. */
static void keep_best_groups(float *scores, uint32_t n, uint32_t n_groups, uint32_t n_used,
                             float *sums) {
    const uint32_t size = n / n_groups;
    for (uint32_t g = 0; g < n_groups; g++) {
        const float *group = scores + (size_t)g * size;
        const uint32_t first = next_best(group, size, 0, 0);
        sums[g] = group[first] + group[next_best(group, size, 1, first)];
    }
    for (uint32_t g = 0; g < n_groups; g++) {
        uint32_t rank = 0;
        for (uint32_t other = 0; other < n_groups; other++) rank += comes_before(sums, other, g);
        if (rank < n_used) continue;
        for (uint32_t i = 0; i < size; i++) scores[(size_t)g * size + i] = NEGATIVE_INFINITY;
    }
}

/* What experts are chosen by, [n]: the logits, or probabilities with a bias, of the best groups.
 * memory: for 2 * n values. */
static const float *scores_of(const select_experts_args *args, const float *logits,
                              const float *bias, uint32_t n, float *memory) {
    if (!bias && args->n_groups == 1) return logits;
    const float max = largest(logits, n), factor = softmax_factor(logits, n, max);
    const int is_sigmoid = args->weighting >= SIGMOID;
    for (uint32_t i = 0; i < n; i++) {
        memory[i] = is_sigmoid ? sigmoid_one(logits[i]) : v_exp_one(logits[i] - max) * factor;
        if (bias) memory[i] += bias[i];
    }
    if (args->n_groups > 1) {
        keep_best_groups(memory, n, (uint32_t)args->n_groups, (uint32_t)args->n_groups_used,
                         memory + n);
    }
    return memory;
}

/* Writes the weights of the n_used experts whose numbers are in route behind those. */
static void weigh_experts(const select_experts_args *args, const float *logits, uint32_t n,
                          float *route) {
    const uint32_t n_used = (uint32_t)args->n_used;
    float *weights = route + n_used, factor = 1.0f;
    for (uint32_t k = 0; k < n_used; k++) weights[k] = logits[(uint32_t)route[k]];
    if (args->weighting >= SIGMOID) {
        float sum = 0.0f;
        for (uint32_t k = 0; k < n_used; k++) sum += weights[k] = sigmoid_one(weights[k]);
        /* sigmoids so small that they sum to 0 stay 0 */
        if (args->weighting == SIGMOID_OF_USED) factor = 1.0f / (sum > 0x1p-14f ? sum : 0x1p-14f);
    } else {
        const int of_used = args->weighting == SOFTMAX_OF_USED;
        const float max = largest(weights, n_used);
        factor = of_used ? softmax_factor(weights, n_used, max) : softmax_factor(logits, n, max);
        for (uint32_t k = 0; k < n_used; k++) weights[k] = v_exp_one(weights[k] - max);
    }
    for (uint32_t k = 0; k < n_used; k++) weights[k] *= factor * args->scale;
}

void ox_select_experts(const ox_run *run, const ox_op *op) {
    const select_experts_args args = select_experts_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *dst = ox_buffer_at(run, op->dst);
    const float *bias = ox_vector_at(run, args.bias);
    const uint32_t n = src->width;
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst), &first, &last);
    for (uint32_t t = first; t < last; t++) {
        const float *logits = ox_row(src, t);
        const float *scores = scores_of(&args, logits, bias, n, (float *)(void *)run->local);
        float *route = ox_row(dst, t);
        uint32_t best = 0;
        for (uint32_t k = 0; k < (uint32_t)args.n_used; k++) {
            best = next_best(scores, n, k > 0, best);
            route[k] = (float)best;
        }
        weigh_experts(&args, logits, n, route);
    }
}

/* The pairs of a batch in the order of their experts. */
typedef struct routing {
    uint32_t n_experts;
    uint32_t n_used;
    uint32_t n_pairs;
    uint32_t *starts; /* [n_experts + 1] where the pairs of an expert start */
    uint32_t *pairs;  /* [n_pairs] */
} routing;

static uint32_t pairs_of(const routing *r, uint32_t expert) {
    return r->starts[expert + 1] - r->starts[expert];
}

static uint64_t routing_bytes(uint32_t n_experts, uint32_t n_pairs) {
    return ((uint64_t)n_experts + 1 + n_pairs) * sizeof(uint32_t);
}

static uint32_t expert_of(const routing *r, const ox_buffer *routes, uint32_t pair) {
    const float number = ox_row(routes, pair / r->n_used)[pair % r->n_used];
    return number >= 0.0f && number < (float)r->n_experts ? (uint32_t)number : 0;
}

/* A counting sort. Every thread does it for itself, which is quicker than waiting for another. */
static routing route(const ox_buffer *routes, uint32_t n_experts, uint32_t n_rows,
                     uint8_t *memory) {
    routing r = {.n_experts = n_experts, .n_used = routes->width / 2};
    r.n_pairs = n_rows * r.n_used;
    r.starts = (uint32_t *)(void *)memory;
    r.pairs = r.starts + n_experts + 1;
    for (uint32_t e = 0; e <= n_experts; e++) r.starts[e] = 0;
    for (uint32_t p = 0; p < r.n_pairs; p++) r.starts[expert_of(&r, routes, p) + 1]++;
    for (uint32_t e = 0; e < n_experts; e++) r.starts[e + 1] += r.starts[e];
    for (uint32_t p = 0; p < r.n_pairs; p++) {
        r.pairs[r.starts[expert_of(&r, routes, p)]++] = p;
    }
    /* each start has advanced to the next one: move them back */
    for (uint32_t e = n_experts; e > 0; e--) r.starts[e] = r.starts[e - 1];
    r.starts[0] = 0;
    return r;
}

/* Writes the inputs of all pairs, sorted by expert, to run->prepared. */
typedef struct gather_experts_args {
    int32_t src;    /* n_in values of each token, or of each pair */
    int32_t routes; /* from SelectExperts */
    int32_t n_experts;
    int32_t n_in;
    int32_t quantized; /* 1: as quantized weights take them, each expert's by themselves */
} gather_experts_args;
OX_OPERANDS(gather_experts)

/* 1 if routes have as many rows as src, and src has n_in values for a token or for each expert. */
static int32_t are_inputs(const ox_buffer *src, const ox_buffer *routes, int32_t n_experts,
                          uint32_t n_in) {
    return ox_same_rows(src, routes) && routes->width % 2 == 0 && n_experts > 0 &&
           n_experts <= 1 << 16 &&
           (src->width == n_in || src->width == (uint64_t)(routes->width / 2) * n_in);
}

int32_t ox_check_gather_experts(const ox_model *model, const ox_op *op) {
    const gather_experts_args args = gather_experts_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src);
    const ox_buffer *routes = ox_find_buffer(model, args.routes);
    const int32_t in_blocks = args.quantized == 0 || (args.quantized == 1 && args.n_in % 32 == 0);
    return ox_model_status(args.n_in > 0 && in_blocks &&
                           are_inputs(src, routes, args.n_experts, (uint32_t)args.n_in));
}

ox_input ox_gather_experts_input(const ox_op *op) {
    const gather_experts_args args = gather_experts_args_of(op);
    return (ox_input){.by = op, .from = {args.src, args.routes}};
}

/* Of n_pairs inputs. If they are quantized, the last group of an expert may be padded, and there
 * are at most n_pairs groups. */
static uint64_t gathered_bytes(const gather_experts_args *args, uint32_t n_pairs) {
    const uint64_t n_in = (uint32_t)args->n_in, n_blocks = n_in / 32;
    if (!args->quantized) return n_pairs * n_in * sizeof(float);
    const uint64_t n_experts = (uint32_t)args->n_experts;
    const uint64_t n_active = n_experts < n_pairs ? n_experts : n_pairs;
    const uint64_t n_padded = n_pairs + n_active * V_TILE_TOKENS;
    return 2 * n_padded * n_blocks * sizeof(ox_act_block) +
           n_pairs * (n_blocks + 1) * sizeof(uint32_t) + 64 * n_active;
}

ox_scratch ox_gather_experts_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                                     uint32_t n_threads) {
    const gather_experts_args args = gather_experts_args_of(op);
    const ox_buffer *routes = ox_find_buffer(model, args.routes);
    if (!routes || args.n_experts <= 0 || args.n_in <= 0) return (ox_scratch){0, 0, 0};
    const uint32_t n_used = routes->width / 2, n_pairs = n_tokens * n_used;
    return (ox_scratch){.shared = gathered_bytes(&args, n_pairs),
                        .local = routing_bytes((uint32_t)args.n_experts, n_pairs),
                        .prepared = n_threads > 1 ? gathered_bytes(&args, n_used) : 0};
}

/* The sorted inputs of an expert, as ox_quantize_groups takes them. */
static ox_input_rows inputs_of(const routing *r, const ox_buffer *src, uint32_t n_in,
                               uint32_t expert) {
    return (ox_input_rows){.array = ox_row(src, 0),
                           .numbers = r->pairs + r->starts[expert],
                           .divisor = src->width == n_in ? r->n_used : 1};
}

static void gather(const ox_run *run, const routing *r, const ox_buffer *src, uint32_t n_in) {
    const ox_input_rows rows = inputs_of(r, src, n_in, 0);
    float *to = (float *)(void *)run->prepared;
    uint32_t first, last;
    ox_partition(run, r->n_pairs, &first, &last);
    for (uint32_t i = first; i < last; i++) {
        __builtin_memcpy(to + (size_t)i * n_in, ox_input_row(&rows, i, n_in), n_in * sizeof(float));
    }
}

static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Expert by expert, so that no group of tokens has two experts. Threads divide the groups of all.
 */
static void gather_quantized(const ox_run *run, const routing *r, const ox_buffer *src,
                             uint32_t n_in) {
    uint8_t *to = run->prepared;
    uint32_t n_groups = 0, first, last;
    for (uint32_t e = 0; e < r->n_experts; e++) n_groups += ox_activation_groups(pairs_of(r, e));
    ox_partition(run, n_groups, &first, &last);
    for (uint32_t e = 0; e < r->n_experts; e++) {
        const uint32_t n = pairs_of(r, e), n_own = ox_activation_groups(n);
        if (n == 0) continue;
        const ox_activations acts = ox_activations_at(to, n_in, n);
        const ox_input_rows rows = inputs_of(r, src, n_in, e);
        ox_quantize_groups(&acts, &rows, n, smaller(first, n_own), smaller(last, n_own));
        to += ox_align64(ox_activation_bytes(n_in, n));
        first -= smaller(first, n_own);
        last -= smaller(last, n_own);
    }
}

void ox_gather_experts(const ox_run *run, const ox_op *op) {
    const gather_experts_args args = gather_experts_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *routes = ox_buffer_at(run, args.routes);
    const ox_run view = ox_preparing(run);
    const routing r = route(routes, (uint32_t)args.n_experts, ox_n_rows(run, src), run->local);
    if (args.quantized) {
        gather_quantized(&view, &r, src, (uint32_t)args.n_in);
    } else {
        gather(&view, &r, src, (uint32_t)args.n_in);
    }
}

/* dst[t][k] = matrix of expert k of token t @ src[t], or @ src[t][k] if src has one of each pair,
 * times the scale and plus the bias of that expert */
typedef struct expert_linear_args {
    int32_t src;    /* GatherExperts has prepared it */
    int32_t routes; /* from SelectExperts */
    int32_t weight; /* the matrices of all experts, one after the other, each packed by itself */
    int32_t bias;   /* float32 [n_experts][n_out], or -1 */
    int32_t scale;  /* a vector of n_experts values, or -1 */
    int32_t n_experts;
} expert_linear_args;
OX_OPERANDS(expert_linear)

static int32_t is_bias(const ox_tensor *tensor, uint32_t n_experts, uint32_t n_out) {
    return tensor && tensor->format == OX_F32 && tensor->n_in == n_out &&
           tensor->n_out == n_experts && tensor->data != 0 &&
           tensor->bytes == (uint64_t)n_experts * n_out * sizeof(float);
}

int32_t ox_check_expert_linear(const ox_model *model, const ox_op *op) {
    const expert_linear_args args = expert_linear_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    const ox_buffer *routes = ox_find_buffer(model, args.routes);
    const ox_tensor *weight = ox_find_tensor(model, args.weight);
    const int32_t status = ox_check_matrix(weight);
    if (status) return status;
    if (!ox_is_divided(dst) || dst == src || dst == routes || !ox_same_rows(src, dst) ||
        !are_inputs(src, routes, args.n_experts, weight->n_in) ||
        weight->n_out % (uint32_t)args.n_experts) {
        return OX_BAD_MODEL;
    }
    const uint32_t n_out = weight->n_out / (uint32_t)args.n_experts;
    const ox_tensor *bias = ox_find_tensor(model, args.bias);
    return ox_model_status(dst->width == (uint64_t)(routes->width / 2) * n_out &&
                           (args.bias < 0 || is_bias(bias, (uint32_t)args.n_experts, n_out)) &&
                           (args.scale < 0 || ox_is_vector(ox_find_tensor(model, args.scale),
                                                           (uint32_t)args.n_experts)));
}

/* GatherExperts has prepared the inputs of the same pairs, in the form that the weights take. */
int32_t ox_expert_linear_takes(const ox_model *model, const ox_op *op, const ox_input *input) {
    const expert_linear_args args = expert_linear_args_of(op);
    const ox_tensor *weight = ox_find_tensor(model, args.weight);
    if (!input->by || input->by->kind != OX_KIND_gather_experts) return 0;
    const gather_experts_args gathered = gather_experts_args_of(input->by);
    return gathered.src == args.src && gathered.routes == args.routes &&
           gathered.n_experts == args.n_experts && (uint32_t)gathered.n_in == weight->n_in &&
           gathered.quantized == (ox_find_format(weight->format) != NULL);
}

ox_scratch ox_expert_linear_scratch(const ox_model *model, const ox_op *op, uint32_t n_tokens,
                                    uint32_t n_threads) {
    (void)n_threads;
    const expert_linear_args args = expert_linear_args_of(op);
    const ox_buffer *routes = ox_find_buffer(model, args.routes);
    const ox_tensor *weight = ox_find_tensor(model, args.weight);
    if (!weight || !routes || args.n_experts <= 0) return (ox_scratch){0, 0, 0};
    const uint32_t n_pairs = n_tokens * (routes->width / 2);
    return (ox_scratch){.local = ox_align64(ox_linear_local_bytes(weight, n_pairs)) +
                                 routing_bytes((uint32_t)args.n_experts, n_pairs)};
}

static ox_tensor expert_at(const ox_tensor *weight, uint32_t n_experts, uint32_t expert) {
    ox_tensor one = *weight;
    one.n_out = weight->n_out / n_experts;
    one.bytes = weight->bytes / n_experts;
    one.data = weight->data + one.bytes * expert;
    return one;
}

/* Expert by expert; results are in the order of the pairs' numbers. */
void ox_expert_linear(const ox_run *run, const ox_op *op) {
    const expert_linear_args args = expert_linear_args_of(op);
    const ox_tensor *weight = ox_tensor_at(run, args.weight);
    const ox_buffer *routes = ox_buffer_at(run, args.routes), *dst = ox_buffer_at(run, op->dst);
    const float *bias = ox_vector_at(run, args.bias), *scale = ox_vector_at(run, args.scale);
    const uint32_t n_in = weight->n_in, n_rows = ox_n_rows(run, dst);
    const uint32_t n_pairs = n_rows * (routes->width / 2);
    uint8_t *tables = run->local + ox_align64(ox_linear_local_bytes(weight, n_pairs));
    const routing r = route(routes, (uint32_t)args.n_experts, n_rows, tables);
    ox_queue queue = ox_queue_of(run, op);
    uint8_t *quantized = run->prepared;
    for (uint32_t e = 0; e < r.n_experts; e++) {
        const uint32_t n = pairs_of(&r, e);
        if (n == 0) continue;
        const ox_tensor one = expert_at(weight, r.n_experts, e);
        const ox_product product = {
            .weight = &one,
            .bias = bias ? bias + (size_t)e * one.n_out : NULL,
            .scale = scale ? v_float_of_bits(v_load_u32(scale + e)) : 1.0f,
            .src = (const float *)(const void *)run->prepared + (size_t)r.starts[e] * n_in,
            .dst = ox_row(dst, 0),
            .dst_stride = one.n_out,
            .dst_rows = r.pairs + r.starts[e],
            .n_rows = n,
        };
        ox_multiply(run, &queue, &product, quantized);
        quantized += ox_align64(ox_activation_bytes(n_in, n));
    }
}

/* dst[t] = sum over the experts k of token t of src[t][k] * weight k */
typedef struct expert_sum_args {
    int32_t src;
    int32_t routes; /* from SelectExperts */
} expert_sum_args;
OX_OPERANDS(expert_sum)

int32_t ox_check_expert_sum(const ox_model *model, const ox_op *op) {
    const expert_sum_args args = expert_sum_args_of(op);
    const ox_buffer *src = ox_find_buffer(model, args.src), *dst = ox_find_buffer(model, op->dst);
    const ox_buffer *routes = ox_find_buffer(model, args.routes);
    return ox_model_status(ox_is_divided(dst) && ox_same_rows(src, dst) &&
                           ox_same_rows(routes, dst) && dst != src && dst != routes &&
                           routes->width % 2 == 0 &&
                           src->width == (uint64_t)(routes->width / 2) * dst->width);
}

/* dst[i] = sum of weight[k] * src[k][i] over a token's experts, in their order. */
static void sum_experts(const float *src, const float *weights, uint32_t n_used, uint32_t n,
                        float *dst) {
    for (uint32_t i = 0; i < n; i += VF) {
        const uint32_t left = n - i;
        vf32 sum = v_zero();
        for (uint32_t k = 0; k < n_used; k++) {
            const float *from = src + (size_t)k * n + i;
            sum = v_fma(v_splat(weights[k]), v_load_upto(from, left), sum);
        }
        v_store_upto(dst + i, left, sum);
    }
}

void ox_expert_sum(const ox_run *run, const ox_op *op) {
    const expert_sum_args args = expert_sum_args_of(op);
    const ox_buffer *src = ox_buffer_at(run, args.src), *routes = ox_buffer_at(run, args.routes);
    const ox_buffer *dst = ox_buffer_at(run, op->dst);
    const uint32_t n_used = routes->width / 2;
    uint32_t first, last;
    ox_partition(run, ox_n_rows(run, dst), &first, &last);
    for (uint32_t t = first; t < last; t++) {
        sum_experts(ox_row(src, t), ox_row(routes, t) + n_used, n_used, dst->width, ox_row(dst, t));
    }
}
