// What the quantized kernels for ARM need of NEON, of its dot product and of its 8-bit matrix product, one instruction (or one obvious
// pair) a function. Vectors are those of C's extensions, which Swift sees as SIMD types. No pointer needs alignment.
#ifndef SLOWFAST_QUANTIZED_NEON_H
#define SLOWFAST_QUANTIZED_NEON_H
#if defined(__aarch64__)
#include <arm_neon.h>
#include <stdint.h>

typedef int8_t neon_int8 __attribute__((ext_vector_type(16)));
typedef int16_t neon_int16 __attribute__((ext_vector_type(8)));
typedef int32_t neon_int32 __attribute__((ext_vector_type(4)));
typedef float neon_float __attribute__((ext_vector_type(4)));

#define NEON static inline __attribute__((always_inline))

// MARK: memory

NEON neon_int8 neon_load(const void *from) { return (neon_int8)vld1q_s8((const int8_t *)from); }
// Eight bytes, and zeros after them.
NEON neon_int8 neon_load_eight(const void *from) { return (neon_int8)vcombine_s8(vld1_s8((const int8_t *)from), vdup_n_s8(0)); }
NEON void neon_store(void *to, neon_int8 x) { vst1q_s8((int8_t *)to, (int8x16_t)x); }
// The four bytes at `from`, four times.
NEON neon_int8 neon_broadcast(const void *from) {
  int32_t bits;
  __builtin_memcpy(&bits, from, 4);
  return (neon_int8)vdupq_n_s32(bits);
}
NEON neon_int32 neon_fill(int32_t x) { return (neon_int32)vdupq_n_s32(x); }
NEON void neon_prefetch(const void *p) { __builtin_prefetch(p); }

// MARK: codes

// The low and the high halves of 16 bytes of 4-bit codes, 0 … 15.
NEON neon_int8 neon_low_codes(neon_int8 packed) { return (neon_int8)vandq_u8((uint8x16_t)packed, vdupq_n_u8(15)); }
NEON neon_int8 neon_high_codes(neon_int8 packed) { return (neon_int8)vshrq_n_u8((uint8x16_t)packed, 4); }
// Uneven levels by code, and what such a table has for codes 0 … 15.
NEON neon_int8 neon_levels(void) { return (neon_int8)vld1q_s8(uneven_levels); }
NEON neon_int8 neon_look_up(neon_int8 table, neon_int8 codes) { return (neon_int8)vqtbl1q_s8((int8x16_t)table, (uint8x16_t)codes); }
// Of the three parts of 3-bit codes: the fours in bits 0–2 and in bits 3–5 of one, and those that two parts share.
NEON neon_int8 neon_low_codes3(neon_int8 part) { return (neon_int8)vandq_u8((uint8x16_t)part, vdupq_n_u8(7)); }
NEON neon_int8 neon_high_codes3(neon_int8 part) { return (neon_int8)vandq_u8(vshrq_n_u8((uint8x16_t)part, 3), vdupq_n_u8(7)); }
NEON neon_int8 neon_seventh_codes(neon_int8 first, neon_int8 third) {
  uint8x16_t high = vshrq_n_u8(vshlq_n_u8((uint8x16_t)third, 1), 7);
  return (neon_int8)vsliq_n_u8(vshrq_n_u8((uint8x16_t)first, 6), high, 2);
}
NEON neon_int8 neon_eighth_codes(neon_int8 second, neon_int8 third) {
  return (neon_int8)vsliq_n_u8(vshrq_n_u8((uint8x16_t)second, 6), vshrq_n_u8((uint8x16_t)third, 7), 2);
}
// Less the zero point of 3-bit codes, and of 4-bit codes.
NEON neon_int8 neon_less_4(neon_int8 codes) { return (neon_int8)vsubq_s8((int8x16_t)codes, vdupq_n_s8(4)); }
NEON neon_int8 neon_less_8(neon_int8 codes) { return (neon_int8)vsubq_s8((int8x16_t)codes, vdupq_n_s8(8)); }
// 8-bit codes less their zero point: 0 … 255 becomes −128 … 127.
NEON neon_int8 neon_less_128(neon_int8 codes) { return (neon_int8)veorq_u8((uint8x16_t)codes, vdupq_n_u8(0x80)); }

