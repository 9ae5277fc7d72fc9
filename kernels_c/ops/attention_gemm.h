/* Products of a few rows of float32 with a tile of cached keys or values. */
#ifndef OX_ATTENTION_GEMM_H
#define OX_ATTENTION_GEMM_H

#include "ops/kv_cache.h"

enum { TILE_ROWS = 4 }; /* of one product, at most */

/* c[n_rows][width] (+)= a[n_rows][n] b[n][width]; strides of a and c in values, of b in bytes. */
typedef struct ox_tile_product {
    const float *a;
    const uint8_t *b;      /* cached values, as load_cached takes them */
    const uint8_t *scales; /* NULL, or width float16 values: the factors of the columns, which are
                            * multiplied before the result is added to c */
    float *c;
    size_t a_stride, b_stride, c_stride;
    uint32_t n_rows; /* 1 .. TILE_ROWS */
    uint32_t n;
    uint32_t width; /* a multiple of two vectors */
    int add;
} ox_tile_product;

/* A row's result does not depend on how many rows there are. format: OX_F32 ... */
void ox_multiply_tile(const ox_tile_product *product, uint32_t format);

/* n cached values as float32, as load_cached gives them. */
void ox_load_cached(const uint8_t *from, uint32_t n, uint32_t format, float *to);

#endif
