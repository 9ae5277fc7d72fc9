/* Executes a plan for a batch of tokens. */
#include "internal.h"
#include "run/tables.h"

static uint64_t queues_bytes(const ox_model *model) {
    return ox_align64((uint64_t)model->n_ops * sizeof(atomic_uint));
}

static uint64_t replica_view_bytes(const ox_model *model) {
    return ox_align64((uint64_t)model->n_buffers * sizeof(ox_buffer));
}

/* Scratch in bytes. In passes of one token a thread also has its quantized input of OX_LINEAR and
 * its view of the buffers. */
typedef struct scratch {
    uint64_t shared; /* of all threads together */
    uint64_t local;  /* of each thread */
    uint64_t replica_input;
} scratch;

static uint64_t local_bytes(const ox_model *model, const scratch *parts) {
    return parts->local + parts->replica_input + replica_view_bytes(model);
}

static scratch scratch_parts(const ox_model *model, uint32_t n_tokens, uint32_t n_threads) {
    scratch parts = {0, 0, 0};
    for (uint32_t i = 0; i < model->n_ops; i++) {
        const ox_op *op = ops_of(model) + i;
        uint64_t op_shared = 0, op_local = 0, op_replica = 0;
        if (op->kind == OX_LINEAR) {
            const ox_tensor *weight = find_tensor(model, op->tensor[0]);
            if (!weight) continue;
            op_shared = ox_linear_shared_bytes(weight, n_tokens);
            op_local = ox_linear_local_bytes(weight, n_tokens);
            op_replica = n_threads > 1 ? ox_linear_shared_bytes(weight, 1) : 0;
        } else if (op->kind == OX_ATTENTION && find_layer(model, op->i[0])) {
            op_shared = ox_attention_shared_bytes(model, op, n_threads);
            op_local = ox_attention_local_bytes(model, op);
        } else if (op->kind == OX_EXPERT_LINEAR) {
            const ox_tensor *weight = find_tensor(model, op->tensor[0]);
            const ox_buffer *routes = find_buffer(model, op->src[1]);
            if (!weight || !routes || op->i[0] <= 0) continue;
            const uint32_t n_pairs = n_tokens * (routes->width / 2);
            op_shared = ox_expert_shared_bytes(weight, (uint32_t)op->i[0], n_pairs);
            op_local = ox_expert_local_bytes(weight, (uint32_t)op->i[0], n_pairs);
        }
        if (op_shared > parts.shared) parts.shared = op_shared;
        if (op_local > parts.local) parts.local = op_local;
        if (op_replica > parts.replica_input) parts.replica_input = op_replica;
    }
    parts.shared = ox_align64(parts.shared);
    parts.local = ox_align64(parts.local);
    parts.replica_input = ox_align64(parts.replica_input);
    return parts;
}

uint64_t ox_scratch_bytes(const ox_model *model, uint32_t n_tokens, uint32_t n_threads) {
    const scratch parts = scratch_parts(model, n_tokens, n_threads);
    return queues_bytes(model) + parts.shared + local_bytes(model, &parts) * n_threads;
}

/* Rows that an operation writes. */
static uint32_t count_rows(const ox_run *run, const ox_op *op) {
    if (op->kind == OX_KV_STORE) return run->batch->n_tokens;
    return ox_buffer_at(run, op->dst)->rows == OX_ROWS_BATCH ? run->batch->n_tokens
                                                             : run->batch->n_outputs;
}

static void run_op(const ox_run *run, const ox_op *op) {
    const uint32_t n_rows = count_rows(run, op);
    switch (op->kind) {
    case OX_EMBED:
        ox_embed(run, op, n_rows);
        break;
    case OX_POSITION_EMBED:
        ox_position_embed(run, op, n_rows);
        break;
    case OX_RMS_NORM:
        ox_rms_norm(run, op, n_rows);
        break;
    case OX_LAYER_NORM:
        ox_layer_norm(run, op, n_rows);
        break;
    case OX_LINEAR:
        ox_linear(run, op, n_rows);
        break;
    case OX_ROPE_TABLE:
        ox_rope_table(run, op, n_rows);
        break;
    case OX_ROPE:
        ox_rope(run, op, n_rows);
        break;
    case OX_KV_STORE:
        ox_kv_store(run, op, n_rows);
        break;
    case OX_ATTENTION:
        ox_attention(run, op, n_rows);
        break;
    case OX_GLU:
        ox_glu(run, op, n_rows);
        break;
    case OX_ACTIVATE:
        ox_activate(run, op, n_rows);
        break;
    case OX_SCALE:
        ox_scale(run, op, n_rows);
        break;
    case OX_ADD:
        ox_add(run, op, n_rows);
        break;
    case OX_SELECT_ROWS:
        ox_select_rows(run, op, n_rows);
        break;
    case OX_SOFTCAP:
        ox_softcap(run, op, n_rows);
        break;
    case OX_ADD_BIAS:
        ox_add_bias(run, op, n_rows);
        break;
    case OX_SELECT_EXPERTS:
        ox_select_experts(run, op, n_rows);
        break;
    case OX_EXPERT_LINEAR:
        ox_expert_linear(run, op, n_rows);
        break;
    case OX_EXPERT_SUM:
        ox_expert_sum(run, op, n_rows);
        break;
    default:
        break;
    }
}

