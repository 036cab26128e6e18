// What the processor, and the system that saves its registers, offer.
#ifndef SLOWFAST_CPU_FEATURES_H
#define SLOWFAST_CPU_FEATURES_H
#include <stdint.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline uint64_t cpu_enabled_state(void) {
  uint32_t low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return ((uint64_t)high << 32) | low;
}

// x86-64-v3: AVX2, FMA, F16C, BMI1, BMI2, LZCNT, MOVBE, with the wide registers saved by the system.
static inline int cpu_has_x86_64_v3(void) {
  uint32_t a, b, c, d;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
  // FMA, CX16, SSE4.1, SSE4.2, MOVBE, POPCNT, XSAVE by the system, AVX, F16C, SSSE3.
  const uint32_t first = 1u << 12 | 1u << 13 | 1u << 19 | 1u << 20 | 1u << 22 | 1u << 23 | 1u << 27 | 1u << 28 | 1u << 29 | 1u << 9;
  if ((c & first) != first || (cpu_enabled_state() & 0x6) != 0x6) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const uint32_t second = 1u << 3 | 1u << 5 | 1u << 8;  // BMI1, AVX2, BMI2
  if ((b & second) != second) return 0;
  if (!__get_cpuid(0x80000001, &a, &b, &c, &d)) return 0;
  return (c & 1u << 5) != 0;  // LZCNT
}

// x86-64-v4 with VNNI: AVX-512 F, DQ, CD, BW, VL and VNNI, with mask and 512-bit registers saved by the system.
static inline int cpu_has_x86_64_v4_vnni(void) {
  uint32_t a, b, c, d;
  if (!cpu_has_x86_64_v3() || (cpu_enabled_state() & 0xe6) != 0xe6) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
  return (b & wanted) == wanted && (c & 1u << 11) != 0;
}

// x86-64-v4 with VNNI, VBMI and AMX for int8, of which the system saves the tiles once a process has asked for them: this asks.
static inline int cpu_has_amx_int8(void) {
  uint32_t a, b, c, d;
  if (!cpu_has_x86_64_v4_vnni() || (cpu_enabled_state() & 0x60000) != 0x60000) return 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
  const uint32_t wanted = 1u << 24 | 1u << 25;
  const long request_permission = 0x1023, tile_data = 18;
  return (c & 1u << 1) != 0 && (d & wanted) == wanted && syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

// x86-64-v3 with AVX-VNNI.
static inline int cpu_has_x86_64_v3_vnni(void) {
  uint32_t a, b, c, d;
  return cpu_has_x86_64_v3() && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4) != 0;
}

// Tells the processor that this is a waiting loop.
static inline void cpu_pause(void) { __builtin_ia32_pause(); }

#elif defined(__aarch64__)
#include <sys/auxv.h>

// What the system says of the processor; the bits are those of the kernel's interface.
static inline int cpu_has_dotprod(void) { return (getauxval(AT_HWCAP) & 1ul << 20) != 0; }
static inline int cpu_has_i8mm(void) { return cpu_has_dotprod() && (getauxval(AT_HWCAP2) & 1ul << 13) != 0; }

static inline void cpu_pause(void) { __asm__ volatile("yield"); }
#else
static inline void cpu_pause(void) {}
#endif
#endif
