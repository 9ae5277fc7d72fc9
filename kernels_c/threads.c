/* A pool of native threads that walk a plan together, and the barrier between operations.
 *
 * Who waits looks for a while and then sleeps. Looking is quick where every thread has a core of
 * its own. Where cores are taken by something else, a thread that keeps looking keeps those from
 * running that it waits for; one that sleeps gives them its core. So how long to look follows from
 * whether it helped lately. (sched_yield is no way out: it may give a stranger the core for
 * milliseconds.)
 */
#include "internal.h"

#ifdef __wasm__
void ox_barrier_wait(const ox_run *run) { (void)run; }
#else
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

enum {
    MOST_LOOK_NS = 60 * 1000, /* about what it takes to wake a thread */
    LEAST_LOOK_NS = 1000,
    LOOKS_A_CLOCK = 4, /* how often to look before asking for the time */
    TRY_AGAIN = 32     /* every so many waits look as long as ever: cores may be free again */
};

/* A number that threads wait for a change of. */
typedef struct gate {
    atomic_uint value;
    atomic_uint n_sleepers;
    atomic_uint look_ns;
    atomic_uint n_waits;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint8_t own_cache_line[64];
} gate;

struct ox_barrier {
    gate round;
    atomic_uint n_arrived;
};

struct ox_pool {
    gate job; /* counts forward passes */
    struct ox_barrier barrier;
    ox_run run; /* of the current job */
    uint32_t n_threads;
    uint32_t n_started;
    int32_t stop;
    pthread_t *threads;
};

typedef struct worker {
    ox_pool *pool;
    uint32_t thread;
} worker;

static void gate_init(gate *g) {
    atomic_init(&g->value, 0);
    atomic_init(&g->n_sleepers, 0);
    atomic_init(&g->look_ns, MOST_LOOK_NS);
    atomic_init(&g->n_waits, 0);
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static void gate_destroy(gate *g) {
    pthread_mutex_destroy(&g->mutex);
    pthread_cond_destroy(&g->changed);
}

/* Changes the value. Either a sleeper sees the change before it sleeps, or it is seen here: both
 * sides write one variable and read the other in one order for all threads. */
static void gate_open(gate *g) {
    atomic_fetch_add(&g->value, 1);
    if (atomic_load(&g->n_sleepers) == 0) return;
    pthread_mutex_lock(&g->mutex);
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

static void pause_core(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Whether the value changes from `old` within a time. */
static int32_t gate_look(gate *g, uint32_t old, uint32_t look_ns) {
    for (const uint64_t start = now_ns(); now_ns() - start < look_ns;) {
        for (int32_t i = 0; i < LOOKS_A_CLOCK; i++) {
            if (atomic_load_explicit(&g->value, memory_order_acquire) != old) return 1;
            pause_core();
        }
    }
    return 0;
}

/* Returns when the value is no longer `old`. */
static void gate_wait(gate *g, uint32_t old) {
    uint32_t look_ns = atomic_load_explicit(&g->look_ns, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&g->n_waits, 1, memory_order_relaxed) % TRY_AGAIN == 0) {
        look_ns = MOST_LOOK_NS;
    }
    if (gate_look(g, old, look_ns)) {
        look_ns = look_ns * 2 < MOST_LOOK_NS ? look_ns * 2 : MOST_LOOK_NS;
        atomic_store_explicit(&g->look_ns, look_ns, memory_order_relaxed);
        return;
    }
    look_ns = look_ns / 4 > LEAST_LOOK_NS ? look_ns / 4 : LEAST_LOOK_NS;
    atomic_store_explicit(&g->look_ns, look_ns, memory_order_relaxed);
    pthread_mutex_lock(&g->mutex);
    atomic_fetch_add(&g->n_sleepers, 1);
    while (atomic_load(&g->value) == old) pthread_cond_wait(&g->changed, &g->mutex);
    atomic_fetch_sub(&g->n_sleepers, 1);
    pthread_mutex_unlock(&g->mutex);
}

void ox_barrier_wait(const ox_run *run) {
    struct ox_barrier *barrier = run->barrier;
    if (!barrier) return;
    /* once the last thread has come, the pool may write the next *run */
    const uint32_t others = run->n_threads - 1;
    const uint32_t round = atomic_load_explicit(&barrier->round.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->n_arrived, 1, memory_order_acq_rel) == others) {
        atomic_store_explicit(&barrier->n_arrived, 0, memory_order_relaxed);
        gate_open(&barrier->round);
    } else {
        gate_wait(&barrier->round, round);
    }
}

static void *work(void *argument) {
    const worker self = *(worker *)argument;
    free(argument);
    for (uint32_t job = 0;; job++) {
        gate_wait(&self.pool->job, job);
        if (self.pool->stop) return NULL;
        ox_walk(&self.pool->run, self.thread);
        ox_barrier_wait(&self.pool->run);
    }
}

static void start_threads(ox_pool *pool) {
    pool->threads = calloc(pool->n_threads, sizeof(pthread_t));
    for (uint32_t i = 1; pool->threads && i < pool->n_threads; i++) {
        worker *self = malloc(sizeof *self);
        if (!self) return;
        *self = (worker){pool, i};
        if (pthread_create(&pool->threads[pool->n_started], NULL, work, self)) {
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
    pool->n_threads = n_threads;
    gate_init(&pool->job);
    gate_init(&pool->barrier.round);
    atomic_init(&pool->barrier.n_arrived, 0);
    start_threads(pool);
    if (pool->threads && pool->n_started == n_threads - 1) return pool;
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
        gate_open(&pool->job);
    }
    ox_walk(&pool->run, 0);
    ox_barrier_wait(&pool->run);
    return OX_OK;
}

void ox_pool_destroy(ox_pool *pool) {
    if (!pool) return;
    pool->stop = 1;
    gate_open(&pool->job);
    for (uint32_t i = 0; i < pool->n_started; i++) pthread_join(pool->threads[i], NULL);
    gate_destroy(&pool->job);
    gate_destroy(&pool->barrier.round);
    free(pool->threads);
    free(pool);
}
#endif
