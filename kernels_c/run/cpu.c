/* Which of the native libraries this processor can run. */
#include "ox.h"

#ifndef __wasm__
#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

/* Which register states the operating system saves: bits 1, 2 vectors, 5 to 7 AVX-512. */
static uint32_t saved_states(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

uint32_t ox_cpu_features(void) {
    const uint32_t osxsave = 1u << 27, avx = 1u << 28, f16c = 1u << 29, fma = 1u << 12;
    const uint32_t avx2 = 1u << 5, avx512f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    const uint32_t vnni = 1u << 11;
    uint32_t a, b, c, d, features = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const uint32_t needed = osxsave | avx | f16c | fma;
    if ((c & needed) != needed || (saved_states() & 0x6) != 0x6) return 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & avx2)) return 0;
    features = 1;
    const uint32_t all = avx512f | dq | bw | vl;
    if ((b & all) == all && (c & vnni) && (saved_states() & 0xe0) == 0xe0) features |= 2;
    return features;
}
#elif defined(__aarch64__) && defined(__APPLE__)
uint32_t ox_cpu_features(void) { return 4; }
#elif defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
uint32_t ox_cpu_features(void) { return getauxval(AT_HWCAP) & (1u << 20) /* ASIMDDP */ ? 4 : 0; }
#else
uint32_t ox_cpu_features(void) { return 0; }
#endif
#endif
