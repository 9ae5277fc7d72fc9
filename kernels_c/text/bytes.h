/* Unaligned reads. All machines that this runs on are little-endian. */
#ifndef OX_BYTES_H
#define OX_BYTES_H

#include <stdint.h>

static inline uint64_t read64(const uint8_t *bytes) {
    uint64_t x;
    __builtin_memcpy(&x, bytes, sizeof x);
    return x;
}

#endif
