// What the quantizer needs of vectors of four floats, in C's vector extensions: nothing beyond the baseline of any architecture.
#ifndef SLOWFAST_QUANTIZATION_H
#define SLOWFAST_QUANTIZATION_H
#include <stdint.h>

typedef float quantizer_floats __attribute__((ext_vector_type(4)));
typedef int32_t quantizer_integers __attribute__((ext_vector_type(4)));
typedef uint8_t quantizer_bytes __attribute__((ext_vector_type(4)));

#define QUANTIZER static inline __attribute__((always_inline))

QUANTIZER quantizer_floats quantizer_load(const float *from) {
  quantizer_floats x;
  __builtin_memcpy(&x, from, 16);
  return x;
}
QUANTIZER quantizer_floats quantizer_min(quantizer_floats a, quantizer_floats b) { return a < b ? a : b; }
QUANTIZER quantizer_floats quantizer_max(quantizer_floats a, quantizer_floats b) { return a > b ? a : b; }
// To the nearest integer, ties to even, between `least` and `greatest`, which are integers below 2^22 in magnitude.
QUANTIZER quantizer_floats quantizer_round(quantizer_floats x, float least, float greatest) {
  const quantizer_floats shift = 12582912.0f;
  return (quantizer_min(quantizer_max(x, (quantizer_floats)least), (quantizer_floats)greatest) + shift) - shift;
}
// For each lane the number of `table`, 128 of them, that stands for the half in which it lies: the first for all below −31.5, the second
// for −31.5 … −31, the last for all from 31.5 on.
QUANTIZER quantizer_floats quantizer_look_up(quantizer_floats x, const float *table) {
  quantizer_floats place = quantizer_min(quantizer_max(x * 2.0f + 64.0f, (quantizer_floats)0.0f), (quantizer_floats)127.0f);
  quantizer_integers index = __builtin_convertvector(place, quantizer_integers);
  return (quantizer_floats){table[index.x], table[index.y], table[index.z], table[index.w]};
}
// Integers 0 … 255 as bytes.
QUANTIZER void quantizer_store(uint8_t *to, quantizer_floats x) {
  quantizer_bytes bytes = __builtin_convertvector(__builtin_convertvector(x, quantizer_integers), quantizer_bytes);
  __builtin_memcpy(to, &bytes, 4);
}
#undef QUANTIZER
#endif
