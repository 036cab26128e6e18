// What the quantized kernels for AMX need: eight tile registers, whose numbers are part of the instructions. Two pairs of accumulators, of
// 16 rows of weights each, take turns; a pair has one tile of values.
#ifndef SLOWFAST_QUANTIZED_AMX_H
#define SLOWFAST_QUANTIZED_AMX_H
#if defined(__x86_64__)
#include <immintrin.h>
#include <stdint.h>

#define AMX static inline __attribute__((always_inline, target("amx-tile,amx-int8")))

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
} amx_configuration;

#define AMX_OF_TOKENS(n) \
  { .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {n, n, n, n, n, n, 16, 16} }
// By the number of tokens: accumulators 0 to 3 and values 4 and 5 have that many rows, weights 6 and 7 sixteen, of four inputs each.
static const amx_configuration amx_configurations[13] __attribute__((aligned(64))) = {
  AMX_OF_TOKENS(1), AMX_OF_TOKENS(1), AMX_OF_TOKENS(2), AMX_OF_TOKENS(3), AMX_OF_TOKENS(4), AMX_OF_TOKENS(5), AMX_OF_TOKENS(6),
  AMX_OF_TOKENS(7), AMX_OF_TOKENS(8), AMX_OF_TOKENS(9), AMX_OF_TOKENS(10), AMX_OF_TOKENS(11), AMX_OF_TOKENS(12)};
#undef AMX_OF_TOKENS

// Tiles for 1 to 12 tokens; needed before anything else, and `amx_release` after it.
AMX void amx_configure(long tokens) { _tile_loadconfig(&amx_configurations[tokens]); }
AMX void amx_release(void) { _tile_release(); }

// Zeros in the first or the second pair of accumulators.
AMX void amx_clear_first(void) {
  _tile_zero(0);
  _tile_zero(1);
}
AMX void amx_clear_second(void) {
  _tile_zero(2);
  _tile_zero(3);
}
// Adds 64 inputs' products of 32 rows of `weights`, `[2][16 fours][16 rows][4]`, with the tokens' values, which are `step` bytes apart.
AMX void amx_multiply_first(const void *weights, const void *values, long step) {
  _tile_loadd(4, values, step);
  _tile_loadd(6, weights, 64);
  _tile_loadd(7, (const char *)weights + 1024, 64);
  _tile_dpbssd(0, 4, 6);
  _tile_dpbssd(1, 4, 7);
}
AMX void amx_multiply_second(const void *weights, const void *values, long step) {
  _tile_loadd(5, values, step);
  _tile_loadd(6, weights, 64);
  _tile_loadd(7, (const char *)weights + 1024, 64);
  _tile_dpbssd(2, 5, 6);
  _tile_dpbssd(3, 5, 7);
}
// A pair of accumulators as `[2][12 tokens][16 rows]` int32, the second half at 1024 bytes.
AMX void amx_store_first(void *to) {
  _tile_stored(0, to, 64);
  _tile_stored(1, (char *)to + 1024, 64);
}
AMX void amx_store_second(void *to) {
  _tile_stored(2, to, 64);
  _tile_stored(3, (char *)to + 1024, 64);
}
// Products of 16 tokens alone, from register to register: four pairs of tiles.
AMX void amx_configure_whole(void) {
  static const amx_configuration whole __attribute__((aligned(64))) = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  _tile_loadconfig(&whole);
}
AMX void amx_multiply_whole(void) {
  _tile_dpbssd(0, 4, 6);
  _tile_dpbssd(1, 4, 7);
  _tile_dpbssd(2, 5, 6);
  _tile_dpbssd(3, 5, 7);
}

#undef AMX
#endif
#endif
