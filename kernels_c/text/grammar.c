/* Which tokens an automaton over bytes can read, and logits of those that it cannot. */
#include "ox.h"
#include "simd/simd.h"

/* What reading a token came to. */
typedef struct reading {
    uint32_t state;
    uint32_t entry;
    uint32_t is_unknown;
} reading;

static reading read_token(const ox_vocabulary *vocabulary, const ox_automaton *automaton,
                          uint32_t state, uint32_t token) {
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)vocabulary->bytes;
    const uint32_t *offsets = (const uint32_t *)(uintptr_t)vocabulary->offsets;
    const uint8_t *classes = (const uint8_t *)(uintptr_t)automaton->classes;
    const uint16_t *table = (const uint16_t *)(uintptr_t)automaton->table;
    const uint32_t end = offsets[token + 1];
    if (offsets[token] >= end || end > vocabulary->n_bytes) return (reading){0, 0, 0};
    for (uint32_t i = offsets[token]; i < end && state != 0; i++) {
        const uint32_t entry = state * automaton->n_classes + classes[bytes[i]];
        state = table[entry];
        if (state >= automaton->n_states) return (reading){0, entry, 1};
    }
    return (reading){state, 0, 0};
}

uint32_t ox_match_tokens(const ox_vocabulary *vocabulary, const ox_automaton *automaton,
                         uint32_t state, uint32_t *ids, uint32_t n_ids, uint32_t *mask,
                         uint32_t *wanted, uint32_t most_wanted, uint32_t *n_wanted) {
    uint16_t *table = (uint16_t *)(uintptr_t)automaton->table;
    uint32_t n_undecided = 0;
    *n_wanted = 0;
    if (state >= automaton->n_states) return 0;
    for (uint32_t i = 0; i < n_ids; i++) {
        const uint32_t token = ids[i];
        if (token >= vocabulary->n_tokens) continue;
        const reading found = read_token(vocabulary, automaton, state, token);
        if (found.is_unknown) {
            ids[n_undecided++] = token;
            if (table[found.entry] != OX_ENTRY_WANTED && *n_wanted < most_wanted) {
                table[found.entry] = OX_ENTRY_WANTED;
                wanted[(*n_wanted)++] = found.entry;
            }
        } else if (found.state != 0) {
            mask[token / 32] |= 1u << token % 32;
        }
    }
    return n_undecided;
}

void ox_mask_logits(float *logits, uint32_t n, const uint32_t *mask, uint32_t n_mask) {
    for (uint32_t i = 0; i < n; i++) {
        if (i >= n_mask || !(mask[i / 32] >> i % 32 & 1)) logits[i] = NEGATIVE_INFINITY;
    }
}
