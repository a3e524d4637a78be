// swift-tools-version: 6.0

import PackageDescription

// Apple's systems have CryptoKit; elsewhere, as on the machine that the tests run on, a little C reaches OpenSSL.
let openSSL = Target.Dependency.target(name: "CMNetOpenSSL", condition: .when(platforms: [.linux]))

let package = Package(
    name: "MNet",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "MNetCore", targets: ["MNetCore"]),
        .library(name: "MNetCoreML", targets: ["MNetCoreML"]),
    ],
    targets: [
        .target(name: "CMNetOpenSSL", linkerSettings: [.linkedLibrary("crypto", .when(platforms: [.linux]))]),
        .target(name: "MNetCore", dependencies: [openSSL]),
        .target(name: "MNetCoreML", dependencies: ["MNetCore"]),
        .target(name: "MNetVectors", dependencies: ["MNetCore"], path: "Tests/MNetVectors"),
        .testTarget(name: "MNetCoreTests", dependencies: ["MNetCore", "MNetVectors"]),
        .testTarget(name: "MNetCoreMLTests", dependencies: ["MNetCoreML", "MNetVectors"]),
    ]
)
