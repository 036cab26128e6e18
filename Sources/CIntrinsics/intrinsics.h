// Single instructions that Swift's SIMD types do not reach, as functions that inline to them.
#ifndef SLOWFAST_INTRINSICS_H
#define SLOWFAST_INTRINSICS_H
#include <stdint.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
// Asks for the cache line in the second-level cache; the address need not be valid.
static inline __attribute__((always_inline)) void prefetch_line(const void *from) { __builtin_prefetch(from, 0, 2); }

#include "uneven_levels.h"

#include "quantization.h"
#include "quantized_amx.h"
#include "quantized_neon.h"
#include "quantized_portable.h"
#include "quantized_x86.h"
#endif
