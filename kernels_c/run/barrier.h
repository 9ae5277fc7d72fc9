/* The barrier of a pool of threads. */
#ifndef OX_BARRIER_H
#define OX_BARRIER_H

#include "run/event.h"

struct ox_barrier {
    gate round;
    atomic_uint n_arrived;
    atomic_uint broken;
    int64_t patience_ns;
};

static inline void barrier_init(struct ox_barrier *barrier, int64_t patience_ns) {
    gate_init(&barrier->round);
    atomic_init(&barrier->n_arrived, 0);
    atomic_init(&barrier->broken, 0);
    barrier->patience_ns = patience_ns;
}

/* From now on nobody waits. */
static inline void barrier_break(struct ox_barrier *barrier) {
    atomic_store(&barrier->broken, 1);
    gate_open(&barrier->round);
}

#endif
