/// What happens to a phone, for a screen or a log.
public enum PhoneEvent: Sendable {
    /// The server answers (again).
    case connected
    case enrolled(device: String)
    case uploaded(samples: Int, version: Int)

    /// `swap`: verify, bind, self-test and publish. `isPersisted` is false where the disk was full.
    case swapped(version: Int, bytes: Int, fetch: Duration, swap: Duration, isPersisted: Bool)
    case refusedWeights(Refused)
    case mustWait(seconds: Int)
    case wentOffline(String)
    case wasDenied(status: Int, detail: String)

    /// For a day nobody vouched that the running version is the newest; what to do then is for the app to say.
    case wentStale(version: Int)

    /// It is known to be the newest again.
    case becameFresh(version: Int)

    /// A fault of the phone's own, such as a full disk; it serves, and tries again.
    case failed(String)
}
