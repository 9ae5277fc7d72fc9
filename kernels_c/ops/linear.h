/* Products with quantized weights. */
#ifndef OX_LINEAR_H
#define OX_LINEAR_H

#include "ops/product.h"
#include "quant/formats.h"

/* The input is quantized by ox_quantize_rows. */
void ox_linear_quantized(const ox_run *run, ox_queue *queue, const ox_product *product,
                         const ox_format *format, const ox_activations *acts);

#endif
