/* A pool of threads that execute a plan together.
 *
 * Natively the pool starts its threads itself. In a browser each thread is a web worker with an
 * instance of these kernels over one shared memory; it calls ox_pool_work. A worker may end without
 * notice. So a thread that has waited too long, or a worker that fails, poisons the pool, and every
 * thread leaves the plan. WebAssembly without shared memory has one thread.
 */
#include "internal.h"

#if !defined(__wasm__) || defined(__wasm_atomics__)
#include "run/barrier.h"

struct ox_pool {
    ox_event task; /* counts forward passes, and the stop */
    struct ox_barrier barrier;
    ox_run run; /* of the current task */
    uint32_t n_threads;
    atomic_uint stop;
#ifndef __wasm__
    uint32_t n_started;
    pthread_t *threads;
#endif
};

static void pool_init(ox_pool *pool, uint32_t n_threads, int64_t timeout_ns) {
    event_init(&pool->task);
    barrier_init(&pool->barrier, timeout_ns);
    pool->n_threads = n_threads;
    atomic_init(&pool->stop, 0);
}

/* Executes the plan for each task until the pool stops. */
static void work(ox_pool *pool, uint32_t thread) {
    for (uint32_t task = 0;; task++) {
        event_wait(&pool->task, task, -1);
        if (atomic_load(&pool->stop)) return;
        ox_execute(&pool->run, thread);
        ox_barrier_wait(&pool->run);
    }
}

int32_t ox_pool_forward(ox_pool *pool, const ox_model *model, const ox_batch *batch,
                        uint8_t *scratch, uint64_t scratch_bytes) {
    if (atomic_load(&pool->barrier.poisoned)) return OX_POISONED_POOL;
    const int32_t status =
        ox_prepare(model, batch, scratch, scratch_bytes, pool->n_threads, &pool->run);
    if (status) return status;
    if (pool->n_threads > 1) {
        pool->run.barrier = &pool->barrier;
        event_signal(&pool->task);
    }
    ox_execute(&pool->run, 0);
    ox_barrier_wait(&pool->run);
    return atomic_load(&pool->barrier.poisoned) ? OX_POISONED_POOL : OX_OK;
}

static void pool_stop(ox_pool *pool) {
    atomic_store(&pool->stop, 1);
    event_signal(&pool->task);
}

#ifdef __wasm__

uint32_t ox_pool_bytes(void) { return sizeof(ox_pool); }

void ox_pool_init(ox_pool *pool, uint32_t n_threads, uint32_t timeout_ms) {
    pool_init(pool, n_threads, (int64_t)timeout_ms * 1000000);
}

void ox_pool_work(ox_pool *pool, uint32_t thread) { work(pool, thread); }

void ox_pool_poison(ox_pool *pool) {
    barrier_poison(&pool->barrier);
    pool_stop(pool);
}

#else
#include <stdlib.h>

typedef struct worker {
    ox_pool *pool;
    uint32_t thread;
} worker;

static void *start_worker(void *argument) {
    const worker self = *(worker *)argument;
    free(argument);
    work(self.pool, self.thread);
    return NULL;
}

static void start_threads(ox_pool *pool) {
    pool->threads = calloc(pool->n_threads, sizeof(pthread_t));
    for (uint32_t i = 1; pool->threads && i < pool->n_threads; i++) {
        worker *self = malloc(sizeof *self);
        if (!self) return;
        *self = (worker){pool, i};
        if (pthread_create(&pool->threads[pool->n_started], NULL, start_worker, self)) {
            free(self);
            return;
        }
        pool->n_started++;
    }
}

ox_pool *ox_pool_create(uint32_t n_threads) {
    if (n_threads == 0 || n_threads > 1024) return NULL;
    ox_pool *pool = calloc(1, sizeof *pool);
    if (!pool) return NULL;
    pool_init(pool, n_threads, -1);
    start_threads(pool);
    if (pool->threads && pool->n_started == n_threads - 1) return pool;
    ox_pool_destroy(pool);
    return NULL;
}

void ox_pool_destroy(ox_pool *pool) {
    if (!pool) return;
    pool_stop(pool);
    for (uint32_t i = 0; i < pool->n_started; i++) pthread_join(pool->threads[i], NULL);
    event_destroy(&pool->task);
    event_destroy(&pool->barrier.phase);
    free(pool->threads);
    free(pool);
}
#endif
#endif
