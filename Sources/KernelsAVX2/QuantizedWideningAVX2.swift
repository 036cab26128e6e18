import CIntrinsics

/// The sums of neighbours, and for codes of two digits those of the high digit 16 times.
@inline(__always)
func widen(_ low: __m256i) -> __m256i { avx2_multiply_pairs16(low, avx2_fill16(1)) }
@inline(__always)
func widen(high: __m256i, low: __m256i) -> __m256i { avx2_add32(avx2_multiply_pairs16(high, avx2_fill16(16)), widen(low)) }
