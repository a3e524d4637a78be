// Stand-ins with the signatures of Apple's SwiftUI, as far as the example goes, so that it is type-checked on machines without it. They
// draw nothing.

import Foundation

@MainActor
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    public var body: Never { return fatalError("a stand-in has no body") }
}

/// A view of the stand-ins, which has nothing in it.
public protocol Empty: View where Body == Never {}

extension Empty {
    public var body: Never { return fatalError("a stand-in has no body") }
}

@MainActor
public protocol Scene {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
}

extension Never: Scene {}

@MainActor
public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}

extension App {
    public static func main() {}
}

/// Any view.
public struct Drawn: Empty {}

@MainActor
@resultBuilder
public enum ViewBuilder {
    public static func buildExpression(_ content: some View) -> Drawn { Drawn() }
    public static func buildBlock(_ content: Drawn...) -> Drawn { Drawn() }
    public static func buildEither(first: Drawn) -> Drawn { first }
    public static func buildEither(second: Drawn) -> Drawn { second }
    public static func buildOptional(_ content: Drawn?) -> Drawn { Drawn() }
}

@MainActor
@resultBuilder
public enum SceneBuilder {
    public static func buildBlock<Content: Scene>(_ content: Content) -> Content { content }
}

@propertyWrapper
public struct State<Value> {
    private let value: Value

    public init(wrappedValue: Value) {
        value = wrappedValue
    }

    public init() where Value: ExpressibleByNilLiteral {
        value = nil
    }

    public var wrappedValue: Value {
        get { value }
        nonmutating set {}
    }
}

public struct WindowGroup: Scene {
    public init(@ViewBuilder content: () -> some View) {}
    public var body: Never { return fatalError("a stand-in has no body") }
}

public struct BackgroundTask<Request, Response>: Sendable {}

extension BackgroundTask where Request == Void, Response == Void {
    public static func appRefresh(_ matchedRequestId: String) -> BackgroundTask<Void, Void> { BackgroundTask() }
}

extension Scene {
    public func backgroundTask<D: Sendable, R: Sendable>(
        _ task: BackgroundTask<D, R>, action: @escaping @Sendable (D) async -> R
    ) -> some Scene { self }
}

extension View {
    public func task(priority: TaskPriority = .userInitiated, _ action: @escaping @isolated(any) @Sendable () async -> Void) -> some View {
        self
    }
}

public struct Text: Empty {
    public init(_ content: some StringProtocol) {}
}

public struct Button: Empty {
    public init(_ title: some StringProtocol, action: @escaping @MainActor () -> Void) {}
}

public struct List: Empty {
    public init(@ViewBuilder content: () -> some View) {}
}

public struct Section: Empty {
    public init(@ViewBuilder content: () -> some View) {}
    public init(@ViewBuilder content: () -> some View, @ViewBuilder header: () -> some View, @ViewBuilder footer: () -> some View) {}
}

public struct ForEach: Empty {
    public init<Data: RandomAccessCollection>(_ data: Data, @ViewBuilder content: @escaping (Data.Element) -> some View)
    where Data.Element: Identifiable {}
}
