/* A matrix product in any format, of Linear and ExpertLinear. */
#ifndef OX_LINEAR_H
#define OX_LINEAR_H

#include "ops/product.h"

/* Local scratch for n_rows rows of a product. */
uint64_t ox_linear_local_bytes(const ox_tensor *weight, uint32_t n_rows);

/* This thread's part of a product. Quantized weights take the input from `quantized`, which
 * ox_quantize_groups has written for product->n_rows rows, others from product->src. */
void ox_multiply(const ox_run *run, ox_queue *queue, const ox_product *product, uint8_t *quantized);

#endif
