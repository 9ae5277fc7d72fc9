/* Arrays of strings in a GGUF header. A string is its length, a little-endian uint64, and its
 * bytes. A vocabulary has some hundred thousand of them. */
#include "text/bytes.h"
#include "ox.h"

uint64_t ox_skip_strings(const uint8_t *bytes, uint64_t n_bytes, uint64_t n_strings,
                         uint64_t *end) {
    uint64_t at = 0, i = 0;
    for (; i < n_strings && n_bytes - at >= 8; i++) {
        const uint64_t length = read64(bytes + at);
        if (length > n_bytes - at - 8) break;
        at += 8 + length;
    }
    *end = at;
    return i;
}

uint64_t ox_join_strings(const uint8_t *bytes, uint64_t n_bytes, uint64_t n_strings,
                         uint8_t *text) {
    uint64_t at = 0, n_text = 0;
    for (uint64_t i = 0; i < n_strings; i++) {
        if (n_bytes - at < 8) return 0;
        const uint64_t length = read64(bytes + at);
        at += 8;
        if (length > n_bytes - at) return 0;
        uint32_t has_zero = 0;
        for (uint64_t j = 0; j < length; j++) {
            text[n_text + j] = bytes[at + j];
            has_zero |= bytes[at + j] == 0;
        }
        if (has_zero) return 0;
        at += length;
        n_text += length;
        text[n_text++] = 0;
    }
    return n_text;
}