// Eight inputs of two rows each, from the first and the last four inputs of four rows: rows 0 and 1, rows 2 and 3.
NEON neon_int8 neon_join_low(neon_int8 first, neon_int8 last) { return (neon_int8)vzip1q_s32((int32x4_t)first, (int32x4_t)last); }
NEON neon_int8 neon_join_high(neon_int8 first, neon_int8 last) { return (neon_int8)vzip2q_s32((int32x4_t)first, (int32x4_t)last); }

// MARK: products of bytes, baseline

// `sums` + products of the lower (upper) eight bytes. The upper ones in assembly: where b is one value many times, the compiler would take
// its lower half, and move a's upper half down for that.
NEON neon_int16 neon_add_products_low(neon_int16 sums, neon_int8 a, neon_int8 b) {
  return (neon_int16)vmlal_s8((int16x8_t)sums, vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
}
NEON neon_int16 neon_add_products_high(neon_int16 sums, neon_int8 a, neon_int8 b) {
  __asm__("smlal2 %0.8h, %1.16b, %2.16b" : "+w"(sums) : "w"(a), "w"(b));
  return sums;
}
NEON neon_int16 neon_products_low(neon_int8 a, neon_int8 b) {
  return (neon_int16)vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b));
}
NEON neon_int16 neon_products_high(neon_int8 a, neon_int8 b) {
  neon_int16 products;
  __asm__("smull2 %0.8h, %1.16b, %2.16b" : "=w"(products) : "w"(a), "w"(b));
  return products;
}
// `sums` + sums of two neighbours.
NEON neon_int32 neon_add_pairs(neon_int32 sums, neon_int16 x) { return (neon_int32)vpadalq_s16((int32x4_t)sums, (int16x8_t)x); }
// Sums of two neighbours: those of `a`, then those of `b`.
NEON neon_int32 neon_join_pairs(neon_int32 a, neon_int32 b) { return (neon_int32)vpaddq_s32((int32x4_t)a, (int32x4_t)b); }
NEON neon_int32 neon_add(neon_int32 a, neon_int32 b) { return (neon_int32)vaddq_s32((int32x4_t)a, (int32x4_t)b); }

// [a0, b0, a1, b1] and [a2, b2, a3, b3].
NEON neon_float neon_zip_low(neon_float a, neon_float b) { return (neon_float)vzip1q_f32((float32x4_t)a, (float32x4_t)b); }
NEON neon_float neon_zip_high(neon_float a, neon_float b) { return (neon_float)vzip2q_f32((float32x4_t)a, (float32x4_t)b); }
// The even and the odd lanes of `a`, then those of `b`.
NEON neon_float neon_even(neon_float a, neon_float b) { return (neon_float)vuzp1q_f32((float32x4_t)a, (float32x4_t)b); }
NEON neon_float neon_odd(neon_float a, neon_float b) { return (neon_float)vuzp2q_f32((float32x4_t)a, (float32x4_t)b); }
// Two floats, twice; one float, four times.
NEON neon_float neon_load_pair_twice(const float *from) {
  double pair;
  __builtin_memcpy(&pair, from, 8);
  return (neon_float)vdupq_n_f64(pair);
}
NEON neon_float neon_fill_float(float x) { return (neon_float)vdupq_n_f32(x); }

// MARK: scaling

