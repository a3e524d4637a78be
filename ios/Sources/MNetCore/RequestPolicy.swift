import Foundation

/// When a phone asks for new weights: `never`, `always`, `every:N` and `shift`, as `toolchain/phone/request_policies.py`.
///
/// It decides at each chance: a moment at which the phone has samples that it could upload. For one task at a time.
public protocol RequestPolicy: Sendable {
    /// Whether to upload these samples; may be asked again about the same ones. Throws `PolicyError` for unreadable ones.
    func asks(_ samples: Samples) throws -> Bool

    /// The chance is over: the samples were uploaded, or not. Throws `StorageError`.
    mutating func wentOn(_ samples: Samples, asked: Bool) throws
}

/// What `shift` keeps in the phone's folder.
let statisticFile = "asked.json"

/// The policy of that name for a phone with this `bundle` and `state` folder. Throws `PolicyError` where there is no such one.
public func requestPolicy(_ name: String, bundle: ModelBundle, state: URL) throws -> any RequestPolicy {
    switch name {
    case "never": return Never()
    case "always": return Every(chances: 1)
    case "shift":
        guard let shift = try bundle.policy() else { throw PolicyError("\(bundle.folder.path) has no request policy") }
        return OnShift(shift, state.appendingPathComponent(statisticFile))
    default:
        let digits = name.dropFirst("every:".count)
        guard name.hasPrefix("every:"), digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let chances = Int32(digits), chances > 0
        else { throw PolicyError("policy \(name): expected never, always, every:N or shift") }
        return Every(chances: Int(chances))
    }
}

/// The weights that came with the app, or those that an operator pushes.
private struct Never: RequestPolicy {
    func asks(_ samples: Samples) -> Bool { false }
    func wentOn(_ samples: Samples, asked: Bool) {}
}

/// At the first chance, and at every so many-th after it.
private struct Every: RequestPolicy {
    private let chances: Int
    private var missed: Int

    init(chances: Int) {
        self.chances = chances
        missed = chances - 1
    }

    func asks(_ samples: Samples) -> Bool { missed >= chances - 1 }

    mutating func wentOn(_ samples: Samples, asked: Bool) {
        missed = asked ? 0 : missed + 1
    }
}

/// When the user has shifted since the samples that the weights were made from; these are kept over a restart.
private struct OnShift: RequestPolicy {
    private let shift: Shift
    private let file: URL
    private var then: [Double]?

    init(_ shift: Shift, _ file: URL) {
        self.shift = shift
        self.file = file
        // What was kept; without it, or if it is damaged, the phone asks once more.
        let kept = (try? Data(contentsOf: file)).flatMap { try? JSON(parsing: $0) }?.asList
        let numbers = kept?.compactMap(\.asDouble).filter(\.isFinite)
        then = numbers?.count == shift.width && kept?.count == shift.width ? numbers : nil
    }

    func asks(_ samples: Samples) throws -> Bool {
        let now = try shift.statistic(samples)
        return then.map { shift.asks(then: $0, now: now) } ?? true
    }

    mutating func wentOn(_ samples: Samples, asked: Bool) throws {
        guard asked else { return }
        let now = try shift.statistic(samples)
        then = now
        guard now.allSatisfy(\.isFinite), let text = try? JSON.list(now.map(JSON.number)).written() else { return }
        try writeDurably(text, to: file)
    }
}
