// What the quantized kernels for x86 need of AVX2 and AVX-512, one instruction (or one obvious pair) a function.
// No pointer needs alignment.
#ifndef SLOWFAST_QUANTIZED_X86_H
#define SLOWFAST_QUANTIZED_X86_H
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define AVX2 static inline __attribute__((always_inline, target("avx2,fma,f16c")))
#define AVX512 static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")))

typedef int32_t x86_int32x4 __attribute__((ext_vector_type(4)));

// MARK: AVX2

AVX2 __m256i avx2_load(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
AVX2 void avx2_store(void *to, __m256i x) { _mm256_storeu_si256((__m256i *)to, x); }
AVX2 __m256 avx2_load_floats(const float *from) { return _mm256_loadu_ps(from); }
AVX2 void avx2_store_floats(float *to, __m256 x) { _mm256_storeu_ps(to, x); }
// The 32 bits at `from`, in every lane.
AVX2 __m256i avx2_broadcast(const void *from) {
  int32_t bits;
  __builtin_memcpy(&bits, from, 4);
  return _mm256_set1_epi32(bits);
}
AVX2 __m256 avx2_broadcast_float(const float *from) { return _mm256_broadcast_ss(from); }
AVX2 __m256i avx2_fill8(int8_t x) { return _mm256_set1_epi8(x); }
AVX2 __m256i avx2_fill16(int16_t x) { return _mm256_set1_epi16(x); }
AVX2 __m256i avx2_fill32(int32_t x) { return _mm256_set1_epi32(x); }
AVX2 __m256 avx2_fill_float(float x) { return _mm256_set1_ps(x); }

// Sums of two neighbouring products of unsigned with signed bytes, as int16.
AVX2 __m256i avx2_multiply_pairs8(__m256i unsigned_bytes, __m256i bytes) { return _mm256_maddubs_epi16(unsigned_bytes, bytes); }
// Sums of two neighbouring products of int16, as int32.
AVX2 __m256i avx2_multiply_pairs16(__m256i a, __m256i b) { return _mm256_madd_epi16(a, b); }
AVX2 __m256i avx2_add8(__m256i a, __m256i b) { return _mm256_add_epi8(a, b); }
AVX2 __m256i avx2_add16(__m256i a, __m256i b) { return _mm256_add_epi16(a, b); }
AVX2 __m256i avx2_add32(__m256i a, __m256i b) { return _mm256_add_epi32(a, b); }
AVX2 __m256i avx2_average8(__m256i a, __m256i b) { return _mm256_avg_epu8(a, b); }
AVX2 __m256i avx2_max32(__m256i a, __m256i b) { return _mm256_max_epi32(a, b); }
AVX2 __m256i avx2_and(__m256i a, __m256i b) { return _mm256_and_si256(a, b); }
AVX2 __m256i avx2_shift3(__m256i a) { return _mm256_srli_epi16(a, 3); }
AVX2 __m256i avx2_halve16(__m256i a) { return _mm256_srai_epi16(a, 1); }
AVX2 __m256i avx2_shift4(__m256i a) { return _mm256_srli_epi16(a, 4); }

AVX2 __m256 avx2_to_float(__m256i a) { return _mm256_cvtepi32_ps(a); }
AVX2 __m256i avx2_round(__m256 a) { return _mm256_cvtps_epi32(a); }
AVX2 __m256i avx2_bits(__m256 a) { return _mm256_castps_si256(a); }
AVX2 __m256 avx2_multiply(__m256 a, __m256 b) { return _mm256_mul_ps(a, b); }
AVX2 __m256 avx2_multiply_add(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
// Eight float16.
AVX2 __m256 avx2_load_halves(const uint16_t *from) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)from)); }

