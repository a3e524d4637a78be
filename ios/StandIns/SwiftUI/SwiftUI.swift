// Stand-ins with the signatures of Apple's SwiftUI, as far as the example goes, so that it is type-checked on machines without it. They
// draw nothing.

import Foundation

@MainActor
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    public var body: Never { fatalError("a stand-in has no body") }
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

/// Any view of the stand-ins.
public struct Drawn: View {
    public var body: Never { fatalError("a stand-in has no body") }
}

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
    public var body: Never { fatalError("a stand-in has no body") }
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

public struct Text: View {
    public init(_ content: some StringProtocol) {}
    public var body: Never { fatalError("a stand-in has no body") }
}

public struct Button: View {
    public init(_ title: some StringProtocol, action: @escaping @MainActor () -> Void) {}
    public var body: Never { fatalError("a stand-in has no body") }
}

public struct List: View {
    public init(@ViewBuilder content: () -> some View) {}
    public var body: Never { fatalError("a stand-in has no body") }
}

public struct Section: View {
    public init(@ViewBuilder content: () -> some View) {}
    public init(@ViewBuilder content: () -> some View, @ViewBuilder header: () -> some View, @ViewBuilder footer: () -> some View) {}
    public var body: Never { fatalError("a stand-in has no body") }
}

public struct ForEach: View {
    public init<Data: RandomAccessCollection>(_ data: Data, @ViewBuilder content: @escaping (Data.Element) -> some View)
    where Data.Element: Identifiable {}
    public var body: Never { fatalError("a stand-in has no body") }
}
