// Vectors of floats as wide as the target's registers, and the operations on them that Swift's SIMD types do not turn into single
// instructions. Plain vector extensions of C: the same text gives AVX-512, AVX2, SSE and NEON code, by the module that includes it.
#ifndef SLOWFAST_FLOAT_LANES_H
#define SLOWFAST_FLOAT_LANES_H
#include <stdint.h>

#if defined(__AVX512F__)
#define FLOAT_LANES 16
#elif defined(__AVX__)
#define FLOAT_LANES 8
#else
#define FLOAT_LANES 4
#endif

// Accumulators of a matrix product: rows by vectors. They, a vector of b each and a broadcast of a fit the registers there are.
#if defined(__AVX512F__)
#define FLOAT_TILE_ROWS 8
#define FLOAT_TILE_VECTORS 2
#elif defined(__AVX__)
#define FLOAT_TILE_ROWS 6
#define FLOAT_TILE_VECTORS 2
#elif defined(__aarch64__)
#define FLOAT_TILE_ROWS 6
#define FLOAT_TILE_VECTORS 4
#else
#define FLOAT_TILE_ROWS 3
#define FLOAT_TILE_VECTORS 4
#endif

// Rows of a product up to which float16 is better converted on the way to the multiplier than once before: none without an instruction
// for it.
#if defined(__F16C__) || defined(__aarch64__)
#define FLOAT_HALF_ROWS 8
#else
#define FLOAT_HALF_ROWS 0
#endif

typedef float float_lanes __attribute__((ext_vector_type(FLOAT_LANES)));

#define LANES static inline __attribute__((always_inline))

// MARK: memory, at any alignment; `part` < FLOAT_LANES values, the others zero

LANES float_lanes lanes_load(const float *from) {
  float_lanes x;
  __builtin_memcpy(&x, from, sizeof x);
  return x;
}

LANES void lanes_store(float *to, float_lanes x) { __builtin_memcpy(to, &x, sizeof x); }

LANES float_lanes lanes_load_part(const float *from, long part) {
  float_lanes x = 0;
  for (long i = 0; i < part; i++) ((float *)&x)[i] = from[i];
  return x;
}

LANES void lanes_store_part(float *to, float_lanes x, long part) {
  for (long i = 0; i < part; i++) to[i] = ((const float *)&x)[i];
}

// MARK: arithmetic

// a · b + c: fused where the machine can.
LANES float_lanes lanes_multiply_add(float_lanes a, float_lanes b, float_lanes c) {
#pragma clang fp contract(fast)
  return a * b + c;
}

// The greater of both; b where either is not a number.
LANES float_lanes lanes_max(float_lanes a, float_lanes b) {
  __typeof__(a > b) mask = a > b;
  return (float_lanes)(((__typeof__(mask))a & mask) | ((__typeof__(mask))b & ~mask));
}

// The smaller of both; b where either is not a number.
LANES float_lanes lanes_min(float_lanes a, float_lanes b) {
  __typeof__(a < b) mask = a < b;
  return (float_lanes)(((__typeof__(mask))a & mask) | ((__typeof__(mask))b & ~mask));
}

LANES float_lanes lanes_magnitude(float_lanes x) { return (float_lanes)((__typeof__(x < x))x & 0x7fffffff); }

// 0 where a < limit, otherwise x.
LANES float_lanes lanes_zero_below(float_lanes a, float_lanes limit, float_lanes x) {
  return (float_lanes)((__typeof__(a < limit))x & ~(a < limit));
}

// 2ⁿ, where `shifted` is n + 1.5 · 2²³ (which leaves n in the low bits); −126 ≤ n ≤ 127.
LANES float_lanes lanes_power_of_two(float_lanes shifted) {
  return (float_lanes)(((__typeof__(shifted < shifted))shifted << 23) + 0x3f800000);
}

// The low bytes of four vectors, each plus 128, side by side in every lane, the first lowest.
LANES void lanes_store_codes(void *to, float_lanes a, float_lanes b, float_lanes c, float_lanes d) {
  typedef uint32_t bits __attribute__((ext_vector_type(FLOAT_LANES)));
  bits x = ((bits)a & 255) | ((bits)b & 255) << 8 | ((bits)c & 255) << 16 | (bits)d << 24;
  x ^= 0x80808080;
  __builtin_memcpy(to, &x, sizeof x);
}

// MARK: 16-bit formats

LANES float_lanes lanes_load_bfloat(const void *from) {
  typedef uint16_t stored __attribute__((ext_vector_type(FLOAT_LANES)));
  typedef uint32_t bits __attribute__((ext_vector_type(FLOAT_LANES)));
  stored x;
  __builtin_memcpy(&x, from, sizeof x);
  return (float_lanes)(__builtin_convertvector(x, bits) << 16);
}

