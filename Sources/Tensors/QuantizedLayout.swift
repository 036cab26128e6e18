/// How the weights of a matrix become small integers: bits of a code, inputs that share a scale, and whether 0 is a fixed code.
///
/// A symmetric code stands for `scale · (code − zero)`, or with uneven levels for `scale · unevenLevels[code]`, another for
/// `scale · code + minimum`; scales and minima are float16.
package struct QuantizedScheme: Hashable, Sendable {
  /// Bits of a code, one of `bitChoices`.
  package var bits: Int
  /// Inputs of a row that share a scale: a multiple of `groupUnit` in `groupRange`.
  package var group: Int
  package var isSymmetric: Bool
  /// Codes stand for `unevenLevels`: only of 4 bits, symmetric.
  package var isUneven: Bool

  /// A width that is added here needs its cases in `QuantizedLayout.decode` and `pack` and in `decodeCodes` of `Kernels`, and no kernel of
  /// its own to be right: without one its codes are decoded to bytes and multiplied by the kernels for 8 bits.
  package static let bitChoices = [3, 4, 8]
  /// What matrices are quantized with; files and kernels take others too.
  package static let groupChoices = [32, 64, 128]
  package static let groupUnit = 32
  /// What 4-bit codes stand for beside evenly spaced numbers: closer where weights are, which is about 0. With searched scales the squared
  /// error of groups of 32 normally distributed weights is 0.83 of evenly spaced codes'. Less than 32 in magnitude, so that two sums of two
  /// products of `level + 32` with int8 fit an int16; 0 has the code that it has among even ones.
  package static let unevenLevels: [Int8] = [-31, -25, -19, -15, -11, -8, -5, -2, 0, 3, 6, 9, 12, 16, 20, 26]
  package static let groupRange = 32...65536

  package init(bits: Int, group: Int, isSymmetric: Bool, isUneven: Bool = false) {
    self.bits = bits
    self.group = group
    self.isSymmetric = isSymmetric
    self.isUneven = isUneven
  }

  package var hasValidBits: Bool { Self.bitChoices.contains(bits) && (!isUneven || bits == 4 && isSymmetric) }
  package var hasValidGroup: Bool { Self.groupRange.contains(group) && group % Self.groupUnit == 0 }

  package var greatestCode: Int { 1 << bits - 1 }
  /// The code that stands for 0, and that padding has; 0 where codes are not symmetric.
  package var zero: Int { isSymmetric ? 1 << (bits - 1) : 0 }
}

extension QuantizedScheme: CustomStringConvertible {
  package var description: String { "int\(bits)/\(group)\(isUneven ? " uneven" : isSymmetric ? "" : " asymmetric")" }
}

