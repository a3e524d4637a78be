/// Why a phone refuses new weights, or a bundle; the same names as in `export/format/errors.py`.
public enum Reason: String, Sendable {
    case badSignature = "bad_signature"
    case wrongDevice = "wrong_device"
    case wrongBundle = "wrong_bundle"
    case staleVersion = "stale_version"
    case expired = "expired"
    case wrongSize = "wrong_size"
    case wrongHash = "wrong_hash"
    case malformed = "malformed"
    case missingTensor = "missing_tensor"
    case extraTensor = "extra_tensor"
    case wrongShape = "wrong_shape"
    case wrongDtype = "wrong_dtype"
    case notFinite = "not_finite"
    case selfTestFailed = "self_test_failed"
    case missingFile = "missing_file"
    case extraFile = "extra_file"
}

/// New weights were refused; the phone keeps serving the current ones.
public struct Refused: Error, CustomStringConvertible {
    public let reason: Reason
    public let detail: String

    public init(_ reason: Reason, _ detail: String) {
        self.reason = reason
        self.detail = detail
    }

    public var description: String { "\(reason.rawValue): \(detail)" }
}

/// A bundle cannot be used.
public enum BundleError: Error, CustomStringConvertible {
    /// It is missing, of a schema unknown here, or for another runtime.
    case unusable(String)

    /// It is not what was exported: a file changed, is missing or was added, or its outputs are wrong.
    case damaged(Reason, String)

    public var description: String {
        switch self {
        case .unusable(let detail): detail
        case .damaged(let reason, let detail): "\(reason.rawValue): \(detail)"
        }
    }
}

/// The disk did not do what it was asked for: it is full, a file cannot be had, or a folder is in use.
public struct StorageError: Error, CustomStringConvertible {
    public let description: String

    public init(_ description: String) {
        self.description = description
    }
}

/// What `read` gives; JSON that does not hold what it should becomes a refusal.
func orMalformed<Value>(_ place: String, _ read: () throws -> Value) throws -> Value {
    do {
        return try read()
    } catch let error as JSONError {
        throw Refused(.malformed, "\(place): \(error)")
    }
}

func malformed(if wrong: Bool, _ detail: @autoclosure () -> String) throws {
    if wrong { throw Refused(.malformed, detail()) }
}
