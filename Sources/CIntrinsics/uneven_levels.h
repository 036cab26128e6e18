// What 4-bit codes with uneven levels stand for, by code, before the scale: `QuantizedScheme.unevenLevels` for those who compile C.
#ifndef SLOWFAST_UNEVEN_LEVELS_H
#define SLOWFAST_UNEVEN_LEVELS_H
#include <stdint.h>

static const int8_t uneven_levels[16] = {-31, -25, -19, -15, -11, -8, -5, -2, 0, 3, 6, 9, 12, 16, 20, 26};

static inline __attribute__((always_inline)) int8_t uneven_level(uint8_t code) { return uneven_levels[code & 15]; }
#endif
