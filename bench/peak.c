/* How many multiply-adds of small integers one core can do: dot products in registers, in chains
 * that do not wait for one another. */
#include "simd/simd.h"

#define CHAINS 8
#define BITS 4 /* of a weight, as in the formats that are multiplied fastest */
#define EXPORT __attribute__((visibility("default")))

/* Dot products of a chain before its sums are widened. */
static const int depth = V_I16_DEPTH(BITS) < 8 ? V_I16_DEPTH(BITS) : 8;

/* Multiply-adds in each round. */
EXPORT uint32_t peak_products(void) { return 4 * VF * CHAINS * (uint32_t)depth; }

/* bytes: 64 of them. Returns something that depends on every product.
 *
 * The compiler must not know that all of them are of the same numbers: it would multiply once, and
 * replace the sums by another product. So it is told that the address may change. */
EXPORT float peak_run(const uint8_t *bytes, uint32_t rounds) {
    const vw weights = vw_unsigned(vb_and(vb_load(bytes), vb_splat((1 << BITS) - 1)));
    vacc sums[CHAINS];
    for (int i = 0; i < CHAINS; i++) sums[i] = vacc_init(i);
    for (uint32_t round = 0; round < rounds; round++) {
        for (int d = 0; d < depth; d++) {
            V_UNROLL
            for (int i = 0; i < CHAINS; i++) {
                __asm__("" : "+r"(bytes));
                sums[i] = v_dot_unsigned(sums[i], weights, va_load((const act_t *)bytes));
            }
        }
        V_UNROLL
        for (int i = 0; i < CHAINS; i++) sums[i] = vacc_widen(sums[i]);
    }
    vf32 total = v_zero();
    for (int i = 0; i < CHAINS; i++) total = v_add(total, vacc_to_f32(sums[i]));
    return v_hsum(total);
}
