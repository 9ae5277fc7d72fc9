/* Which formats have kernels, and whether a weight's sizes fit its format. */
#include "quant/formats.h"

int32_t ox_format_supported(uint32_t format) {
    ox_format found;
    if (format == OX_F32 || format == OX_F16 || format == OX_BF16) return 1;
    return ox_find_format(format, &found) && v_dot_is_exact();
}

int32_t ox_check_weight(const ox_tensor *weight) {
    if (!ox_format_supported(weight->format)) return 0;
    if (weight->n_in == 0 || weight->n_out == 0 || weight->packed > 1) return 0;
    ox_format format;
    uint64_t row_bytes = (uint64_t)weight->n_in * (weight->format == OX_F32 ? 4 : 2);
    if (ox_find_format(weight->format, &format)) {
        if (weight->n_in % format.block) return 0;
        row_bytes = format_row_bytes(format, weight->n_in);
    }
    /* row_bytes < 2^34, so the quotient cannot hide an overflow */
    return weight->bytes % row_bytes == 0 && weight->bytes / row_bytes == weight->n_out;
}

int32_t ox_check_matrix(const ox_tensor *weight) {
    if (!weight || weight->data == 0) return OX_BAD_MODEL;
    if (!ox_format_supported(weight->format)) return OX_BAD_FORMAT;
    return ox_check_weight(weight) ? OX_OK : OX_BAD_MODEL;
}