/* 1 if every replicated buffer has a row for each thread. */
static int32_t has_replica_rows(const ox_model *model, uint32_t n_threads) {
    for (uint32_t i = 0; i < model->n_buffers; i++) {
        const ox_buffer *buffer = buffers_of(model) + i;
        if (buffer->replicated && buffer->capacity < n_threads) return 0;
    }
    return 1;
}

int32_t ox_prepare(const ox_model *model, const ox_batch *batch, uint8_t *memory,
                   uint64_t memory_bytes, uint32_t n_threads, ox_run *run) {
    const int32_t status = ox_check_batch(model, batch);
    if (status) return status;
    const scratch parts = scratch_parts(model, batch->n_tokens, n_threads);
    const uint64_t before = queues_bytes(model) + parts.shared;
    if (n_threads == 0 || memory == NULL || (uintptr_t)memory % 64 || before > memory_bytes ||
        local_bytes(model, &parts) > (memory_bytes - before) / n_threads) {
        return OX_BAD_SCRATCH;
    }
    atomic_uint *n_taken = (atomic_uint *)(void *)memory;
    for (uint32_t i = 0; i < model->n_ops; i++) atomic_init(n_taken + i, n_threads);
    *run = (ox_run){
        .model = model,
        .batch = batch,
        .buffers = buffers_of(model),
        .n_taken = n_taken,
        .shared = memory + queues_bytes(model),
        .shared_bytes = parts.shared,
        .local = memory + before,
        .local_bytes = local_bytes(model, &parts),
        .replica_input = memory + before + parts.local,
        .is_replicated =
            n_threads > 1 && batch->n_tokens == 1 && has_replica_rows(model, n_threads),
        .thread = 0,
        .n_threads = n_threads,
        .barrier = NULL,
    };
    return OX_OK;
}

/* The buffers as this thread sees them: its copy is row 0 of a replicated buffer. */
static const ox_buffer *replica_view(const ox_run *run) {
    const ox_model *model = run->model;
    ox_buffer *view =
        (ox_buffer *)(void *)(run->local + run->local_bytes - replica_view_bytes(model));
    for (uint32_t i = 0; i < model->n_buffers; i++) {
        view[i] = buffers_of(model)[i];
        if (view[i].replicated)
            view[i].data += (uint64_t)run->thread * view[i].width * sizeof(float);
    }
    return view;
}

void ox_execute(const ox_run *prepared, uint32_t thread) {
    ox_run run = *prepared;
    run.thread = thread;
    run.local += run.local_bytes * thread;
    run.replica_input += run.local_bytes * thread;
    if (run.is_replicated) run.buffers = replica_view(&run);
    const ox_run replica_run = ox_single_threaded(&run);
    for (uint32_t i = 0; i < run.model->n_ops; i++) {
        const ox_op *op = ops_of(run.model) + i;
        if (ox_has_barrier(&run, op)) ox_barrier_wait(&run);
        if (ox_pool_is_poisoned(&run)) return;
        const int32_t is_replica =
            run.is_replicated && op->dst >= 0 && run.buffers[op->dst].replicated;
        run_op(is_replica ? &replica_run : &run, op);
    }
}

int32_t ox_forward(const ox_model *model, const ox_batch *batch, uint8_t *scratch,
                   uint64_t scratch_bytes) {
    ox_run run;
    const int32_t status = ox_prepare(model, batch, scratch, scratch_bytes, 1, &run);
    if (status == OX_OK) ox_execute(&run, 0);
    return status;
}
