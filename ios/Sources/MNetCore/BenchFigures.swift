/// What a bench timed, by name, and how far the outputs were off.
struct BenchFigures {
    private var times: [String: [Duration]] = [:]
    private var worst = 0.0
    private var leastChange = Double.infinity

    @discardableResult
    mutating func note(_ name: String, since started: ContinuousClock.Instant) -> ContinuousClock.Instant {
        let now = ContinuousClock.now
        times[name, default: []].append(now - started)
        return now
    }

    mutating func add(_ swap: SwapTimes, andInference inference: Duration) {
        let parts = [
            "verify": swap.verify, "write": swap.write, "self_test": swap.selfTest, "publish": swap.publish, "swap": swap.total,
            "swap effect": swap.total + inference,
        ]
        for (name, time) in parts { times[name, default: []].append(time) }
    }

    mutating func compare(_ probe: [Double], expected: [Double], before: [Double]) {
        worst = largestMagnitude([worst, distance(probe, expected)])
        leastChange = min(leastChange, distance(probe, before))
    }

    /// The figures under the names of `mnet bench`.
    var fields: JSONObject {
        let baked = micros("baked"), swappable = micros("swappable")
        let inference: JSONObject = [
            "baked_p50_us": .number(baked), "swappable_p50_us": .number(swappable), "ratio_p50": .number(swappable / baked),
            "control_ratio_p50": .number(micros("control") / baked), "baked": .object(percentiles("baked")),
            "swappable": .object(percentiles("swappable")),
        ]
        let parts: JSONObject = [
            "count": .integer(times["swap"]?.count ?? 0), "parts": .object(medians("verify", "write", "self_test", "publish")),
        ]
        let effect: JSONObject = [
            "swap_p50_us": .number(micros("swap effect")), "whole_model_p50_us": .number(micros("whole_model effect")),
        ]
        return [
            "load": .object(medians("check_files", "load_and_self_test", "next_inference")), "inference": .object(inference),
            "swap": .object(percentiles("swap").merging(parts) { $1 }), "time_to_effect": .object(effect),
            "max_error": .number(worst), "output_change": .number(leastChange),
        ]
    }

    private func medians(_ names: String...) -> JSONObject {
        Dictionary(uniqueKeysWithValues: names.map { ("\($0)_p50_us", .number(micros($0))) })
    }

    private func percentiles(_ name: String) -> JSONObject {
        Dictionary(uniqueKeysWithValues: [50, 90, 99].map { ("p\($0)_us", .number(micros(name, Double($0) / 100))) })
    }

    /// The time below which this share of the calls stays, in microseconds.
    private func micros(_ name: String, _ share: Double = 0.5) -> Double {
        let sorted = (times[name] ?? []).sorted()
        if sorted.isEmpty { return .nan }
        return sorted[Int(share * Double(sorted.count - 1) + 0.5)] / .microseconds(1)
    }
}
