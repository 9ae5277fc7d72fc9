/* What tells Python and JavaScript that they and the kernels mean the same structs. */
#include "ox.h"

uint32_t ox_abi_version(void) { return OX_ABI_VERSION; }

uint32_t ox_struct_size(uint32_t index) {
    static const uint32_t sizes[] = {
        sizeof(ox_tensor),     sizeof(ox_buffer),    sizeof(ox_op),           sizeof(ox_kv_layer),
        sizeof(ox_state),      sizeof(ox_model),     sizeof(ox_sequence),     sizeof(ox_batch),
        sizeof(ox_vocabulary), sizeof(ox_automaton), sizeof(ox_key_rotation),
    };
    return index < sizeof sizes / sizeof *sizes ? sizes[index] : 0;
}
