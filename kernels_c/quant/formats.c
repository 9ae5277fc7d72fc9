/* Which formats have kernels, and whether a weight's sizes fit its format. */
#include "quant/formats.h"

/* Every byte of a block must have its place in a column of a panel. */
#define X(NAME, NUMBER, BLOCK, BLOCK_BYTES, LOW, LOW_AT, HIGH, HIGH_AT, CODING, VALUE_BITS,        \
          OFFSET, N_SCALES, SCALES, D_AT, SUB_AT, N_SUB)                                           \
    _Static_assert((BLOCK_BYTES) == D_BYTES(SCALES) + 2 * HAS_MIN(SCALES) + (N_SUB) +              \
                                        (BLOCK) / 8 * ((LOW) % 16 + (HIGH) % 16),                  \
                   #NAME ": the parts of a block have another size");                              \
    _Static_assert((BLOCK_BYTES) <= OX_MAX_BLOCK_BYTES, #NAME ": OX_MAX_BLOCK_BYTES is too "       \
                                                              "small");
OX_EACH_BIT_FIELD_FORMAT(X)
#undef X

const ox_format *ox_find_format(uint32_t number) {
    switch (number) {
#define X(NAME, ...)                                                                               \
    case OX_##NAME:                                                                                \
        return &FORMAT_##NAME;
        OX_EACH_FORMAT(X)
#undef X
    default:
        return NULL;
    }
}

int32_t ox_format_supported(uint32_t format) {
    if (format == OX_F32 || format == OX_F16 || format == OX_BF16) return 1;
    return ox_find_format(format) && v_dot_is_exact();
}

int32_t ox_check_weight(const ox_tensor *weight) {
    if (!ox_format_supported(weight->format)) return 0;
    if (weight->n_in == 0 || weight->n_out == 0 || weight->packed > 1) return 0;
    const ox_format *format = ox_find_format(weight->format);
    if (format && weight->n_in % format->block) return 0;
    const uint64_t row_bytes = format ? format_row_bytes(*format, weight->n_in)
                                      : (uint64_t)weight->n_in * (weight->format == OX_F32 ? 4 : 2);
    /* row_bytes < 2^34, so the quotient cannot hide an overflow */
    return weight->bytes % row_bytes == 0 && weight->bytes / row_bytes == weight->n_out;
}

int32_t ox_check_matrix(const ox_tensor *weight) {
    if (!weight || weight->data == 0) return OX_BAD_MODEL;
    if (!ox_format_supported(weight->format)) return OX_BAD_FORMAT;
    return ox_check_weight(weight) ? OX_OK : OX_BAD_MODEL;
}
