/// Reads one JSON text (RFC 8259), and nothing that only resembles it.
struct JSONParser {
    private static let maxDepth = 100
    private let bytes: [UInt8]
    private var at = 0

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
    }

    /// The value that the whole text is. Throws `JSONError`.
    mutating func document() throws -> JSON {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw JSONError("the text is not UTF-8") }
        let value = try value(depth: 0)
        skipBlanks()
        if at < bytes.count { throw fault("text after the end") }
        return value
    }

    private mutating func value(depth: Int) throws -> JSON {
        if depth > Self.maxDepth { throw fault("nested too deep") }
        skipBlanks()
        switch try peek() {
        case UInt8(ascii: "{"): return .object(try entries(depth))
        case UInt8(ascii: "["): return .list(try items(depth))
        case UInt8(ascii: "\""): return .text(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    private mutating func entries(_ depth: Int) throws -> JSONObject {
        var entries = JSONObject()
        try sequence("{", "}") { parser in
            parser.skipBlanks()
            let name = try parser.string()
            // To Swift, two spellings of one accented letter are equal; to other readers these are two names.
            if let index = entries.index(forKey: name), !entries[index].key.utf8.elementsEqual(name.utf8) {
                throw parser.fault("two spellings of one name")
            }
            parser.skipBlanks()
            try parser.expect(UInt8(ascii: ":"))
            entries[name] = try parser.value(depth: depth + 1)
        }
        return entries
    }

    private mutating func items(_ depth: Int) throws -> [JSON] {
        var items: [JSON] = []
        try sequence("[", "]") { items.append(try $0.value(depth: depth + 1)) }
        return items
    }

    private mutating func sequence(
        _ open: Unicode.Scalar, _ close: Unicode.Scalar, _ element: (inout JSONParser) throws -> Void
    ) throws {
        try expect(UInt8(ascii: open))
        skipBlanks()
        if try peek() == UInt8(ascii: close) {
            at += 1
            return
        }
        while true {
            try element(&self)
            skipBlanks()
            if try peek() == UInt8(ascii: close) { break }
            try expect(UInt8(ascii: ","))
        }
        at += 1
    }

    private mutating func string() throws -> String {
        try expect(UInt8(ascii: "\""))
        var text: [UInt8] = []
        while true {
            let byte = try next()
            switch byte {
            case UInt8(ascii: "\""): return String(decoding: text, as: UTF8.self)
            case UInt8(ascii: "\\"): text.append(contentsOf: try escaped().utf8)
            case 0..<0x20: throw fault("a control character in a text")
            default: text.append(byte)
            }
        }
    }

    private mutating func escaped() throws -> String {
        switch try next() {
        case UInt8(ascii: "\""): return "\""
        case UInt8(ascii: "\\"): return "\\"
        case UInt8(ascii: "/"): return "/"
        case UInt8(ascii: "b"): return "\u{8}"
        case UInt8(ascii: "f"): return "\u{c}"
        case UInt8(ascii: "n"): return "\n"
        case UInt8(ascii: "r"): return "\r"
        case UInt8(ascii: "t"): return "\t"
        case UInt8(ascii: "u"): return String(Character(try scalar()))
        default: throw fault("an unknown escape")
        }
    }

    /// The character of one `\uXXXX`, or of two that are a surrogate pair.
    private mutating func scalar() throws -> Unicode.Scalar {
        let first = try hexDigits()
        guard (0xd800..<0xdc00).contains(first) else {
            guard let scalar = Unicode.Scalar(first) else { throw fault("half of a surrogate pair") }
            return scalar
        }
        guard try next() == UInt8(ascii: "\\"), try next() == UInt8(ascii: "u") else { throw fault("half of a surrogate pair") }
        let second = try hexDigits()
        guard (0xdc00..<0xe000).contains(second),
            let scalar = Unicode.Scalar(0x10000 + (first - 0xd800) << 10 + (second - 0xdc00))
        else { throw fault("half of a surrogate pair") }
        return scalar
    }

    private mutating func hexDigits() throws -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(try next())).hexDigitValue else { throw fault("no hex digit") }
            value = value << 4 + UInt32(digit)
        }
        return value
    }

    private mutating func word(_ word: String, _ value: JSON) throws -> JSON {
        guard bytes[at...].starts(with: word.utf8) else { throw fault("an unknown word") }
        at += word.utf8.count
        return value
    }

    private mutating func number() throws -> JSON {
        let start = at
        _ = skip("-")
        if !skip("0") { try digits() }
        var isWhole = true
        if skip(".") {
            isWhole = false
            try digits()
        }
        if skip("e") || skip("E") {
            isWhole = false
            _ = skip("+") || skip("-")
            try digits()
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        if isWhole, let value = Int(text) { return .integer(value) }
        guard let value = Double(text) else { throw fault("no value") }
        return .number(value)
    }

    /// One digit or more.
    private mutating func digits() throws {
        let start = at
        while at < bytes.count, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[at]) { at += 1 }
        if at == start { throw fault("no value") }
    }

    /// Whether the next character was this one, which is then behind.
    private mutating func skip(_ character: Unicode.Scalar) -> Bool {
        guard at < bytes.count, bytes[at] == UInt8(ascii: character) else { return false }
        at += 1
        return true
    }

    private mutating func skipBlanks() {
        while at < bytes.count, [0x20, 0x09, 0x0a, 0x0d].contains(bytes[at]) { at += 1 }
    }

    private func peek() throws -> UInt8 {
        guard at < bytes.count else { throw fault("the text ends early") }
        return bytes[at]
    }

    private mutating func next() throws -> UInt8 {
        let byte = try peek()
        at += 1
        return byte
    }

    private mutating func expect(_ byte: UInt8) throws {
        if try next() != byte { throw fault("no '\(Character(Unicode.Scalar(byte)))'") }
    }

    private func fault(_ what: String) -> JSONError { JSONError("\(what) at byte \(at)") }
}