// Four float16.
NEON neon_float neon_load_halves(const uint16_t *from) { return (neon_float)vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(from))); }
// A group's minima, plus what taking the zero point off the codes takes away.
NEON neon_float neon_minima(const uint16_t *halves, neon_float scales, float zero) {
  return (neon_float)vfmaq_n_f32((float32x4_t)neon_load_halves(halves), (float32x4_t)scales, zero);
}
// Where integer sums begin whose bits are then read as a float: 1.5 · 2²³, next to which floats are integers. Sums stay below 2²², so that
// taking it away again gives them exactly: an addition, which cores do more of in a cycle than conversions.
NEON neon_int32 neon_start_of_sums(void) { return (neon_int32)vdupq_n_s32(0x4b400000); }
NEON neon_float neon_sums(neon_int32 sums) { return (neon_float)vsubq_f32(vreinterpretq_f32_s32((int32x4_t)sums), vdupq_n_f32(0x1.8p23f)); }
NEON neon_float neon_load_floats(const float *from) { return (neon_float)vld1q_f32(from); }
NEON void neon_store_floats(float *to, neon_float x) { vst1q_f32(to, (float32x4_t)x); }
NEON neon_float neon_multiply(neon_float a, neon_float b) { return (neon_float)vmulq_f32((float32x4_t)a, (float32x4_t)b); }
NEON neon_float neon_multiple(neon_float a, float factor) { return (neon_float)vmulq_n_f32((float32x4_t)a, factor); }
// `sum + a · b`, rounded once.
NEON neon_float neon_add_product(neon_float sum, neon_float a, neon_float b) {
  return (neon_float)vfmaq_f32((float32x4_t)sum, (float32x4_t)a, (float32x4_t)b);
}
NEON neon_float neon_add_multiple(neon_float sum, neon_float a, float factor) {
  return (neon_float)vfmaq_n_f32((float32x4_t)sum, (float32x4_t)a, factor);
}
// `output += scales · factor · sums`: a token's integer sums over a group, scaled, for four rows.
NEON void neon_add_scaled(float *output, neon_int32 sums, neon_float scales, float factor) {
  float32x4_t product = vmulq_n_f32((float32x4_t)scales, factor);
  vst1q_f32(output, vfmaq_f32(vld1q_f32(output), product, vcvtq_f32_s32((int32x4_t)sums)));
}
// `output += minima · factor`, with a token's sum as the factor.
NEON void neon_add_minima(float *output, neon_float minima, float factor) {
  vst1q_f32(output, vfmaq_n_f32(vld1q_f32(output), (float32x4_t)minima, factor));
}

// MARK: quantizing

