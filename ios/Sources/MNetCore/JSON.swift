import Foundation

/// Text that is not JSON, or JSON that does not hold what was looked for.
public struct JSONError: Error, CustomStringConvertible {
    public let description: String

    init(_ description: String) {
        self.description = description
    }
}

public typealias JSONObject = [String: JSON]

/// A value of JSON (RFC 8259). A number is an `integer` unless it has a fraction, an exponent or more than 64 bits.
///
/// Foundation's `JSONSerialization` takes `true` for 1 and forgets which it was. What is signed or sealed must mean the same to
/// every reader, so this one is strict.
public enum JSON: Hashable, Sendable {
    case null
    case bool(Bool)
    case integer(Int)
    case number(Double)
    case text(String)
    case list([JSON])
    case object(JSONObject)

    /// The value of a JSON text in UTF-8. Throws `JSONError`.
    public init(parsing data: Data) throws {
        var parser = JSONParser([UInt8](data))
        self = try parser.document()
    }

    /// As a floating-point number, if it is a number.
    public var asDouble: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    public var asInteger: Int? {
        if case .integer(let value) = self { value } else { nil }
    }

    public var asText: String? {
        if case .text(let value) = self { value } else { nil }
    }

    public var asList: [JSON]? {
        if case .list(let value) = self { value } else { nil }
    }

    /// The entries of an object. Throws `JSONError`, which says that it was found at `place`.
    public func object(at place: String) throws -> JSONObject {
        guard case .object(let entries) = self else { throw JSONError("\(place) is not an object") }
        return entries
    }
}

/// The object that a JSON text in UTF-8 is. Throws `JSONError`.
public func parseJSONObject(_ data: Data) throws -> JSONObject {
    try JSON(parsing: data).object(at: "the text")
}

extension [String: JSON] {
    /// The entry of that name; `JSON.null` counts as none.
    func given(_ name: String) -> JSON? {
        self[name] == .null ? nil : self[name]
    }

    public func string(_ name: String) throws -> String {
        guard let value = self[name]?.asText else { throw JSONError("\(name) is not a text") }
        return value
    }

    public func integer(_ name: String) throws -> Int {
        guard let value = self[name]?.asInteger else { throw JSONError("\(name) is not a whole number of 64 bits") }
        return value
    }

    func double(_ name: String) throws -> Double {
        guard let value = self[name]?.asDouble else { throw JSONError("\(name) is not a number") }
        return value
    }

    public func list(_ name: String) throws -> [JSON] {
        guard let value = self[name]?.asList else { throw JSONError("\(name) is not a list") }
        return value
    }

    public func objects(_ name: String) throws -> [JSONObject] {
        try list(name).map { try $0.object(at: "an entry of \(name)") }
    }

    func texts(_ name: String) throws -> [String] {
        try list(name).map {
            guard let text = $0.asText else { throw JSONError("an entry of \(name) is not a text") }
            return text
        }
    }

    public func child(_ name: String) throws -> JSONObject {
        try (self[name] ?? .null).object(at: name)
    }
}

extension JSON {
    /// The value as a JSON text in UTF-8, without blanks, the names of an object in order. Throws `JSONError` for a number that is
    /// not finite.
    public func written() throws -> Data {
        var text = ""
        try write(to: &text)
        return Data(text.utf8)
    }

    private func write(to text: inout String) throws {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .integer(let value): text += String(value)
        case .number(let value):
            guard value.isFinite else { throw JSONError("there is no JSON for \(value)") }
            text += String(value)
        case .text(let value): quote(value, to: &text)
        case .list(let items):
            text += "["
            for (index, item) in items.enumerated() {
                if index > 0 { text += "," }
                try item.write(to: &text)
            }
            text += "]"
        case .object(let entries):
            text += "{"
            for (index, entry) in entries.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { text += "," }
                quote(entry.key, to: &text)
                text += ":"
                try entry.value.write(to: &text)
            }
            text += "}"
        }
    }

    private func quote(_ value: String, to text: inout String) {
        text += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"", "\\": text += "\\\(scalar)"
            case "\0"..."\u{1f}":
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