/// Where the parts of a quantized matrix stand, in files, in memory and for every kernel: in panels of 32 rows, with the rows padded to 32
/// and the columns to the group.
///
/// - codes `[panels][groups][group / block][32 rows][4 bytes]`. Of 4 bits a block is eight inputs, byte j of a row's four holding input j
///   in its low half and input 4 + j in its high half; of 8 bits it is four inputs. Of 3 bits it is 32 inputs, eight fours, in three such
///   parts after each other, `[panels][groups][group / 32][3 parts][32 rows][4 bytes]`: fours 0 to 5 are in bits 0–2 and 3–5 of the parts'
///   bytes, two in each; bits 6–7 of the first part are the low bits of four 6, those of the second part the low bits of four 7, and bits 6
///   and 7 of the third part are the highest bits of fours 6 and 7. So six of eight codes take a mask, or a shift and a mask.
/// - scales, and minima where codes are not symmetric, `[panels][groups][32 rows]` float16 bits.
///
/// Rows beyond the matrix have scale and minimum 0 and the code of padding; columns beyond it have the code of padding.
@usableFromInline package struct QuantizedLayout: Hashable, Sendable {
  package let scheme: QuantizedScheme
  /// Of the matrix, without padding.
  package let rows: Int
  package let columns: Int
  /// Groups along the columns.
  package let groups: Int

  @inlinable package static var panelRows: Int { 32 }
  /// The most codes of a matrix, padding included: what follows from as many is far from the largest integer.
  package static let elementLimit = 1 << 42

  /// nil where the scheme is not valid, there is no row or no column, or there are too many.
  package init?(rows: Int, columns: Int, scheme: QuantizedScheme) {
    guard scheme.hasValidBits, scheme.hasValidGroup else { return nil }
    guard (1...Self.elementLimit).contains(rows), (1...Self.elementLimit).contains(columns) else { return nil }
    groups = (columns + scheme.group - 1) / scheme.group
    let (elements, overflow) = (Self.panels(rows: rows) * Self.panelRows).multipliedReportingOverflow(by: groups * scheme.group)
    guard !overflow, elements <= Self.elementLimit else { return nil }
    self.scheme = scheme
    self.rows = rows
    self.columns = columns
  }

  /// Panels of a matrix of so many rows.
  package static func panels(rows: Int) -> Int { rows / panelRows + (rows % panelRows > 0 ? 1 : 0) }

  package var panels: Int { Self.panels(rows: rows) }
  package var paddedColumns: Int { groups * scheme.group }

  /// Bytes of the codes of one group of a panel, of a panel, and of the matrix.
  package var groupCodeBytes: Int { Self.panelRows * scheme.group * scheme.bits / 8 }
  package var panelCodeBytes: Int { groups * groupCodeBytes }
  package var codeBytes: Int { panels * panelCodeBytes }
  /// Scales of a panel, their bytes, and bytes of the matrix's; the same of minima.
  package var panelScaleCount: Int { groups * Self.panelRows }
  package var panelScaleBytes: Int { 2 * panelScaleCount }
  package var scaleBytes: Int { panels * panelScaleBytes }
  /// Bytes of the planes: codes, scales and, where codes are not symmetric, minima.
  package var planeBytes: [Int] { scheme.isSymmetric ? [codeBytes, scaleBytes] : [codeBytes, scaleBytes, scaleBytes] }
  /// Bytes of all planes of one panel.
  package var panelBytes: Int { panelCodeBytes + (scheme.isSymmetric ? 1 : 2) * panelScaleBytes }
}

/// The planes of a quantized matrix, or of some of its panels, in memory that others keep.
package struct QuantizedPlanes: @unchecked Sendable {
  package let codes: UnsafeRawPointer
  /// float16 bits.
  package let scales: UnsafePointer<UInt16>
  /// float16 bits; nil where codes are symmetric.
  package let minima: UnsafePointer<UInt16>?

  package init(codes: UnsafeRawPointer, scales: UnsafePointer<UInt16>, minima: UnsafePointer<UInt16>?) {
    self.codes = codes
    self.scales = scales
    self.minima = minima
  }
}

extension QuantizedLayout {
  /// The planes from a panel on.
  package func panel(_ panel: Int, of planes: QuantizedPlanes) -> QuantizedPlanes {
    QuantizedPlanes(
      codes: planes.codes + panel * panelCodeBytes, scales: planes.scales + panel * panelScaleCount,
      minima: planes.minima.map { $0 + panel * panelScaleCount })
  }

