// Stand-ins with the signatures of Apple's BackgroundTasks, so that the example is type-checked on machines without it. They do nothing.

import Foundation

open class BGTaskRequest: NSObject {
    public let identifier: String
    open var earliestBeginDate: Date?

    public init(identifier: String) {
        self.identifier = identifier
    }
}

open class BGAppRefreshTaskRequest: BGTaskRequest {}

open class BGTaskScheduler: NSObject, @unchecked Sendable {
    public static let shared = BGTaskScheduler()
    open func submit(_ taskRequest: BGTaskRequest) throws {}
}
