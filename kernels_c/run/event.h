/* A number that threads wait for a change of.
 *
 * Who waits looks for a while and then sleeps. Looking is quick where every thread has a core of
 * its own. Where cores are taken by something else, a thread that keeps looking keeps those from
 * running that it waits for; one that sleeps gives them its core. So how long to look follows from
 * whether it helped lately. (sched_yield is no way out: it may give a stranger the core for
 * milliseconds.)
 */
#ifndef OX_GATE_H
#define OX_GATE_H

#include <stdatomic.h>
#include <stdint.h>

#ifndef __wasm__
#include <pthread.h>
#include <time.h>
#endif

enum {
#ifdef __wasm__
    /* loads, since there is no clock: some 0.3 ms. It takes a thread of a browser 0.05 ms to wake,
     * and in a prompt they wait so long for each other at a thousand barriers. */
    MOST_LOOK = 400000,
    LEAST_LOOK = 1500,
#else
    MOST_LOOK = 60 * 1000, /* nanoseconds, about what it takes to wake a thread */
    LEAST_LOOK = 1000,
    LOOKS_A_CLOCK = 4, /* how often to look before asking for the time */
#endif
    TRY_AGAIN = 128 /* every so many waits look as long as ever: cores may be free again */
};

typedef struct gate {
    atomic_uint value;
    atomic_uint n_sleepers;
    atomic_uint look; /* how long to look */
    atomic_uint n_waits;
#ifndef __wasm__
    pthread_mutex_t mutex;
    pthread_cond_t changed;
#endif
    uint8_t own_cache_line[64];
} gate;

#ifdef __wasm__

static inline void gate_init_platform(gate *g) { (void)g; }
static inline void gate_destroy(gate *g) { (void)g; }

static inline void gate_wake(gate *g) {
    __builtin_wasm_memory_atomic_notify((int32_t *)&g->value, UINT32_MAX);
}

static inline int32_t gate_look(gate *g, uint32_t old, uint32_t looks) {
    for (uint32_t i = 0; i < looks; i++) {
        if (atomic_load_explicit(&g->value, memory_order_acquire) != old) return 1;
    }
    return 0;
}

static inline int32_t gate_sleep(gate *g, uint32_t old, int64_t patience_ns) {
    enum { TIMED_OUT = 2 };
    int32_t changed = 1;
    atomic_fetch_add(&g->n_sleepers, 1);
    while (changed && atomic_load(&g->value) == old) {
        changed = __builtin_wasm_memory_atomic_wait32((int32_t *)&g->value, (int32_t)old,
                                                      patience_ns) != TIMED_OUT;
    }
    atomic_fetch_sub(&g->n_sleepers, 1);
    return changed;
}

#else

static inline void gate_init_platform(gate *g) {
    pthread_mutex_init(&g->mutex, NULL);
    pthread_cond_init(&g->changed, NULL);
}

static inline void gate_destroy(gate *g) {
    pthread_mutex_destroy(&g->mutex);
    pthread_cond_destroy(&g->changed);
}

static inline void gate_wake(gate *g) {
    pthread_mutex_lock(&g->mutex);
    pthread_cond_broadcast(&g->changed);
    pthread_mutex_unlock(&g->mutex);
}

static inline void pause_core(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline int32_t gate_look(gate *g, uint32_t old, uint32_t look_ns) {
    for (const uint64_t start = now_ns(); now_ns() - start < look_ns;) {
        for (int32_t i = 0; i < LOOKS_A_CLOCK; i++) {
            if (atomic_load_explicit(&g->value, memory_order_acquire) != old) return 1;
            pause_core();
        }
    }
    return 0;
}

/* Threads of one process end together: there is nothing to lose patience with. */
static inline int32_t gate_sleep(gate *g, uint32_t old, int64_t patience_ns) {
    (void)patience_ns;
    pthread_mutex_lock(&g->mutex);
    atomic_fetch_add(&g->n_sleepers, 1);
    while (atomic_load(&g->value) == old) pthread_cond_wait(&g->changed, &g->mutex);
    atomic_fetch_sub(&g->n_sleepers, 1);
    pthread_mutex_unlock(&g->mutex);
    return 1;
}

#endif

static inline void gate_init(gate *g) {
    atomic_init(&g->value, 0);
    atomic_init(&g->n_sleepers, 0);
    atomic_init(&g->look, MOST_LOOK);
    atomic_init(&g->n_waits, 0);
    gate_init_platform(g);
}

/* Changes the value. Either a sleeper sees the change before it sleeps, or it is seen here: both
 * sides write one variable and read the other in one order for all threads. */
static inline void gate_open(gate *g) {
    atomic_fetch_add(&g->value, 1);
    if (atomic_load(&g->n_sleepers)) gate_wake(g);
}

/* Returns 1 when the value is no longer `old`, or 0 after patience_ns (< 0: never) of sleep. */
static inline int32_t gate_wait(gate *g, uint32_t old, int64_t patience_ns) {
    uint32_t look = atomic_load_explicit(&g->look, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&g->n_waits, 1, memory_order_relaxed) % TRY_AGAIN == 0) {
        look = MOST_LOOK;
    }
    if (gate_look(g, old, look)) {
        look = look * 2 < MOST_LOOK ? look * 2 : MOST_LOOK;
        atomic_store_explicit(&g->look, look, memory_order_relaxed);
        return 1;
    }
    look = look / 4 > LEAST_LOOK ? look / 4 : LEAST_LOOK;
    atomic_store_explicit(&g->look, look, memory_order_relaxed);
    return gate_sleep(g, old, patience_ns);
}

#endif
