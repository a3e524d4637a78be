import Foundation

/// Samples, or the name of a request policy, that cannot be taken.
public struct PolicyError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// The request policy `shift` of a bundle, as `export/format/shift.py` describes it: how far a moving average of what the samples
/// project to is from where it was when the weights were made. Computed in fp64 from fp32, as everywhere.
public struct Shift: Sendable {
    private static let schema = "mnet.policy/1"
    private static let leastWeight = 1e-9
    private static let fields: Set<String> = ["schema", "samples", "half_life", "threshold"]

    /// How many numbers a statistic has.
    public let width: Int

    /// A row for each id, row 0 zero, or for each number of a vector; `width` columns.
    private let projection: [Float]
    private let rows: Int
    private let isOfIds: Bool

    /// In samples.
    private let halfLife: Double

    /// Of the squared distance.
    private let threshold: Double

    /// Read the bytes of `policy.safetensors`. Throws `BundleError` for anything else.
    public init(parsing data: Data) throws {
        do {
            try self.init(Safetensors(data))
        } catch let error as JSONError {
            throw BundleError.unusable("the request policy is damaged: \(error)")
        } catch let refusal as Refused {
            throw BundleError.unusable("the request policy is damaged: \(refusal.detail)")
        }
    }

    private init(_ file: Safetensors) throws {
        let facts = try JSON(parsing: Data(file.metadata.string("mnet").utf8)).object(at: "mnet")
        if Set(facts.keys) != Self.fields { throw JSONError("its entries are \(facts.keys.sorted())") }
        if try facts.string("schema") != Self.schema { throw JSONError("its schema is unknown") }
        let samples = try facts.string("samples")
        if !["ids", "vectors"].contains(samples) { throw JSONError("samples are \(samples)") }
        isOfIds = samples == "ids"
        halfLife = try facts.positive("half_life")
        threshold = try facts.double("threshold")
        if !threshold.isFinite || threshold < 0 { throw JSONError("a threshold of \(threshold)") }
        guard let tensor = try file.tensors()["projection"] else { throw JSONError("no projection") }
        projection = tensor.floats()
        if tensor.dtype != .float32 || tensor.shape.count != 2 || !projection.allSatisfy(\.isFinite) {
            throw JSONError("the projection is no matrix of finite fp32 numbers")
        }
        width = tensor.shape[1]
        rows = width == 0 ? 0 : projection.count / width
    }

    /// Where a user with these samples is. Throws `PolicyError` where the projection has no row for one.
    public func statistic(_ samples: Samples) throws -> [Double] {
        switch samples {
        case .ids(let ids):
            guard isOfIds, ids.allSatisfy((0..<rows).contains) else { throw wanted() }
            return movingAverage(ids.map { id in (0..<width).map { Double(projection[id * width + $0]) } }, width)
        case .vectors(let vectors):
            guard !isOfIds, vectors.allSatisfy({ $0.count == rows }) else { throw wanted() }
            let average = movingAverage(vectors.map { $0.map(Double.init) }, rows)
            return (0..<width).map { column in
                average.indices.reduce(0) { $0 + average[$1] * Double(projection[$1 * width + column]) }
            }
        case .texts, .objects: throw wanted()
        }
    }

    /// Whether a user whose statistic was `then` when the weights were made, and is `now`, has shifted.
    public func asks(then: [Double], now: [Double]) -> Bool {
        zip(now, then).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } > threshold
    }

    private func wanted() -> PolicyError {
        PolicyError(isOfIds ? "a sample is an id from 1 to \(rows - 1)" : "a sample is a vector of \(rows) numbers")
    }

    /// Of samples, newest last; a zero vector stands for none.
    private func movingAverage(_ samples: [[Double]], _ length: Int) -> [Double] {
        var sum = [Double](repeating: 0, count: length)
        var total = 0.0
        for (index, sample) in samples.enumerated() where sample.contains(where: { $0 != 0 }) {
            let weight = pow(2, -Double(samples.count - 1 - index) / halfLife)
            total += weight
            for k in sum.indices { sum[k] += weight * sample[k] }
        }
        return sum.map { $0 / max(total, Self.leastWeight) }
    }
}
