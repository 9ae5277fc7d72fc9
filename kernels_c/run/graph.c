/* Executes a plan for a batch of tokens. */
#include "ops/ops.h"

static const ox_op *ops_of(const ox_model *model) { return (const ox_op *)(uintptr_t)model->ops; }

static const ox_buffer *buffers_of(const ox_model *model) {
    return (const ox_buffer *)(uintptr_t)model->buffers;
}

static uint64_t queues_bytes(const ox_model *model) {
    return ox_align64((uint64_t)model->n_ops * sizeof(atomic_uint));
}

static uint64_t replica_view_bytes(const ox_model *model) {
    return ox_align64((uint64_t)model->n_buffers * sizeof(ox_buffer));
}

/* Of one thread: what its operations need, its prepared input and its view of the buffers. */
static uint64_t local_bytes(const ox_model *model, const ox_scratch *scratch) {
    return scratch->local + scratch->prepared + replica_view_bytes(model);
}

/* What the operations need, one after the other. */
static ox_scratch scratch_of(const ox_model *model, uint32_t n_tokens, uint32_t n_threads) {
    ox_scratch all = {0, 0, 0};
    for (uint32_t i = 0; i < model->n_ops; i++) {
        const ox_scratch one = ox_scratch_of_op(model, ops_of(model) + i, n_tokens, n_threads);
        if (one.shared > all.shared) all.shared = one.shared;
        if (one.local > all.local) all.local = one.local;
        if (one.prepared > all.prepared) all.prepared = one.prepared;
    }
    return (ox_scratch){ox_align64(all.shared), ox_align64(all.local), ox_align64(all.prepared)};
}

uint64_t ox_scratch_bytes(const ox_model *model, uint32_t n_tokens, uint32_t n_threads) {
    const ox_scratch scratch = scratch_of(model, n_tokens, n_threads);
    return queues_bytes(model) + scratch.shared + local_bytes(model, &scratch) * n_threads;
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
    const ox_scratch scratch = scratch_of(model, batch->n_tokens, n_threads);
    const uint64_t before = queues_bytes(model) + scratch.shared;
    if (n_threads == 0 || memory == NULL || (uintptr_t)memory % 64 || before > memory_bytes ||
        local_bytes(model, &scratch) > (memory_bytes - before) / n_threads) {
        return OX_BAD_SCRATCH;
    }
    atomic_uint *n_taken = (atomic_uint *)(void *)memory;
    for (uint32_t i = 0; i < model->n_ops; i++) atomic_init(n_taken + i, n_threads);
    const int32_t is_replicated =
        n_threads > 1 && batch->n_tokens == 1 && has_replica_rows(model, n_threads);
    uint8_t *shared = memory + queues_bytes(model), *local = memory + before;
    *run = (ox_run){
        .model = model,
        .batch = batch,
        .buffers = buffers_of(model),
        .n_taken = n_taken,
        .shared = shared,
        .local = local,
        .local_bytes = local_bytes(model, &scratch),
        .prepared = is_replicated ? local + scratch.local : shared,
        .is_replicated = is_replicated,
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

static int32_t writes_replica(const ox_run *run, const ox_op *op) {
    return run->is_replicated && (uint32_t)op->dst < run->model->n_buffers &&
           run->buffers[op->dst].replicated;
}

void ox_execute(const ox_run *prepared, uint32_t thread) {
    ox_run run = *prepared;
    run.thread = thread;
    run.local += run.local_bytes * thread;
    if (run.is_replicated) {
        run.prepared += run.local_bytes * thread;
        run.buffers = replica_view(&run);
    }
    const ox_run replica_run = ox_single_threaded(&run);
    for (uint32_t i = 0; i < run.model->n_ops; i++) {
        const ox_op *op = ops_of(run.model) + i;
        if (ox_has_barrier(&run, op)) ox_barrier_wait(&run);
        if (ox_pool_is_poisoned(&run)) return;
        ox_execute_op(writes_replica(&run, op) ? &replica_run : &run, op);
    }
}

int32_t ox_forward(const ox_model *model, const ox_batch *batch, uint8_t *scratch,
                   uint64_t scratch_bytes) {
    ox_run run;
    const int32_t status = ox_prepare(model, batch, scratch, scratch_bytes, 1, &run);
    if (status == OX_OK) ox_execute(&run, 0);
    return status;
}
