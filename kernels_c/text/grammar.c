/* Which tokens an automaton over bytes accepts, and the masking of the others' logits. */
#include "ox.h"
#include "simd/simd.h"

/* The state after a token, or the missing transition at which it stopped. */
typedef struct step_result {
    uint32_t state;
    uint32_t transition;
    uint32_t is_missing;
} step_result;

static step_result step_token(const ox_vocabulary *vocabulary, const ox_automaton *automaton,
                              uint32_t state, uint32_t token) {
    const uint8_t *bytes = (const uint8_t *)(uintptr_t)vocabulary->bytes;
    const uint32_t *offsets = (const uint32_t *)(uintptr_t)vocabulary->offsets;
    const uint8_t *classes = (const uint8_t *)(uintptr_t)automaton->classes;
    const uint16_t *table = (const uint16_t *)(uintptr_t)automaton->table;
    const uint32_t end = offsets[token + 1];
    if (offsets[token] >= end || end > vocabulary->n_bytes) return (step_result){0, 0, 0};
    for (uint32_t i = offsets[token]; i < end && state != 0; i++) {
        const uint32_t transition = state * automaton->n_classes + classes[bytes[i]];
        state = table[transition];
        if (state >= automaton->n_states) return (step_result){0, transition, 1};
    }
    return (step_result){state, 0, 0};
}

uint32_t ox_match_tokens(const ox_vocabulary *vocabulary, const ox_automaton *automaton,
                         uint32_t state, uint32_t *ids, uint32_t n_ids, uint32_t *mask,
                         uint32_t *missing, uint32_t max_missing, uint32_t *n_missing) {
    uint16_t *table = (uint16_t *)(uintptr_t)automaton->table;
    uint32_t n_undecided = 0;
    *n_missing = 0;
    if (state >= automaton->n_states) return 0;
    for (uint32_t i = 0; i < n_ids; i++) {
        const uint32_t token = ids[i];
        if (token >= vocabulary->n_tokens) continue;
        const step_result found = step_token(vocabulary, automaton, state, token);
        if (found.is_missing) {
            ids[n_undecided++] = token;
            if (table[found.transition] != OX_TRANSITION_MISSING && *n_missing < max_missing) {
                table[found.transition] = OX_TRANSITION_MISSING;
                missing[(*n_missing)++] = found.transition;
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
