/// What a phone uploads, and tells a shift of its user by, oldest first.
public enum Samples: Sendable {
    /// Items, from 1.
    case ids([Int])

    /// Vectors of the same length, such as embeddings of images.
    case vectors([[Float]])

    public var count: Int {
        switch self {
        case .ids(let ids): ids.count
        case .vectors(let rows): rows.count
        }
    }

    /// As the server's contract has them.
    var json: JSON {
        switch self {
        case .ids(let ids): .list(ids.map(JSON.integer))
        case .vectors(let rows): .list(rows.map { .list($0.map { .number(Double($0)) }) })
        }
    }
}