// The bits of the greatest |x| of four floats and of `greatest`, which as integers are ordered as magnitudes are.
NEON neon_int32 neon_greater_magnitudes(neon_int32 greatest, const float *x) {
  return (neon_int32)vmaxq_s32((int32x4_t)greatest, vandq_s32(vreinterpretq_s32_f32(vld1q_f32(x)), vdupq_n_s32(0x7fffffff)));
}
NEON int32_t neon_greatest(neon_int32 x) { return vmaxvq_s32((int32x4_t)x); }
// Sixteen times x · factor to the nearest integer, ties to even, for magnitudes up to 127.
NEON neon_int8 neon_quantize(const float *x, float factor) {
  int32x4_t a = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), factor)), b = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), factor));
  int32x4_t c = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 8), factor)), d = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 12), factor));
  // The low halves of the words, then those of the halves.
  int16x8_t ab = vuzp1q_s16(vreinterpretq_s16_s32(a), vreinterpretq_s16_s32(b));
  int16x8_t cd = vuzp1q_s16(vreinterpretq_s16_s32(c), vreinterpretq_s16_s32(d));
  return (neon_int8)vuzp1q_s8(vreinterpretq_s8_s16(ab), vreinterpretq_s8_s16(cd));
}
// Four times x · factor to the nearest integer, as int32.
NEON int32x4_t neon_round_multiple(const float *x, float factor) { return vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), factor)); }
// The four inputs at `x` of four tokens, `stride` floats apart.
NEON neon_int8 neon_quantize_fours(const float *x, long stride, neon_float factors) {
  int16x8_t ab = vuzp1q_s16(
      vreinterpretq_s16_s32(neon_round_multiple(x, factors[0])), vreinterpretq_s16_s32(neon_round_multiple(x + stride, factors[1])));
  int16x8_t cd = vuzp1q_s16(
      vreinterpretq_s16_s32(neon_round_multiple(x + 2 * stride, factors[2])),
      vreinterpretq_s16_s32(neon_round_multiple(x + 3 * stride, factors[3])));
  return (neon_int8)vuzp1q_s8(vreinterpretq_s8_s16(ab), vreinterpretq_s8_s16(cd));
}
// The eight inputs at `x` of two tokens, `stride` floats apart.
NEON neon_int8 neon_quantize_eights(const float *x, long stride, float first, float second) {
  int16x8_t a = vuzp1q_s16(vreinterpretq_s16_s32(neon_round_multiple(x, first)), vreinterpretq_s16_s32(neon_round_multiple(x + 4, first)));
  x += stride;
  int16x8_t b = vuzp1q_s16(
      vreinterpretq_s16_s32(neon_round_multiple(x, second)), vreinterpretq_s16_s32(neon_round_multiple(x + 4, second)));
  return (neon_int8)vuzp1q_s8(vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b));
}
// `sums` + sums of four neighbours.
NEON neon_int32 neon_add_fours(neon_int32 sums, neon_int8 x) { return (neon_int32)vpadalq_s16((int32x4_t)sums, vpaddlq_s8((int8x16_t)x)); }
NEON int32_t neon_sum_of_bytes(neon_int8 x) { return vaddlvq_s8((int8x16_t)x); }
// Four bytes of x at `to`, and the others `step` bytes apart from there on.
NEON void neon_store_fours(void *to, neon_int8 x, long step) {
  int32x4_t words = (int32x4_t)x;
  char *place = (char *)to;
  vst1q_lane_s32((int32_t *)place, words, 0);
  vst1q_lane_s32((int32_t *)(place + step), words, 1);
  vst1q_lane_s32((int32_t *)(place + 2 * step), words, 2);
  vst1q_lane_s32((int32_t *)(place + 3 * step), words, 3);
}

// The same with eights.
NEON void neon_store_eights(void *to, neon_int8 x, long step) {
  vst1q_lane_s64((int64_t *)to, (int64x2_t)x, 0);
  vst1q_lane_s64((int64_t *)((char *)to + step), (int64x2_t)x, 1);
}

// Four bytes of `values`, four times; a `lane` that is constant after inlining costs nothing.
NEON neon_int8 neon_lane(neon_int8 values, long lane) {
  int32x4_t words = (int32x4_t)values;
  switch (lane) {
  case 0: return (neon_int8)vdupq_laneq_s32(words, 0);
  case 1: return (neon_int8)vdupq_laneq_s32(words, 1);
  case 2: return (neon_int8)vdupq_laneq_s32(words, 2);
  default: return (neon_int8)vdupq_laneq_s32(words, 3);
  }
}

// The same value, which the compiler cannot see through.
NEON neon_int8 neon_opaque(neon_int8 x) {
  __asm__ volatile("" : "+w"(x));
  return x;
}

// MARK: dot and matrix products, in modules that are compiled for them

#if defined(__ARM_FEATURE_DOTPROD)
// `sums` + the products of four with four bytes, in each of four lanes.
NEON neon_int32 neon_dot(neon_int32 sums, neon_int8 codes, neon_int8 values) {
  return (neon_int32)vdotq_s32((int32x4_t)sums, (int8x16_t)codes, (int8x16_t)values);
}
#endif

#if defined(__ARM_FEATURE_MATMUL_INT8)
// `sums` + the products of two rows of eight bytes with two tokens of eight: [row 0 · token 0, row 0 · token 1, row 1 · token 0, row 1 ·
// token 1].
NEON neon_int32 neon_multiply_matrices(neon_int32 sums, neon_int8 rows, neon_int8 tokens) {
  return (neon_int32)vmmlaq_s32((int32x4_t)sums, (int8x16_t)rows, (int8x16_t)tokens);
}
#endif

#undef NEON
#endif
#endif
