/* setup.sh forces this into llama.cpp's sources (-include). GCC's _tile_loadconfig says that it
 * reads 8 of the 64 bytes of a tile configuration; the compiler then drops the stores to the rest,
 * and the first AMX instruction faults. This one names all 64. */
#if defined(__AMX_TILE__) && defined(__GNUC__) && !defined(__clang__)
#include <immintrin.h>
#define _tile_loadconfig(config) \
    __asm__ volatile("ldtilecfg %0" ::"m"(*(const char(*)[64])(config)))
#endif
