// Stand-ins with the signatures of what the bench asks of Apple's systems, so that it is type-checked on machines without them: Mach's
// account of memory, and what Foundation and XCTest have there only. They do nothing.

import Foundation
import XCTest

public typealias integer_t = Int32
public typealias natural_t = UInt32
public typealias mach_port_t = natural_t
public typealias mach_msg_type_number_t = natural_t
public typealias task_flavor_t = natural_t
public typealias kern_return_t = Int32
public typealias task_info_t = UnsafeMutablePointer<integer_t>

public let KERN_SUCCESS: kern_return_t = 0
public let TASK_VM_INFO: Int32 = 22

// A variable there, as here (this module is written in Swift 5): who reads it imports Darwin with @preconcurrency.
public var mach_task_self_: mach_port_t = 0

public struct task_vm_info_data_t {
    public var phys_footprint: UInt64 = 0

    public init() {}
}

public func task_info(
    _ target: mach_port_t, _ flavor: task_flavor_t, _ info: task_info_t?, _ count: UnsafeMutablePointer<mach_msg_type_number_t>?
) -> kern_return_t { 1 }

extension ProcessInfo {
    public enum ThermalState: Int, Sendable {
        case nominal = 0
        case fair = 1
        case serious = 2
        case critical = 3
    }

    public var thermalState: ThermalState { .nominal }
    public var isLowPowerModeEnabled: Bool { false }
}

public class XCTAttachment {
    public enum Lifetime: Int {
        case keepAlways = 0
        case deleteOnSuccess = 1
    }

    public var lifetime = Lifetime.deleteOnSuccess

    public init(contentsOfFile url: URL) {}
}

extension XCTestCase {
    public func add(_ attachment: XCTAttachment) {}
}
