#pragma once

#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// The two inner loops of resizing bytes. What Swift cannot say is "multiply pairs of 16-bit numbers and add them", the one
// instruction of every x86-64 that makes exact 32-bit sums fast: four times the speed of the compiler's own 32-bit products.

enum { pixels_lanes = 16 };

/// target[i] = (2²¹ + Σ source[t · stride + i] · w[t]) >> 22, limited to 0 … 255, for 16 neighbouring bytes i.
///
/// `weights` holds four numbers for each pair of taps t, t + 1: high and high, low and low, where w = high · 2¹¹ + low with 0 ≤ low < 2¹¹.
/// With an odd number of taps the last pair's second weight is zero and its source is not read.
static inline void pixels_filter(
    const uint8_t *source, ptrdiff_t stride, const int16_t *weights, ptrdiff_t taps, uint8_t *target) {
#if defined(__SSE2__)
  const __m128i zero = _mm_setzero_si128();
  __m128i high0 = zero, high1 = zero, high2 = zero, high3 = zero, low0 = zero, low1 = zero, low2 = zero, low3 = zero;
  for (ptrdiff_t tap = 0; tap < taps; tap += 2) {
    const __m128i first = _mm_loadu_si128((const __m128i *)source);
    const __m128i second = tap + 1 < taps ? _mm_loadu_si128((const __m128i *)(source + stride)) : zero;
    const __m128i pair = _mm_loadl_epi64((const __m128i *)weights);
    const __m128i high = _mm_shuffle_epi32(pair, 0x00), low = _mm_shuffle_epi32(pair, 0x55);
    const __m128i left = _mm_unpacklo_epi8(first, second), right = _mm_unpackhi_epi8(first, second);
    const __m128i part0 = _mm_unpacklo_epi8(left, zero), part1 = _mm_unpackhi_epi8(left, zero);
    const __m128i part2 = _mm_unpacklo_epi8(right, zero), part3 = _mm_unpackhi_epi8(right, zero);
    high0 = _mm_add_epi32(high0, _mm_madd_epi16(part0, high));
    high1 = _mm_add_epi32(high1, _mm_madd_epi16(part1, high));
    high2 = _mm_add_epi32(high2, _mm_madd_epi16(part2, high));
    high3 = _mm_add_epi32(high3, _mm_madd_epi16(part3, high));
    low0 = _mm_add_epi32(low0, _mm_madd_epi16(part0, low));
    low1 = _mm_add_epi32(low1, _mm_madd_epi16(part1, low));
    low2 = _mm_add_epi32(low2, _mm_madd_epi16(part2, low));
    low3 = _mm_add_epi32(low3, _mm_madd_epi16(part3, low));
    source += 2 * stride;
    weights += 4;
  }
  const __m128i half = _mm_set1_epi32(1 << 21);
  high0 = _mm_srai_epi32(_mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(high0, 11), low0), half), 22);
  high1 = _mm_srai_epi32(_mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(high1, 11), low1), half), 22);
  high2 = _mm_srai_epi32(_mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(high2, 11), low2), half), 22);
  high3 = _mm_srai_epi32(_mm_add_epi32(_mm_add_epi32(_mm_slli_epi32(high3, 11), low3), half), 22);
  _mm_storeu_si128(
      (__m128i *)target, _mm_packus_epi16(_mm_packs_epi32(high0, high1), _mm_packs_epi32(high2, high3)));
#else
  int32_t sums[pixels_lanes];
  for (int lane = 0; lane < pixels_lanes; lane++) sums[lane] = 1 << 21;
  for (ptrdiff_t tap = 0; tap < taps; tap++) {
    const int16_t *pair = weights + tap / 2 * 4 + tap % 2;
    const int32_t weight = pair[0] * (1 << 11) + pair[2];
    for (int lane = 0; lane < pixels_lanes; lane++) sums[lane] += source[tap * stride + lane] * weight;
  }
  for (int lane = 0; lane < pixels_lanes; lane++) {
    const int32_t value = sums[lane] >> 22;
    target[lane] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
  }
#endif
}

/// Exchanges rows and columns of 16 × 16 bytes.
static inline void pixels_transpose(
    const uint8_t *source, ptrdiff_t source_stride, uint8_t *target, ptrdiff_t target_stride) {
#if defined(__SSE2__)
  __m128i a[16], b[16];
  for (int row = 0; row < 16; row++) a[row] = _mm_loadu_si128((const __m128i *)(source + row * source_stride));
  // Four times: the first half's rows interleaved with the second half's, which turns the square by one of its four index bits.
  for (int step = 0; step < 4; step++) {
    for (int row = 0; row < 8; row++) {
      b[2 * row] = _mm_unpacklo_epi8(a[row], a[row + 8]);
      b[2 * row + 1] = _mm_unpackhi_epi8(a[row], a[row + 8]);
    }
    for (int row = 0; row < 16; row++) a[row] = b[row];
  }
  for (int row = 0; row < 16; row++) _mm_storeu_si128((__m128i *)(target + row * target_stride), a[row]);
#else
  for (int row = 0; row < 16; row++)
    for (int column = 0; column < 16; column++) target[column * target_stride + row] = source[row * source_stride + column];
#endif
}
