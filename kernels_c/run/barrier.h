/* The barrier of a pool of threads. */
#ifndef OX_BARRIER_H
#define OX_BARRIER_H

#include "run/event.h"

struct ox_barrier {
    ox_event phase; /* counts the barriers that all threads have passed */
    atomic_uint n_arrived;
    atomic_uint poisoned;
    int64_t timeout_ns; /* < 0: none */
};

static inline void barrier_init(struct ox_barrier *barrier, int64_t timeout_ns) {
    event_init(&barrier->phase);
    atomic_init(&barrier->n_arrived, 0);
    atomic_init(&barrier->poisoned, 0);
    barrier->timeout_ns = timeout_ns;
}

/* Releases the threads that wait now, and all that come later. */
static inline void barrier_poison(struct ox_barrier *barrier) {
    atomic_store(&barrier->poisoned, 1);
    event_signal(&barrier->phase);
}

#endif
