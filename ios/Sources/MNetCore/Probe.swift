/// How many numbers a probe has.
let probeSums = 16

/// Seeded, signed sums over all outputs of one inference, each in units of its scale: small enough to travel in a pack, and moved
/// by every weight that moves an output. As `export/format/probe.py`.
public func probe(_ outputs: [Tensor], scales: [Double]) -> [Double] {
    var sums = [Double](repeating: 0, count: probeSums)
    var count = 0
    for (output, scale) in zip(outputs, scales) {
        for number in output.numbers() {
            let value = number / scale
            let bits = signs(count)
            for k in sums.indices { sums[k] += bits >> UInt32(k) & 1 == 1 ? value : -value }
            count += 1
        }
    }
    return sums.map { $0 / Double(count).squareRoot() }
}

/// The bits that say which sums take value number `index` with which sign: murmur3's finalizer of a Weyl sequence.
private func signs(_ index: Int) -> UInt32 {
    var hash = (UInt32(truncatingIfNeeded: index) &+ 1) &* 0x9E37_79B1
    hash = (hash ^ hash >> 16) &* 0x85EB_CA6B
    hash = (hash ^ hash >> 13) &* 0xC2B2_AE35
    return hash ^ hash >> 16
}

/// The largest difference, relative to the largest magnitude of `expected` where that is over 1; NaN where there is one.
public func distance(_ actual: [Double], _ expected: [Double]) -> Double {
    guard actual.count == expected.count else { return .nan }
    let apart = largestMagnitude(zip(actual, expected).map { $0 - $1 })
    return apart / max(1, largestMagnitude(expected))
}

/// NaN where there is one; `max` would lose it.
func largestMagnitude(_ values: [Double]) -> Double {
    values.reduce(0) { largest, value in value.isNaN || value.magnitude > largest ? value.magnitude : largest }
}
