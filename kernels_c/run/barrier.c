/* The barrier between operations, of threads that walk a plan together. */
#include "internal.h"

#if defined(__wasm__) && !defined(__wasm_atomics__)
void ox_barrier_wait(const ox_run *run) { (void)run; }
int32_t ox_pool_is_broken(const ox_run *run) {
    (void)run;
    return 0;
}
#else
#include "run/barrier.h"

int32_t ox_pool_is_broken(const ox_run *run) {
    return run->barrier && atomic_load_explicit(&run->barrier->broken, memory_order_relaxed);
}

void ox_barrier_wait(const ox_run *run) {
    struct ox_barrier *barrier = run->barrier;
    if (!barrier || ox_pool_is_broken(run)) return;
    /* once the last thread has come, the pool may write the next *run */
    const uint32_t others = run->n_threads - 1;
    const uint32_t round = atomic_load_explicit(&barrier->round.value, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&barrier->n_arrived, 1, memory_order_acq_rel) == others) {
        atomic_store_explicit(&barrier->n_arrived, 0, memory_order_relaxed);
        gate_open(&barrier->round);
    } else if (!gate_wait(&barrier->round, round, barrier->patience_ns)) {
        barrier_break(barrier);
    }
}
#endif
