/* What the source files share: how one thread sees a forward pass. */
#ifndef OX_INTERNAL_H
#define OX_INTERNAL_H

#include <stdatomic.h>

#include "ox.h"

/* One thread's view of a forward pass. All threads execute the same plan and divide each operation
 * between them. */
typedef struct ox_run {
    const ox_model *model;
    const ox_batch *batch;
    const ox_buffer *buffers; /* [n_buffers] as this thread sees them */
    atomic_uint *n_taken;     /* [n_ops] chunks that threads have taken: see ox_queue */
    uint8_t *shared;          /* scratch of all threads */
    uint8_t *local;           /* scratch of this thread */
    uint64_t local_bytes;
    uint8_t *prepared;      /* the input that an operation has prepared for those after it: scratch
                             * of this thread if is_replicated, else of all threads */
    uint32_t is_replicated; /* 1: one token, and each thread has its copy of replicated buffers */
    uint32_t thread;        /* 0 .. n_threads - 1 */
    uint32_t n_threads;
    struct ox_barrier *barrier; /* NULL with one thread */
} ox_run;

struct ox_barrier;
/* Returns when all threads have arrived. Does nothing with one thread. */
void ox_barrier_wait(const ox_run *run);
/* 1 if there is a barrier right before an operation. */
static inline int32_t ox_has_barrier(const ox_run *run, const ox_op *op) {
    return (op->barrier & (run->is_replicated ? OX_BARRIER_ONE : OX_BARRIER_MANY)) != 0;
}
/* 1 once a thread has failed or timed out: no thread waits for another any more. */
int32_t ox_pool_is_poisoned(const ox_run *run);

/* The same pass as seen by a thread that computes its own copy of a result. */
static inline ox_run ox_single_threaded(const ox_run *run) {
    ox_run view = *run;
    view.thread = 0;
    view.n_threads = 1;
    view.barrier = NULL;
    return view;
}
/* The pass as seen by an operation that prepares an input. */
static inline ox_run ox_preparing(const ox_run *run) {
    return run->is_replicated ? ox_single_threaded(run) : *run;
}

static inline uint64_t ox_align64(uint64_t n) { return (n + 63) & ~(uint64_t)63; }

static inline const ox_kv_layer *ox_kv_layer_at(const ox_model *model, int32_t index) {
    return (const ox_kv_layer *)(uintptr_t)model->kv_layers + index;
}
static inline const ox_state *ox_state_at(const ox_model *model, int32_t index) {
    return (const ox_state *)(uintptr_t)model->states + index;
}
static inline const ox_sequence *ox_sequence_at(const ox_run *run, uint32_t index) {
    return (const ox_sequence *)(uintptr_t)run->batch->sequences + index;
}
/* The sequence that a row of the batch belongs to. */
static inline const ox_sequence *ox_sequence_of(const ox_run *run, uint32_t row) {
    uint32_t first = 0, end = run->batch->n_sequences;
    while (end - first > 1) {
        const uint32_t middle = first + (end - first) / 2;
        if (ox_sequence_at(run, middle)->first_token <= row) {
            first = middle;
        } else {
            end = middle;
        }
    }
    return ox_sequence_at(run, first);
}
/* The position in `sequence` of a row that belongs to it. */
static inline uint32_t ox_position(const ox_sequence *sequence, uint32_t row) {
    return sequence->position + (row - sequence->first_token);
}

/* This thread's part of n items, [*first, *last), where the work is divided evenly. */
static inline void ox_partition(const ox_run *run, uint32_t n, uint32_t *first, uint32_t *last) {
    *first = (uint32_t)((uint64_t)n * run->thread / run->n_threads);
    *last = (uint32_t)((uint64_t)n * (run->thread + 1) / run->n_threads);
}

/* A work queue: each thread takes the next chunk of an operation when it is done with its last, so
 * that a slower or interrupted thread does less. An operation may have several loops; the chunks of
 * a loop follow those of the loop before it. Thread t begins with chunk t. */
typedef struct ox_queue {
    atomic_uint *n_taken; /* by all threads */
    uint32_t chunk;       /* the one that this thread has taken for a later loop, if has_chunk */
    uint32_t has_chunk;
    uint32_t n_before; /* chunks of the loops before */
} ox_queue;

static inline ox_queue ox_queue_of(const ox_run *run, const ox_op *op) {
    return (ox_queue){.n_taken = run->n_taken + (op - (const ox_op *)(uintptr_t)run->model->ops),
                      .chunk = run->thread,
                      .has_chunk = 1};
}

/* Takes the next of a loop's n chunks. Returns 0 when none is left. */
static inline int32_t ox_next_chunk(ox_queue *queue, uint32_t n, uint32_t *chunk) {
    if (!queue->has_chunk) {
        queue->chunk = atomic_fetch_add_explicit(queue->n_taken, 1, memory_order_relaxed);
    }
    queue->has_chunk = queue->chunk - queue->n_before >= n;
    if (queue->has_chunk) {
        queue->n_before += n;
        return 0;
    }
    *chunk = queue->chunk - queue->n_before;
    return 1;
}

/* run/check.c: returns an ox_status */
int32_t ox_check_batch(const ox_model *model, const ox_batch *batch);
/* 1 if a sequence has pages for all of its positions. */
int32_t ox_pages_fit(const ox_model *model, const ox_sequence *sequence);

/* run/graph.c: checks a batch and fills `run` for thread 0; then every thread executes the plan. */
int32_t ox_prepare(const ox_model *model, const ox_batch *batch, uint8_t *memory,
                   uint64_t memory_bytes, uint32_t n_threads, ox_run *run);
void ox_execute(const ox_run *prepared, uint32_t thread);

/* ops/rope.c: rotates n_pairs pairs of one head; style: enum ox_rope_style */
void ox_rotate(float *x, const float *cosines, const float *sines, uint32_t n_pairs,
               uint32_t style);

#endif
