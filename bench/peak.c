/* How many multiply-adds of small integers one core does at most: dot products in registers, in
 * chains that do not wait for one another. */
#include "simd/simd.h"

#define CHAINS 8
#define EXPORT __attribute__((visibility("default")))

EXPORT uint32_t peak_products(void) { return 4 * VF * CHAINS; } /* in each round */

/* bytes: 64 of them. Returns something that depends on every product. */
EXPORT float peak_run(const uint8_t *bytes, uint32_t rounds) {
    const vw weights = vw_unsigned(vb_and(vb_load(bytes), vb_splat(0x7f)));
    const va acts = va_load((const act_t *)bytes);
    vacc sums[CHAINS];
    for (int i = 0; i < CHAINS; i++) sums[i] = vacc_init(i);
    for (uint32_t round = 0; round < rounds; round++) {
        V_UNROLL
        for (int i = 0; i < CHAINS; i++) sums[i] = v_dot_unsigned(sums[i], weights, acts);
    }
    vf32 total = v_zero();
    for (int i = 0; i < CHAINS; i++) total = v_add(total, vacc_to_f32(sums[i]));
    return v_hsum(total);
}
