import Foundation

/// What is no metric, or no value of one.
public struct InvalidMeasurement: Error, CustomStringConvertible {
    public let description: String
}

/// All values of a metric under one release so far: how many, their sum, and the sum of their squares.
struct Totals: Equatable, Sendable {
    private static let rounding = 1e-9

    var count = 0
    var sum = 0.0
    var squares = 0.0

    func adding(_ value: Double) -> Totals {
        Totals(count: count + 1, sum: sum + value, squares: squares + value * value)
    }

    /// Whether there are `count` values, none beyond `Measurements.largest`, that have these totals.
    var arePossible: Bool {
        guard (1...Measurements.most).contains(count), sum.isFinite, squares.isFinite else { return false }
        let (values, largest) = (Double(count), Measurements.largest)
        let room = 1 + Self.rounding * values
        let isWithin = abs(sum) <= values * largest * room && squares <= values * largest * largest * room
        return isWithin && sum * sum <= values * squares * room
    }
}

/// What is measured: a metric under a version.
struct Measured: Hashable, Comparable, Sendable {
    let version: Int
    let metric: String

    static func < (one: Measured, other: Measured) -> Bool {
        (one.version, one.metric) < (other.version, other.metric)
    }
}

/// What an app measured of the weights that it runs, kept in a file until the server has it, and as totals so that it stays small.
/// The server is sent totals, never single values: it keeps the largest count, so that a repeated call changes nothing.
///
/// The file is replaced at each value, and not synced: a killed app loses nothing, a power loss the last seconds. A damaged one is as
/// good as none. The same rules as `toolchain/phone/measurements.py`.
final class Measurements: Sendable {
    /// Magnitude of one value.
    static let largest = 1e6

    /// Values of a metric under one release.
    static let most = 1_000_000_000

    /// Names of metrics under one release.
    static let metrics = 16

    /// The newest of which totals are kept.
    static let releases = 4

    private struct State {
        var totals: [Measured: Totals]
        var sent: [Measured: Totals] = [:]
    }

    private let file: URL
    private let state: Locked<State>

    init(_ file: URL) {
        self.file = file
        state = Locked(State(totals: (try? Self.read(file)) ?? [:]))
    }

    /// Count a value; one of the default weights, version 0, is of no release and not kept.
    ///
    /// Throws `InvalidMeasurement` for what no server would take, and for one metric more than a release may have; `StorageError`
    /// where the file cannot be written.
    func add(_ version: Int, _ metric: String, _ value: Double) throws {
        guard Self.isMetric(metric) else { throw InvalidMeasurement(description: "\(metric) is no name of a metric") }
        guard abs(value) <= Self.largest else {
            throw InvalidMeasurement(description: "a value is finite and within \(Self.largest) of zero, not \(value)")
        }
        if version == 0 { return }
        let key = Measured(version: version, metric: metric)
        try state.withLock { state in
            let known = state.totals.keys.filter { $0.version == version }.count
            if state.totals[key] == nil && known >= Self.metrics {
                throw InvalidMeasurement(description: "\(metric) is one metric too many: a release has at most \(Self.metrics)")
            }
            state.totals[key] = state.totals[key, default: Totals()].adding(value)
            let newest = Set(state.totals.keys.map(\.version)).sorted().suffix(Self.releases)
            state.totals = state.totals.filter { newest.contains($0.key.version) }
            try write(state.totals)
        }
    }

    /// Send what has changed since it was last sent; without a network it stays for the next time.
    func send(_ client: CloudClient, _ phone: Identity) async {
        let unsent = state.withLock { state in state.totals.filter { state.sent[$0.key] != $0.value } }
        if unsent.isEmpty { return }
        do {
            try await client.send(phone, unsent)
        } catch CloudError.denied {
            // What the server will not have is not sent again until it has changed.
        } catch {
            return
        }
        state.withLock { $0.sent.merge(unsent) { $1 } }
    }

    /// Forget all, where versions count from the start.
    func clear() {
        state.withLock { $0 = State(totals: [:]) }
        unlink(file.path)
    }

    private func write(_ totals: [Measured: Totals]) throws {
        let rows = totals.sorted { $0.key < $1.key }.map { key, each in
            JSON.list([
                .integer(key.version), .text(key.metric), .integer(each.count), .number(each.sum), .number(each.squares),
            ])
        }
        guard let text = try? JSON.list(rows).written() else { return }
        let part = file.deletingLastPathComponent().appendingPathComponent(".\(file.lastPathComponent).tmp")
        do {
            try text.write(to: part)
        } catch {
            throw StorageError("cannot write \(part.path): \(error)")
        }
        if rename(part.path, file.path) != 0 { throw storageError("rename", part) }
    }

    private static func read(_ file: URL) throws -> [Measured: Totals] {
        guard let rows = try JSON(parsing: Data(contentsOf: file)).asList else { throw JSONError("not a list") }
        return try Dictionary(rows.map(row)) { $1 }
    }

    private static func row(_ row: JSON) throws -> (Measured, Totals) {
        guard let cells = row.asList, cells.count == 5, let version = cells[0].asInteger, let metric = cells[1].asText,
            let count = cells[2].asInteger, let sum = cells[3].asDouble, let squares = cells[4].asDouble, isMetric(metric)
        else { throw JSONError("not a row of totals") }
        let totals = Totals(count: count, sum: sum, squares: squares)
        guard totals.arePossible else { throw JSONError("no values have these totals") }
        return (Measured(version: version, metric: metric), totals)
    }

    private static func isMetric(_ name: String) -> Bool {
        let names = name.unicodeScalars
        guard let first = names.first, ("a"..."z").contains(first), names.count <= 64 else { return false }
        return names.allSatisfy { ("a"..."z").contains($0) || ("0"..."9").contains($0) || "_.-".unicodeScalars.contains($0) }
    }
}
