/// What a phone uploads, and tells a shift of its user by, oldest first.
public enum Samples: Sendable {
    /// Items, from 1.
    case ids([Int])

    /// Vectors of the same length, such as embeddings of images.
    case vectors([[Float]])

    /// Texts, such as the last ones that the user wrote.
    case texts([String])

    /// Objects of whatever JSON can hold, as the server's task reads them.
    case objects([JSONObject])

    public var count: Int {
        switch self {
        case .ids(let ids): ids.count
        case .vectors(let rows): rows.count
        case .texts(let texts): texts.count
        case .objects(let rows): rows.count
        }
    }

    /// As the server's contract has them.
    var json: JSON {
        switch self {
        case .ids(let ids): .list(ids.map(JSON.integer))
        case .vectors(let rows): .list(rows.map { .list($0.map { .number(Double($0)) }) })
        case .texts(let texts): .list(texts.map(JSON.text))
        case .objects(let rows): .list(rows.map(JSON.object))
        }
    }
}
