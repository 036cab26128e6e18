// Vectors of 16 bytes for the portable quantized kernels, in C's vector extensions: SSE2 on x86, NEON on ARM, nothing beyond the baseline.
#ifndef SLOWFAST_QUANTIZED_PORTABLE_H
#define SLOWFAST_QUANTIZED_PORTABLE_H
#include <stdint.h>

typedef int16_t portable_int16x8 __attribute__((ext_vector_type(8)));
typedef int16_t portable_int16x4 __attribute__((ext_vector_type(4)));
typedef int32_t portable_int32x4 __attribute__((ext_vector_type(4)));
typedef uint8_t portable_bytes __attribute__((ext_vector_type(16)));
typedef uint8_t portable_bytesx8 __attribute__((ext_vector_type(8)));
typedef float portable_floatx4 __attribute__((ext_vector_type(4)));
typedef double portable_doublex4 __attribute__((ext_vector_type(4)));

#define PORTABLE static inline __attribute__((always_inline))

PORTABLE portable_int16x8 portable_load(const int16_t *from) {
  portable_int16x8 x;
  __builtin_memcpy(&x, from, 16);
  return x;
}
// The pair of int16 at `from`, four times.
PORTABLE portable_int16x8 portable_broadcast(const int16_t *from) {
  int32_t bits;
  __builtin_memcpy(&bits, from, 4);
  return (portable_int16x8)(portable_int32x4)bits;
}
// `sums` + sums of two neighbouring products.
PORTABLE portable_int32x4 portable_add_pairs(portable_int32x4 sums, portable_int16x8 a, portable_int16x8 b) {
#if defined(__SSE2__)
  return sums + (portable_int32x4)_mm_madd_epi16((__m128i)a, (__m128i)b);
#elif defined(__aarch64__)
  int32x4_t low = vmull_s16(vget_low_s16((int16x8_t)a), vget_low_s16((int16x8_t)b));
  return sums + (portable_int32x4)vpaddq_s32(low, vmull_high_s16((int16x8_t)a, (int16x8_t)b));
#else
  portable_int32x4 even = __builtin_convertvector(a.even, portable_int32x4) * __builtin_convertvector(b.even, portable_int32x4);
  return sums + even + __builtin_convertvector(a.odd, portable_int32x4) * __builtin_convertvector(b.odd, portable_int32x4);
#endif
}
// Four 3-bit codes of each of four rows, less their zero point: the first two of each row at `to`, the last two 64 further.
PORTABLE void portable_store_codes3(int16_t *to, portable_bytes codes) {
  portable_bytesx8 first = __builtin_shufflevector(codes, codes, 0, 1, 4, 5, 8, 9, 12, 13);
  portable_bytesx8 last = __builtin_shufflevector(codes, codes, 2, 3, 6, 7, 10, 11, 14, 15);
  portable_int16x8 low = __builtin_convertvector(first, portable_int16x8) - (int16_t)4;
  portable_int16x8 high = __builtin_convertvector(last, portable_int16x8) - (int16_t)4;
  __builtin_memcpy(to, &low, 16);
  __builtin_memcpy(to + 64, &high, 16);
}
// 32 inputs of four rows in 3-bit codes, whose parts are 128 bytes apart; a four of inputs is 128 values from the next.
PORTABLE void portable_unpack3(const uint8_t *from, int16_t *to) {
  portable_bytes a, b, c;
  __builtin_memcpy(&a, from, 16);
  __builtin_memcpy(&b, from + 128, 16);
  __builtin_memcpy(&c, from + 256, 16);
  portable_store_codes3(to, a & 7);
  portable_store_codes3(to + 128, a >> 3 & 7);
  portable_store_codes3(to + 256, b & 7);
  portable_store_codes3(to + 384, b >> 3 & 7);
  portable_store_codes3(to + 512, c & 7);
  portable_store_codes3(to + 640, c >> 3 & 7);
  portable_store_codes3(to + 768, a >> 6 | (c >> 4 & 4));
  portable_store_codes3(to + 896, b >> 6 | (c >> 5 & 4));
}
PORTABLE portable_floatx4 portable_to_float(portable_int32x4 a) { return __builtin_convertvector(a, portable_floatx4); }
PORTABLE portable_floatx4 portable_load_floats(const float *from) {
  portable_floatx4 x;
  __builtin_memcpy(&x, from, 16);
  return x;
}
PORTABLE void portable_store_floats(float *to, portable_floatx4 x) { __builtin_memcpy(to, &x, 16); }
// a · b + c, rounded once where the target can; else the product is exact and the sum rounded to a double first, which gives another
// float about once in 2²⁹ times.
PORTABLE portable_floatx4 portable_multiply_add(portable_floatx4 a, portable_floatx4 b, portable_floatx4 c) {
#if defined(__aarch64__)
  return (portable_floatx4)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
#pragma clang fp contract(off)
  portable_doublex4 product = __builtin_convertvector(a, portable_doublex4) * __builtin_convertvector(b, portable_doublex4);
  return __builtin_convertvector(product + __builtin_convertvector(c, portable_doublex4), portable_floatx4);
#endif
}

// The same value, which the compiler cannot see through.
PORTABLE portable_int16x8 portable_opaque(portable_int16x8 x) {
#if defined(__SSE2__)
  __asm__ volatile("" : "+x"(x));
#elif defined(__aarch64__)
  __asm__ volatile("" : "+w"(x));
#endif
  return x;
}

// Makes the compiler load again what it has stored or loaded before, in place of keeping it in registers that it does not have.
PORTABLE void forget_memory(void) { __asm__ volatile("" ::: "memory"); }

#undef PORTABLE
#endif
