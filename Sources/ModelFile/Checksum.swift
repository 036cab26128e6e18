import CXXHash

/// XXH3-64, without seed.
package func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
  guard let base = bytes.baseAddress else { return sfq_xxh3_64([0], 0) }
  return sfq_xxh3_64(base, bytes.count)
}

package func checksum(_ bytes: [UInt8]) -> UInt64 { bytes.withUnsafeBytes { checksum($0) } }
package func checksum(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.withUnsafeBytes { checksum($0) } }
