/* A pool of native threads that walk a plan together, and the barrier between operations.
 *
 * Between two calls the workers look for work for a moment and then sleep on a condition variable.
 * At a barrier a thread looks for the others for a moment, then yields its core: where cores are
 * taken by something else, spinning would only keep the others from coming.
 */
#include "internal.h"

#ifdef __wasm__
void ox_barrier_wait(const ox_run *run) { (void)run; }
#else
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { BARRIER_SPINS = 4000, IDLE_SPINS = 20000 };

struct ox_barrier {
    _Alignas(64) atomic_uint arrived;
    _Alignas(64) atomic_uint round;
};

struct ox_pool {
    struct ox_barrier barrier;
    _Alignas(64) atomic_uint job; /* counts up with each forward pass; workers wait for a change */
    atomic_uint stop;
    ox_run run; /* of the current job */
    uint32_t n_threads;
    uint32_t n_started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_t *threads;
};

typedef struct worker {
    ox_pool *pool;
    uint32_t thread;
} worker;

static void pause_core(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for_change(atomic_uint *value, uint32_t old) {
    for (uint32_t spins = 0; atomic_load_explicit(value, memory_order_acquire) == old; spins++) {
        if (spins < BARRIER_SPINS) {
            pause_core();
        } else {
            sched_yield();
        }
    }
}

void ox_barrier_wait(const ox_run *run) {
    struct ox_barrier *barrier = run->barrier;
    if (!barrier) return;
    /* once the last thread has come, the pool may write the next *run */
    const uint32_t others = run->n_threads - 1;
    const uint32_t round = atomic_load_explicit(&barrier->round, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->arrived, 1, memory_order_acq_rel) == others) {
        atomic_store_explicit(&barrier->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&barrier->round, round + 1, memory_order_release);
    } else {
        wait_for_change(&barrier->round, round);
    }
}

/* The job that follows `last`. */
static uint32_t next_job(ox_pool *pool, uint32_t last) {
    uint32_t job = last;
    for (uint32_t spins = 0; spins < IDLE_SPINS && job == last; spins++) {
        pause_core();
        job = atomic_load_explicit(&pool->job, memory_order_acquire);
    }
    if (job != last) return job;
    pthread_mutex_lock(&pool->mutex);
    while ((job = atomic_load_explicit(&pool->job, memory_order_acquire)) == last) {
        pthread_cond_wait(&pool->wake, &pool->mutex);
    }
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

static void *work(void *argument) {
    const worker self = *(worker *)argument;
    free(argument);
    uint32_t job = 0;
    for (;;) {
        job = next_job(self.pool, job);
        if (atomic_load_explicit(&self.pool->stop, memory_order_acquire)) return NULL;
        ox_walk(&self.pool->run, self.thread);
        ox_barrier_wait(&self.pool->run);
    }
}

static void announce_job(ox_pool *pool) {
    pthread_mutex_lock(&pool->mutex);
    atomic_fetch_add_explicit(&pool->job, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->mutex);
}

ox_pool *ox_pool_create(uint32_t n_threads) {
    if (n_threads == 0 || n_threads > 1024) return NULL;
    ox_pool *pool = aligned_alloc(64, (sizeof(ox_pool) + 63) / 64 * 64);
    if (!pool) return NULL;
    __builtin_memset(pool, 0, sizeof *pool);
    pool->n_threads = n_threads;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->threads = calloc(n_threads, sizeof(pthread_t));
    for (uint32_t i = 1; pool->threads && i < n_threads; i++) {
        worker *self = malloc(sizeof *self);
        if (!self) break;
        *self = (worker){pool, i};
        if (pthread_create(&pool->threads[pool->n_started], NULL, work, self)) {
            free(self);
            break;
        }
        pool->n_started++;
    }
    if (pool->n_started == n_threads - 1 && pool->threads) return pool;
    ox_pool_destroy(pool);
    return NULL;
}

int32_t ox_pool_forward(ox_pool *pool, const ox_model *model, const ox_batch *batch,
                        uint8_t *scratch, uint64_t scratch_bytes) {
    const int32_t status =
        ox_prepare(model, batch, scratch, scratch_bytes, pool->n_threads, &pool->run);
    if (status) return status;
    if (pool->n_threads > 1) {
        pool->run.barrier = &pool->barrier;
        announce_job(pool);
    }
    ox_walk(&pool->run, 0);
    ox_barrier_wait(&pool->run);
    return OX_OK;
}

void ox_pool_destroy(ox_pool *pool) {
    if (!pool) return;
    atomic_store_explicit(&pool->stop, 1, memory_order_release);
    announce_job(pool);
    for (uint32_t i = 0; i < pool->n_started; i++) pthread_join(pool->threads[i], NULL);
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->wake);
    free(pool->threads);
    free(pool);
}
#endif
