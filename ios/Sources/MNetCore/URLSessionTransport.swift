import Foundation

#if canImport(FoundationNetworking)
    import FoundationNetworking
#endif

/// HTTP by Foundation's `URLSession`.
public final class URLSessionTransport: Transport {
    private let exchanges = Exchanges()
    private let session: URLSession

    public init() {
        let configuration = URLSessionConfiguration.ephemeral
        configuration.urlCache = nil
        configuration.requestCachePolicy = .reloadIgnoringLocalCacheData
        configuration.httpCookieStorage = nil
        configuration.httpShouldSetCookies = false
        session = URLSession(configuration: configuration, delegate: exchanges, delegateQueue: nil)
    }

    deinit {
        session.invalidateAndCancel()
    }

    public func send(_ request: WebRequest) async throws -> WebAnswer {
        var asked = URLRequest(url: request.url)
        asked.httpMethod = request.method
        asked.httpBody = request.body
        asked.timeoutInterval = TimeInterval(request.patience.components.seconds)
        for (name, value) in request.headers { asked.setValue(value, forHTTPHeaderField: name) }
        let task = session.dataTask(with: asked)
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                exchanges.begin(task, continuation)
                if Task.isCancelled { exchanges.abandon(task) } else { task.resume() }
            }
        } onCancel: {
            exchanges.abandon(task)
        }
    }
}

/// What the session says of its tasks, handed to whoever waits for it.
private final class Exchanges: NSObject, URLSessionDataDelegate {
    private enum Exchange {
        case waiting(CheckedContinuation<WebAnswer, any Error>)
        case reading(AsyncThrowingStream<Data, any Error>.Continuation)
    }

    private let exchanges = Locked<[Int: Exchange]>([:])

    func begin(_ task: URLSessionTask, _ continuation: CheckedContinuation<WebAnswer, any Error>) {
        exchanges.withLock { $0[task.taskIdentifier] = .waiting(continuation) }
    }

    /// Cancel a task, and end the wait for it here: off Apple's systems the session can forget a task cancelled as it starts.
    func abandon(_ task: URLSessionTask) {
        let before = exchanges.withLock { $0.removeValue(forKey: task.taskIdentifier) }
        task.cancel()
        end(before, CancellationError())
    }

    func urlSession(
        _ session: URLSession, dataTask: URLSessionDataTask, didReceive response: URLResponse,
        completionHandler: @escaping @Sendable (URLSession.ResponseDisposition) -> Void
    ) {
        guard let response = response as? HTTPURLResponse else { return completionHandler(.cancel) }
        let (body, pieces) = AsyncThrowingStream<Data, any Error>.makeStream()
        pieces.onTermination = { _ in dataTask.cancel() }
        let before = exchanges.withLock { $0.updateValue(.reading(pieces), forKey: dataTask.taskIdentifier) }
        var headers: [String: String] = [:]
        for case (let name as String, let value as String) in response.allHeaderFields { headers[name] = value }
        if case .waiting(let continuation) = before {
            continuation.resume(returning: WebAnswer(status: response.statusCode, headers: headers, body: body))
        }
        completionHandler(.allow)
    }

    func urlSession(_ session: URLSession, dataTask: URLSessionDataTask, didReceive data: Data) {
        if case .reading(let pieces) = exchanges.withLock({ $0[dataTask.taskIdentifier] }) { pieces.yield(data) }
    }

    func urlSession(_ session: URLSession, task: URLSessionTask, didCompleteWithError error: (any Error)?) {
        end(exchanges.withLock { $0.removeValue(forKey: task.taskIdentifier) }, error)
    }

    private func end(_ exchange: Exchange?, _ error: (any Error)?) {
        switch exchange {
        case .waiting(let continuation): continuation.resume(throwing: error ?? URLError(.badServerResponse))
        case .reading(let pieces): pieces.finish(throwing: error)
        case nil: break
        }
    }

    /// A server of ours redirects nobody; the phone's token is for no other.
    func urlSession(
        _ session: URLSession, task: URLSessionTask, willPerformHTTPRedirection response: HTTPURLResponse,
        newRequest request: URLRequest, completionHandler: @escaping @Sendable (URLRequest?) -> Void
    ) {
        completionHandler(nil)
    }
}
