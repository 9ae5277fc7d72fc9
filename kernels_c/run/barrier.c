/* The barrier at which the threads of a pool wait for each other between two operations. */
#include "internal.h"

#if defined(__wasm__) && !defined(__wasm_atomics__)
void ox_barrier_wait(const ox_run *run) { (void)run; }
int32_t ox_pool_is_poisoned(const ox_run *run) {
    (void)run;
    return 0;
}
#else
#include "run/barrier.h"

int32_t ox_pool_is_poisoned(const ox_run *run) {
    return run->barrier && atomic_load_explicit(&run->barrier->poisoned, memory_order_relaxed);
}

void ox_barrier_wait(const ox_run *run) {
    struct ox_barrier *barrier = run->barrier;
    if (!barrier || ox_pool_is_poisoned(run)) return;
    /* read these first: once the last thread has arrived, the pool may overwrite *run */
    const uint32_t others = run->n_threads - 1;
    const uint32_t phase = atomic_load_explicit(&barrier->phase.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->n_arrived, 1, memory_order_acq_rel) == others) {
        atomic_store_explicit(&barrier->n_arrived, 0, memory_order_relaxed);
        event_signal(&barrier->phase);
    } else if (!event_wait(&barrier->phase, phase, barrier->timeout_ns)) {
        barrier_poison(barrier);
    }
}
#endif