AVX2 int32_t avx2_greatest32(__m256i x) {
  __m128i y = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_max_epi32(y, _mm_shuffle_epi32(y, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
// The greatest lane of each of four vectors.
AVX2 x86_int32x4 avx2_greatest_of_four(__m256i a, __m256i b, __m256i c, __m256i d) {
  __m256i ab = _mm256_max_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  __m256i cd = _mm256_max_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
  __m256i all = _mm256_max_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  return (x86_int32x4)_mm_max_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}
// Four times eight int32 in −128 … 127 as bytes: fours of a, b, c and d, then the next ones.
AVX2 __m256i avx2_interleave_bytes(__m256i a, __m256i b, __m256i c, __m256i d) {
  return _mm256_packs_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
}
// Sixteen bytes at `to`, and the others `step` bytes on.
AVX2 void avx2_store_sixteens(void *to, __m256i x, long step) {
  _mm_storeu_si128((__m128i *)to, _mm256_castsi256_si128(x));
  _mm_storeu_si128((__m128i *)((char *)to + step), _mm256_extracti128_si256(x, 1));
}
// The sum of each four lanes' first, second, third and last.
AVX2 x86_int32x4 avx2_sums_of_fours(__m256i x) {
  return (x86_int32x4)_mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
}
// Four times eight int32 in −128 … 127 as 32 bytes, in order.
AVX2 __m256i avx2_narrow(__m256i a, __m256i b, __m256i c, __m256i d) {
  return _mm256_permutevar8x32_epi32(avx2_interleave_bytes(a, b, c, d), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
AVX2 int32_t avx2_sum32(__m256i x) {
  __m128i y = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_add_epi32(y, _mm_shuffle_epi32(y, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(y, _mm_shuffle_epi32(y, 0xb1)));
}
AVX2 __m256i avx2_divide16(__m256i a) { return _mm256_srai_epi32(a, 4); }
AVX2 __m256i avx2_times4(__m256i a) { return _mm256_slli_epi32(a, 2); }
AVX2 __m256i avx2_times16(__m256i a) { return _mm256_slli_epi32(a, 4); }
// −8 times the sum of the even int16 in the low half, of the odd ones in the high half.
AVX2 int32_t avx2_offset_word(__m256i x) {
  __m128i y = _mm_add_epi16(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
  y = _mm_add_epi16(y, _mm_shuffle_epi32(y, 0x4e));
  y = _mm_add_epi16(y, _mm_shuffle_epi32(y, 0xb1));
  return _mm_cvtsi128_si32(_mm_sub_epi16(_mm_setzero_si128(), _mm_slli_epi16(y, 3)));
}

AVX2 __m256i avx2_divide8(__m256i a) { return _mm256_srai_epi32(a, 3); }
AVX2 __m256i avx2_halve(__m256i a) { return _mm256_srai_epi32(a, 1); }
// Uneven levels plus `zero`, by code, and what such a table has for codes 0 … 15.
AVX2 __m256i avx2_levels(int8_t zero) {
  return _mm256_add_epi8(_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)uneven_levels)), _mm256_set1_epi8(zero));
}
AVX2 __m256i avx2_look_up(__m256i table, __m256i codes) { return _mm256_shuffle_epi8(table, codes); }

// The seventh and the eighth four of 3-bit codes: two bits of the first or second part, and one of the third.
AVX2 __m256i avx2_seventh_codes(__m256i first, __m256i third) {
  __m256i low = _mm256_and_si256(_mm256_srli_epi16(first, 6), _mm256_set1_epi8(3));
  return _mm256_or_si256(low, _mm256_and_si256(_mm256_srli_epi16(third, 4), _mm256_set1_epi8(4)));
}
AVX2 __m256i avx2_eighth_codes(__m256i second, __m256i third) {
  __m256i low = _mm256_and_si256(_mm256_srli_epi16(second, 6), _mm256_set1_epi8(3));
  return _mm256_or_si256(low, _mm256_and_si256(_mm256_srli_epi16(third, 5), _mm256_set1_epi8(4)));
}

// The same value, which the compiler cannot see through: what is computed from it is computed each time.
AVX2 __m256i avx2_opaque(__m256i x) {
  __asm__ volatile("" : "+x"(x));
  return x;
}

// Both vectors are computed here, before anything that uses them, and what is loaded later is loaded after this.
AVX2 void avx2_both(void *a, void *b) { __asm__ volatile("" : "+x"(*(__m256i *)a), "+x"(*(__m256i *)b) : : "memory"); }

// MARK: VNNI on 256 bits

// `sums` + the products of four unsigned with four signed bytes, in each of 8 lanes. The same instruction has two encodings: that of
// AVX-VNNI (processors without AVX-512) and that of AVX-512 VL; the module that is compiled says which.
#if defined(__AVXVNNI__)
static inline __attribute__((always_inline, target("avx2,avxvnni"))) __m256i vnni256_dot(
    __m256i sums, __m256i unsigned_bytes, __m256i bytes) {
  return _mm256_dpbusd_avx_epi32(sums, unsigned_bytes, bytes);
}
#elif defined(__AVX512VNNI__)
AVX512 __m256i vnni256_dot(__m256i sums, __m256i unsigned_bytes, __m256i bytes) {
  return _mm256_dpbusd_epi32(sums, unsigned_bytes, bytes);
}
#endif

// MARK: AVX-512 with VNNI

AVX512 __m512i avx512_load(const void *from) { return _mm512_loadu_si512(from); }
AVX512 void avx512_store(void *to, __m512i x) { _mm512_storeu_si512(to, x); }
AVX512 __m512 avx512_load_floats(const float *from) { return _mm512_loadu_ps(from); }
// `count` ≥ 1 floats, at most 16; the other lanes zero.
AVX512 __m512 avx512_load_some(const float *from, long count) {
  return _mm512_maskz_loadu_ps(count >= 16 ? 0xffff : (1u << count) - 1, from);
}
AVX512 void avx512_store_floats(float *to, __m512 x) { _mm512_storeu_ps(to, x); }
AVX512 __m512i avx512_broadcast(const void *from) {
  int32_t bits;
  __builtin_memcpy(&bits, from, 4);
  return _mm512_set1_epi32(bits);
}
AVX512 __m512 avx512_fill_float(float x) { return _mm512_set1_ps(x); }
AVX512 __m512i avx512_fill8(int8_t x) { return _mm512_set1_epi8(x); }
AVX512 __m512i avx512_fill32(int32_t x) { return _mm512_set1_epi32(x); }

// `sums` + the products of four unsigned with four signed bytes, in each of 16 lanes.
AVX512 __m512i avx512_dot(__m512i sums, __m512i unsigned_bytes, __m512i bytes) {
  return _mm512_dpbusd_epi32(sums, unsigned_bytes, bytes);
}
AVX512 __m512i avx512_add32(__m512i a, __m512i b) { return _mm512_add_epi32(a, b); }
AVX512 __m512i avx512_subtract8(__m512i a, __m512i b) { return _mm512_sub_epi8(a, b); }
AVX512 __m512i avx512_max32(__m512i a, __m512i b) { return _mm512_max_epi32(a, b); }
AVX512 __m512i avx512_and(__m512i a, __m512i b) { return _mm512_and_si512(a, b); }
AVX512 __m512i avx512_shift4(__m512i a) { return _mm512_srli_epi16(a, 4); }
AVX512 __m512i avx512_shift3(__m512i a) { return _mm512_srli_epi16(a, 3); }
AVX512 __m512i avx512_divide8(__m512i a) { return _mm512_srai_epi32(a, 3); }
AVX512 __m512i avx512_halve(__m512i a) { return _mm512_srai_epi32(a, 1); }
// Uneven levels plus `zero`, by code, and what such a table has for the lower halves of bytes; a processor with VBMI looks no further than
// the table's length, four times the same, and needs no mask.
AVX512 __m512i avx512_levels(int8_t zero) {
  return _mm512_add_epi8(_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)uneven_levels)), _mm512_set1_epi8(zero));
}
#if defined(__AVX512VBMI__)
static inline __attribute__((always_inline, target("avx512f,avx512bw,avx512vbmi"))) __m512i avx512_look_up(__m512i table, __m512i bytes) {
  return _mm512_permutexvar_epi8(bytes, table);
}
#else
AVX512 __m512i avx512_look_up(__m512i table, __m512i bytes) {
  return _mm512_shuffle_epi8(table, _mm512_and_si512(bytes, _mm512_set1_epi8(15)));
}
#endif

// The seventh and the eighth four of 3-bit codes: two bits of the first or second part, and one of the third.
AVX512 __m512i avx512_seventh_codes(__m512i first, __m512i third) {
  __m512i low = _mm512_and_si512(_mm512_srli_epi16(first, 6), _mm512_set1_epi8(3));
  return _mm512_or_si512(low, _mm512_and_si512(_mm512_srli_epi16(third, 4), _mm512_set1_epi8(4)));
}
AVX512 __m512i avx512_eighth_codes(__m512i second, __m512i third) {
  __m512i low = _mm512_and_si512(_mm512_srli_epi16(second, 6), _mm512_set1_epi8(3));
  return _mm512_or_si512(low, _mm512_and_si512(_mm512_srli_epi16(third, 5), _mm512_set1_epi8(4)));
}
AVX512 __m512i avx512_divide16(__m512i a) { return _mm512_srai_epi32(a, 4); }
AVX512 __m512i avx512_times4(__m512i a) { return _mm512_slli_epi32(a, 2); }
AVX512 __m512i avx512_times16(__m512i a) { return _mm512_slli_epi32(a, 4); }

AVX512 __m512 avx512_to_float(__m512i a) { return _mm512_cvtepi32_ps(a); }
AVX512 __m512i avx512_round(__m512 a) { return _mm512_cvtps_epi32(a); }
AVX512 __m512i avx512_bits(__m512 a) { return _mm512_castps_si512(a); }
AVX512 __m512 avx512_multiply(__m512 a, __m512 b) { return _mm512_mul_ps(a, b); }
AVX512 __m512 avx512_multiply_add(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
// Sixteen float16.
AVX512 __m512 avx512_load_halves(const uint16_t *from) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)from)); }
AVX512 int32_t avx512_greatest32(__m512i x) { return _mm512_reduce_max_epi32(x); }
AVX512 int32_t avx512_sum32(__m512i x) { return _mm512_reduce_add_epi32(x); }
// The greatest lane of each of four vectors.
AVX512 x86_int32x4 avx512_greatest_of_four(__m512i a, __m512i b, __m512i c, __m512i d) {
  __m512i ab = _mm512_max_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  __m512i cd = _mm512_max_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  __m512i all = _mm512_max_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  __m256i half = _mm256_max_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
  return (x86_int32x4)_mm_max_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
// Four times sixteen int32 in −128 … 127 as bytes: fours of a, b, c and d, then the next ones.
AVX512 __m512i avx512_interleave_bytes(__m512i a, __m512i b, __m512i c, __m512i d) {
  return _mm512_packs_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
}
// Sixteen bytes at `to`, and the others `step` bytes apart from there on.
AVX512 void avx512_store_sixteens(void *to, __m512i x, long step) {
  char *place = (char *)to;
  _mm_storeu_si128((__m128i *)place, _mm512_castsi512_si128(x));
  _mm_storeu_si128((__m128i *)(place + step), _mm512_extracti32x4_epi32(x, 1));
  _mm_storeu_si128((__m128i *)(place + 2 * step), _mm512_extracti32x4_epi32(x, 2));
  _mm_storeu_si128((__m128i *)(place + 3 * step), _mm512_extracti32x4_epi32(x, 3));
}
// The sum of each four lanes' first, second, third and last.
AVX512 x86_int32x4 avx512_sums_of_fours(__m512i x) {
  __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(x), _mm512_extracti64x4_epi64(x, 1));
  return (x86_int32x4)_mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
// Sixteen int32 in −128 … 127 as bytes.
AVX512 void avx512_store_bytes(void *to, __m512i x) { _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8(x)); }
// The same value, which the compiler cannot see through.
AVX512 __m512i avx512_opaque(__m512i x) {
  __asm__ volatile("" : "+v"(x));
  return x;
}

#undef AVX2
#undef AVX512
#endif
#endif