  /// What the codes of one row stand for, for some of its inputs, the first at `output`.
  package func decode(row: Int, _ range: Range<Int>, of planes: QuantizedPlanes, to output: UnsafeMutablePointer<Float>) {
    let (panel, lane) = row.quotientAndRemainder(dividingBy: Self.panelRows)
    let here = self.panel(panel, of: planes)
    // The row's first byte; its next four are 128 further.
    let codes = here.codes + 4 * lane
    let zero = Float(scheme.zero)
    var first = range.lowerBound
    while first < range.upperBound {
      let group = first / scheme.group
      let end = min(range.upperBound, (group + 1) * scheme.group)
      let place = group * Self.panelRows + lane
      let scale = Float(Float16(bitPattern: here.scales[place]))
      // Adding −0 changes nothing, not even a zero's sign.
      let minimum = here.minima.map { Float(Float16(bitPattern: $0[place])) } ?? -0.0
      let target = output - range.lowerBound
      switch scheme.bits {
      case 3:
        for k in first..<end {
          let place = (k >> 5) &* 384 &+ (k & 3)
          let code = Self.code3(codes + place, four: k >> 2 & 7)
          target[k] = scale * (Float(code) - zero) + minimum
        }
      case 4 where scheme.isUneven:
        QuantizedScheme.unevenLevels.withUnsafeBufferPointer { levels in
          for k in first..<end {
            let byte = codes.load(fromByteOffset: (k >> 3) &* 128 &+ (k & 3), as: UInt8.self)
            target[k] = scale * Float(levels[Int(k & 4 == 0 ? byte & 15 : byte >> 4)])
          }
        }
      case 4:
        for k in first..<end {
          let byte = codes.load(fromByteOffset: (k >> 3) &* 128 &+ (k & 3), as: UInt8.self)
          target[k] = scale * (Float(k & 4 == 0 ? byte & 15 : byte >> 4) - zero) + minimum
        }
      default:
        for k in first..<end {
          target[k] = scale * (Float(codes.load(fromByteOffset: (k >> 2) &* 128 &+ (k & 3), as: UInt8.self)) - zero) + minimum
        }
      }
      first = end
    }
  }

  /// A 3-bit code: the first part's byte is at `first`, the others' are 128 and 256 further.
  @inline(__always)
  private static func code3(_ first: UnsafeRawPointer, four: Int) -> UInt8 {
    func part(_ index: Int) -> UInt8 { first.load(fromByteOffset: 128 &* index, as: UInt8.self) }
    if four < 6 { return (part(four >> 1) >> UInt8(3 &* (four & 1))) & 7 }
    let highest: UInt8 = (part(2) >> UInt8(four)) & 1
    return (part(four &- 6) >> 6) | (highest << 2)
  }

  /// Puts a row's codes of one group, a byte each, to their places. `codes`: where the group's codes begin in the panel.
  package func pack(_ bytes: UnsafePointer<UInt8>, lane: Int, to codes: UnsafeMutableRawPointer) {
    let words = UnsafeRawPointer(bytes)
    let target = codes + 4 * lane
    switch scheme.bits {
    case 3:
      for block in 0..<scheme.group / 32 {
        func four(_ index: Int) -> UInt32 { words.loadUnaligned(fromByteOffset: 32 * block + 4 * index, as: UInt32.self) }
        let ones: UInt32 = 0x0101_0101
        let (last, next) = (four(6), four(7))
        let place = target + 384 * block
        let (low, high) = (3 &* ones, 4 &* ones)
        func store(_ part: Int, _ rest: UInt32) {
          let pair: UInt32 = four(2 &* part) | (four(2 &* part &+ 1) << 3)
          (place + 128 &* part).storeBytes(of: pair | rest, as: UInt32.self)
        }
        store(0, (last & low) << 6)
        store(1, (next & low) << 6)
        store(2, ((last & high) << 4) | ((next & high) << 5))
      }
    case 4:
      for word in 0..<scheme.group / 8 {
        let low = words.loadUnaligned(fromByteOffset: 8 * word, as: UInt32.self)
        let high = words.loadUnaligned(fromByteOffset: 8 * word + 4, as: UInt32.self)
        (target + 128 * word).storeBytes(of: low | high << 4, as: UInt32.self)
      }
    default:
      for word in 0..<scheme.group / 4 {
        (target + 128 * word).storeBytes(of: words.loadUnaligned(fromByteOffset: 4 * word, as: UInt32.self), as: UInt32.self)
      }
    }
  }
}
