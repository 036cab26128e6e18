#include <xxhash.h>

/* XXH3-64 with the default secret and no seed. On x86 the library picks its AVX2 or AVX-512 form at run time where it was built
   with the choice (twice as fast as the SSE2 form); the result is the same. */
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
static inline unsigned long long sfq_xxh3_64(const void *bytes, size_t count) { return XXH3_64bits_dispatch(bytes, count); }
#else
static inline unsigned long long sfq_xxh3_64(const void *bytes, size_t count) { return XXH3_64bits(bytes, count); }
#endif
