/* A counter that threads wait on until it changes (an event; a futex in WebAssembly).
 *
 * A waiter spins for a while, then sleeps. Spinning is fast when every thread has a core of its
 * own. When other work takes the cores, a spinning thread keeps the very threads from running that
 * it waits for; a sleeping one yields its core to them. So the length of the spin adapts to whether
 * spinning has helped recently. (sched_yield does not help: it may give a stranger the core for
 * milliseconds.)
 */
#ifndef OX_EVENT_H
#define OX_EVENT_H

#include <stdatomic.h>
#include <stdint.h>

#ifndef __wasm__
#include <pthread.h>
#include <time.h>
#endif

enum {
#ifdef __wasm__
    /* in loads, because there is no clock: about 0.3 ms. A browser takes 0.05 ms to wake a thread,
     * and while they read a prompt, threads wait for each other at a thousand barriers. */
    MAX_SPIN = 400000,
    MIN_SPIN = 1500,
#else
    MAX_SPIN = 60 * 1000, /* nanoseconds, about what it takes to wake a thread */
    MIN_SPIN = 1000,
    LOADS_PER_CLOCK = 4, /* loads between two looks at the clock */
#endif
    FULL_SPIN_EVERY = 128 /* one wait in this many spins for MAX_SPIN: cores may be free again */
};

typedef struct ox_event {
    atomic_uint value;
    atomic_uint n_waiters;
    atomic_uint spin; /* how long to spin */
    atomic_uint n_waits;
#ifndef __wasm__
    pthread_mutex_t mutex;
    pthread_cond_t changed;
#endif
    uint8_t cache_line_padding[64];
} ox_event;

#ifdef __wasm__

static inline void event_init_platform(ox_event *event) { (void)event; }
static inline void event_destroy(ox_event *event) { (void)event; }

static inline void event_wake(ox_event *event) {
    __builtin_wasm_memory_atomic_notify((int32_t *)&event->value, UINT32_MAX);
}

static inline int32_t event_spin(ox_event *event, uint32_t old, uint32_t n_loads) {
    for (uint32_t i = 0; i < n_loads; i++) {
        if (atomic_load_explicit(&event->value, memory_order_acquire) != old) return 1;
    }
    return 0;
}

static inline int32_t event_sleep(ox_event *event, uint32_t old, int64_t timeout_ns) {
    enum { TIMED_OUT = 2 };
    int32_t changed = 1;
    atomic_fetch_add(&event->n_waiters, 1);
    while (changed && atomic_load(&event->value) == old) {
        changed = __builtin_wasm_memory_atomic_wait32((int32_t *)&event->value, (int32_t)old,
                                                      timeout_ns) != TIMED_OUT;
    }
    atomic_fetch_sub(&event->n_waiters, 1);
    return changed;
}

#else

static inline void event_init_platform(ox_event *event) {
    pthread_mutex_init(&event->mutex, NULL);
    pthread_cond_init(&event->changed, NULL);
}

static inline void event_destroy(ox_event *event) {
    pthread_mutex_destroy(&event->mutex);
    pthread_cond_destroy(&event->changed);
}

static inline void event_wake(ox_event *event) {
    pthread_mutex_lock(&event->mutex);
    pthread_cond_broadcast(&event->changed);
    pthread_mutex_unlock(&event->mutex);
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

static inline int32_t event_spin(ox_event *event, uint32_t old, uint32_t spin_ns) {
    for (const uint64_t start = now_ns(); now_ns() - start < spin_ns;) {
        for (int32_t i = 0; i < LOADS_PER_CLOCK; i++) {
            if (atomic_load_explicit(&event->value, memory_order_acquire) != old) return 1;
            pause_core();
        }
    }
    return 0;
}

/* Without a timeout: the threads of one process end together. */
static inline int32_t event_sleep(ox_event *event, uint32_t old, int64_t timeout_ns) {
    (void)timeout_ns;
    pthread_mutex_lock(&event->mutex);
    atomic_fetch_add(&event->n_waiters, 1);
    while (atomic_load(&event->value) == old) pthread_cond_wait(&event->changed, &event->mutex);
    atomic_fetch_sub(&event->n_waiters, 1);
    pthread_mutex_unlock(&event->mutex);
    return 1;
}

#endif

static inline void event_init(ox_event *event) {
    atomic_init(&event->value, 0);
    atomic_init(&event->n_waiters, 0);
    atomic_init(&event->spin, MAX_SPIN);
    atomic_init(&event->n_waits, 0);
    event_init_platform(event);
}

/* Changes the value and wakes the waiters. No wake-up is lost: the signaller writes the value and
 * then reads n_waiters, a waiter writes n_waiters and then reads the value, and all threads see
 * these four in one order. So either the waiter sees the new value or the signaller sees the
 * waiter. */
static inline void event_signal(ox_event *event) {
    atomic_fetch_add(&event->value, 1);
    if (atomic_load(&event->n_waiters)) event_wake(event);
}

/* Waits until the value is no longer `old`. Returns 1 then, or 0 after timeout_ns of sleep (< 0: no
 * timeout). */
static inline int32_t event_wait(ox_event *event, uint32_t old, int64_t timeout_ns) {
    uint32_t spin = atomic_load_explicit(&event->spin, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&event->n_waits, 1, memory_order_relaxed) % FULL_SPIN_EVERY ==
        0) {
        spin = MAX_SPIN;
    }
    if (event_spin(event, old, spin)) {
        spin = spin * 2 < MAX_SPIN ? spin * 2 : MAX_SPIN;
        atomic_store_explicit(&event->spin, spin, memory_order_relaxed);
        return 1;
    }
    spin = spin / 4 > MIN_SPIN ? spin / 4 : MIN_SPIN;
    atomic_store_explicit(&event->spin, spin, memory_order_relaxed);
    return event_sleep(event, old, timeout_ns);
}

#endif
