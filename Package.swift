// swift-tools-version: 6.0

import PackageDescription

// Apple's systems have CryptoKit; elsewhere, as on the machine that the tests run on, a little C reaches OpenSSL.
let openSSL = Target.Dependency.target(name: "CMNetOpenSSL", condition: .when(platforms: [.linux]))

// At the root of the repository, where SwiftPM looks for the package of a git URL; its sources are in `ios`.
let package = Package(
    name: "MNet",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "MNetCore", targets: ["MNetCore"]),
        .library(name: "MNetCoreML", targets: ["MNetCoreML"]),
    ],
    targets: [
        .target(
            name: "CMNetOpenSSL", path: "ios/Sources/CMNetOpenSSL",
            linkerSettings: [.linkedLibrary("crypto", .when(platforms: [.linux]))]),
        .target(name: "MNetCore", dependencies: [openSSL], path: "ios/Sources/MNetCore"),
        .target(name: "MNetCoreML", dependencies: ["MNetCore"], path: "ios/Sources/MNetCoreML"),
        .target(name: "MNetVectors", dependencies: ["MNetCore"], path: "ios/Tests/MNetVectors"),
        .testTarget(name: "MNetCoreTests", dependencies: ["MNetCore", "MNetVectors"], path: "ios/Tests/MNetCoreTests"),
        .testTarget(name: "MNetCoreMLTests", dependencies: ["MNetCoreML", "MNetVectors"], path: "ios/Tests/MNetCoreMLTests"),
    ]
)
