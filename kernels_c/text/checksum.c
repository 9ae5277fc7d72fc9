/* XXH64, https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md: the checksum of the files
 * that a browser keeps on the device. It finds damage, at the speed of memory. It does not protect
 * against forgery. */
#include "text/bytes.h"
#include "ox.h"

static const uint64_t P1 = 0x9e3779b185ebca87, P2 = 0xc2b2ae3d27d4eb4f, P3 = 0x165667b19e3779f9,
                      P4 = 0x85ebca77c2b2ae63, P5 = 0x27d4eb2f165667c5;

static inline uint64_t rotate(uint64_t x, int bits) { return x << bits | x >> (64 - bits); }

static inline uint32_t read32(const uint8_t *bytes) {
    uint32_t x;
    __builtin_memcpy(&x, bytes, sizeof x);
    return x;
}

static inline uint64_t mix(uint64_t lane, uint64_t input) {
    return rotate(lane + input * P2, 31) * P1;
}

static inline uint64_t merge(uint64_t hash, uint64_t lane) {
    return (hash ^ mix(0, lane)) * P1 + P4;
}

uint64_t ox_checksum(const uint8_t *bytes, uint64_t n_bytes) {
    const uint64_t n_stripes = n_bytes / 32;
    uint64_t hash = P5;
    if (n_stripes > 0) {
        uint64_t a = P1 + P2, b = P2, c = 0, d = 0 - P1;
        for (uint64_t i = 0; i < n_stripes; i++, bytes += 32) {
            a = mix(a, read64(bytes));
            b = mix(b, read64(bytes + 8));
            c = mix(c, read64(bytes + 16));
            d = mix(d, read64(bytes + 24));
        }
        hash = rotate(a, 1) + rotate(b, 7) + rotate(c, 12) + rotate(d, 18);
        hash = merge(merge(merge(merge(hash, a), b), c), d);
    }
    hash += n_bytes;

    uint64_t rest = n_bytes % 32;
    for (; rest >= 8; rest -= 8, bytes += 8) {
        hash = rotate(hash ^ mix(0, read64(bytes)), 27) * P1 + P4;
    }
    if (rest >= 4) {
        hash = rotate(hash ^ read32(bytes) * P1, 23) * P2 + P3;
        rest -= 4, bytes += 4;
    }
    for (; rest > 0; rest--, bytes++) hash = rotate(hash ^ *bytes * P5, 11) * P1;

    hash = (hash ^ hash >> 33) * P2;
    hash = (hash ^ hash >> 29) * P3;
    return hash ^ hash >> 32;
}
