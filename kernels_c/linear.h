/* The two kinds of OX_LINEAR. */
#ifndef OX_LINEAR_H
#define OX_LINEAR_H

#include "internal.h"

/* bias may be NULL. src: n_rows x n_in, dst: n_rows x n_out. */
typedef struct ox_product {
    const ox_tensor *weight;
    const float *bias;
    const float *src;
    float *dst;
    uint32_t n_rows;
} ox_product;

/* F32, F16, BF16 */
uint64_t ox_linear_float_local_bytes(const ox_tensor *weight, uint32_t n_rows);
void ox_linear_float(const ox_run *run, const ox_product *product);

#endif
