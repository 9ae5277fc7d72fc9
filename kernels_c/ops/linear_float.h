/* Products with F32, F16 and BF16 weights. */
#ifndef OX_LINEAR_FLOAT_H
#define OX_LINEAR_FLOAT_H

#include "ops/product.h"

uint64_t ox_linear_float_local_bytes(const ox_tensor *weight, uint32_t n_rows);
void ox_linear_float(const ox_run *run, ox_queue *queue, const ox_product *product);

#endif
