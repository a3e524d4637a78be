// swift-tools-version: 6.0

import PackageDescription

// A package of its own, so that an app on CoreML never downloads ExecuTorch.
let package = Package(
    name: "MNetExecuTorch",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [.library(name: "MNetExecuTorch", targets: ["MNetExecuTorch"])],
    dependencies: [
        .package(name: "MNet", path: "../.."),
        // The version that exports the bundles: ExecuTorch promises nothing for a newer file on an older runtime.
        .package(url: "https://github.com/pytorch/executorch.git", branch: "swiftpm-1.5.1"),
    ],
    targets: [
        .target(
            name: "MNetExecuTorch",
            dependencies: [
                .product(name: "MNetCore", package: "MNet"),
                .product(name: "executorch", package: "executorch"),
                .product(name: "backend_xnnpack", package: "executorch"),
                .product(name: "kernels_optimized", package: "executorch"),
            ])
    ]
)
