import Foundation
import MNetCore

/// Loads the program of a bundle.
public typealias Load = (ModelBundle) throws -> any Program

/// One of the vectors that `tests/vectors/write.py` wrote; `verdict` is what every phone must make of it.
public struct Vector {
    /// `tests/vectors` of this repository, with `vectors.json` and the bundles that they are about.
    public static var folder: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../../../tests/vectors").standardized
    }

    private let fields: JSONObject
    private let phone: JSONObject
    private let bundle: URL
    public let name: String
    public let kind: String
    public let verdict: String

    public static func all() throws -> [Vector] {
        let content = try parseJSONObject(Data(contentsOf: folder.appendingPathComponent("vectors.json")))
        let phone = try content.child("phone")
        return try content.objects("vectors").map { try Vector($0, phone) }
    }

    private init(_ fields: JSONObject, _ phone: JSONObject) throws {
        (self.fields, self.phone) = (fields, phone)
        bundle = Self.folder.appendingPathComponent("exported/\(fields["bundle"]?.asText ?? "ranker")")
        name = try fields.string("name")
        kind = try fields.string("kind")
        verdict = try fields.string("verdict")
    }

    /// As `tests/vectors/write.py` says; `load` is needed for the kind `swap`.
    public func judge(_ load: Load? = nil) throws -> String {
        do {
            switch kind {
            case "asks": return try inScratch(asks)
            case "release": _ = try release(newerThan: fields.integer("newer_than"), now: fields["now"]?.asInteger)
            case "keys":
                let known = try PublicKeys(phone.child("keys"))
                _ = try KeyStatement(verifying: fields.string("statement"), known: known, now: phone.integer("now"))
            case "pack": _ = try readPack(bytes("pack"), for: ModelBundle(at: bundle).manifest)
            case "install": try checkBytes(bytes("pack"), of: release(newerThan: 0, now: phone.integer("now")))
            case "swap": try swap(load)
            case "manifest": _ = try Manifest(parsing: bytes("manifest"))
            case "bundle": try inScratch(openChanged)
            case "policy": _ = try Shift(parsing: bytes("file"))
            case "probe": return try hasItsProbe() ? "accepted" : Reason.selfTestFailed.rawValue
            default: throw JudgeError("unknown kind \(kind)")
            }
        } catch let refusal as Refused {
            return kind == "keys" ? "not_believed" : refusal.reason.rawValue
        } catch let error as BundleError {
            if case .damaged(let reason, _) = error { return reason.rawValue }
            return "bundle_error"
        }
        return "accepted"
    }

    private func release(newerThan: Int, now: Int?) throws -> Release {
        try verifyRelease(
            fields.string("jws"), keys: PublicKeys(phone.child("keys")), device: phone.string("device"),
            bundle: ModelBundle(at: bundle).id, newerThan: newerThan, now: now)
    }

    private func swap(_ load: Load?) throws {
        guard let load else { throw JudgeError("\(kind) needs a runtime") }
        let opened = try ModelBundle(at: bundle)
        let controller = try SwapController(opened, load(opened))
        for pack in try fields.list("packs") { try controller.swap(decoded(pack)) }
    }

    private func hasItsProbe() throws -> Bool {
        let outputs = try fields.objects("outputs")
        let found = probe(try outputs.map(tensor), scales: try outputs.map { try number($0["scale"]) })
        return distance(found, try fields.list("probe").map(number)) <= 1e-9
    }

    private func tensor(_ output: JSONObject) throws -> Tensor {
        let dtype = DType(rawValue: try output.string("dtype"))
        let values = try output.list("values").map(number)
        var data = Data()
        for value in values {
            switch dtype {
            case .float32: append(Float(value), to: &data)
            case .float16: append(floatToHalf(Float(value)), to: &data)
            case .int64: append(Int64(value), to: &data)
            case .int32: append(Int32(value), to: &data)
            default: append(UInt8(value), to: &data)
            }
        }
        return Tensor(dtype, [values.count], data)
    }

    private func append<Value>(_ value: Value, to data: inout Data) {
        withUnsafeBytes(of: value) { data.append(contentsOf: $0) }
    }

    private func number(_ value: JSON?) throws -> Double {
        if case .bool(let truth) = value { return truth ? 1 : 0 }
        guard let number = value?.asDouble else { throw JudgeError("no number") }
        return number
    }

    private func openChanged(_ folder: URL) throws {
        let changed = folder.appendingPathComponent("bundle")
        try FileManager.default.copyItem(at: bundle, to: changed)
        for (path, content) in try fields.child("files") {
            let file = changed.appendingPathComponent(path)
            if content == .null {
                try FileManager.default.removeItem(at: file)
            } else {
                try decoded(content).write(to: file)
            }
        }
        _ = try ModelBundle(at: changed)
    }

    private func asks(_ state: URL) throws -> String {
        if let text = fields["state"]?.asText {
            try Data(text.utf8).write(to: state.appendingPathComponent("asked.json"))
        }
        let opened = try ModelBundle(at: bundle)
        let (name, window) = (try fields.string("policy"), try fields.integer("window"))
        let stream = try fields.list("samples")
        do {
            var policy: (any RequestPolicy)?
            var done: [String] = []
            for chance in stream.indices {
                let restarts = try fields.list("restarts").contains(.integer(chance))
                var current = restarts ? nil : policy
                if current == nil { current = try requestPolicy(name, bundle: opened, state: state) }
                guard var current else { throw JudgeError("no policy") }
                let context = try samples(Array(stream[max(0, chance + 1 - window)...chance]))
                let asks = try current.asks(context)
                try current.wentOn(context, asked: asks)
                policy = current
                done.append(asks ? "ask" : "wait")
            }
            return done.joined(separator: " ")
        } catch is PolicyError {
            return "user_error"
        }
    }

    private func samples(_ values: [JSON]) throws -> Samples {
        let ids = values.compactMap(\.asInteger)
        if ids.count == values.count { return .ids(ids) }
        return .vectors(try values.map { try ($0.asList ?? []).map { Float(try number($0)) } })
    }

    /// The bytes of the pack that it is about; none where it is about none.
    public var pack: Data { (try? bytes("pack")) ?? Data() }

    private func bytes(_ name: String) throws -> Data { try decoded(fields[name]) }
}

/// The vectors are not what this reads.
public struct JudgeError: Error {
    let detail: String

    public init(_ detail: String) {
        self.detail = detail
    }
}

func decoded(_ text: JSON?) throws -> Data {
    guard let data = text?.asText.flatMap({ Data(base64Encoded: $0) }) else { throw JudgeError("no base64") }
    return data
}

/// What `use` gives, in a folder that is deleted after it.
public func inScratch<Value>(_ use: (URL) throws -> Value) throws -> Value {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("mnet-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try use(folder)
}