LANES float_lanes lanes_load_half(const void *from) {
#if defined(__F16C__) || defined(__aarch64__)
  typedef _Float16 stored __attribute__((ext_vector_type(FLOAT_LANES)));
  stored x;
  __builtin_memcpy(&x, from, sizeof x);
  return __builtin_convertvector(x, float_lanes);
#else
  typedef uint16_t stored __attribute__((ext_vector_type(FLOAT_LANES)));
  typedef uint32_t integers __attribute__((ext_vector_type(FLOAT_LANES)));
  stored x;
  __builtin_memcpy(&x, from, sizeof x);
  // Exponent and fraction to their place, then the exponent's bias by a multiplication, which also gives subnormal values their due.
  integers bits = __builtin_convertvector(x, integers);
  integers magnitude = (bits & 0x7fff) << 13;
  integers scaled = (integers)((float_lanes)magnitude * 0x1p112f);
  // Infinities and what is not a number keep the greatest exponent.
  integers special = (integers)(magnitude >= (0x7c00u << 13));
  return (float_lanes)(scaled | (special & 0x7f800000) | ((bits & 0x8000) << 16));
#endif
}

// `part` < FLOAT_LANES values, the others zero.
LANES float_lanes lanes_load_part_bfloat(const void *from, long part) {
  uint16_t values[FLOAT_LANES] = {0};
  for (long i = 0; i < part; i++) values[i] = ((const uint16_t *)from)[i];
  return lanes_load_bfloat(values);
}

LANES float_lanes lanes_load_part_half(const void *from, long part) {
  uint16_t values[FLOAT_LANES] = {0};
  for (long i = 0; i < part; i++) values[i] = ((const uint16_t *)from)[i];
  return lanes_load_half(values);
}

// Rounded to nearest, ties to even.
LANES void lanes_store_half(void *to, float_lanes x) {
#if defined(__F16C__) || defined(__aarch64__)
  typedef _Float16 stored __attribute__((ext_vector_type(FLOAT_LANES)));
  stored half = __builtin_convertvector(x, stored);
#else
  typedef uint16_t stored __attribute__((ext_vector_type(FLOAT_LANES)));
  typedef uint32_t integers __attribute__((ext_vector_type(FLOAT_LANES)));
  integers bits = (integers)x;
  integers magnitude = bits & 0x7fffffff;
  // Normal results: half of the last place, less one, plus what makes ties even; a carry moves the exponent as it should.
  integers normal = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
  // Subnormal results: adding ½ leaves the value, rounded by the addition, in the last bits.
  integers subnormal = (integers)((float_lanes)magnitude + 0.5f) - 0x3f000000;
  integers is_subnormal = (integers)(magnitude < (113u << 23));
  integers result = (subnormal & is_subnormal) | (normal & ~is_subnormal);
  integers overflows = (integers)(magnitude >= 0x477ff000);
  result = (result & ~overflows) | (overflows & 0x7c00);
  result |= (integers)(magnitude > 0x7f800000) & 0x200;
  stored half = __builtin_convertvector(result | ((bits >> 16) & 0x8000), stored);
#endif
  __builtin_memcpy(to, &half, sizeof half);
}

LANES void lanes_store_part_half(void *to, float_lanes x, long part) {
  uint16_t values[FLOAT_LANES];
  lanes_store_half(values, x);
  for (long i = 0; i < part; i++) ((uint16_t *)to)[i] = values[i];
}

// MARK: others

// Asks for the cache line; the address need not be valid.
LANES void lanes_prefetch(const void *from) { __builtin_prefetch(from); }

// The sum of all lanes.
LANES float lanes_sum(float_lanes x) {
#if FLOAT_LANES == 16
  __typeof__(x.lo) y = x.lo + x.hi;
  __typeof__(y.lo) z = y.lo + y.hi;
#elif FLOAT_LANES == 8
  __typeof__(x.lo) z = x.lo + x.hi;
#else
  float_lanes z = x;
#endif
  return (z.x + z.z) + (z.y + z.w);
}

// The greatest of all lanes, none of which is NaN.
LANES float lanes_greatest(float_lanes x) {
  float greatest = x[0];
  for (int i = 1; i < FLOAT_LANES; i++) greatest = x[i] > greatest ? x[i] : greatest;
  return greatest;
}

// Interleaving: a0 b0 a1 b1 … of the lower halves.
LANES float_lanes lanes_zip_low(float_lanes a, float_lanes b) {
#if FLOAT_LANES == 16
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif FLOAT_LANES == 8
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}

// The same of the upper halves.
LANES float_lanes lanes_zip_high(float_lanes a, float_lanes b) {
#if FLOAT_LANES == 16
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif FLOAT_LANES == 8
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}

#undef LANES
#endif
