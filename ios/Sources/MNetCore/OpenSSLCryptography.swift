#if !canImport(CryptoKit)
    import CMNetOpenSSL
    import Foundation

    typealias PlatformCryptography = OpenSSLCryptography

    /// For machines other than Apple's, on which the tests run.
    enum OpenSSLCryptography: Cryptography {
        static func sha256(_ data: Data) -> Data {
            var digest = Data(count: 32)
            digest.withUnsafeMutableBytes { digest in
                data.withUnsafeBytes { mnet_sha256($0.baseAddress, $0.count, digest.baseAddress) }
            }
            return digest
        }

        static func publicKey(x: Data, y: Data) -> (any VerifyingKey)? {
            let key = OpenSSLKey(point: Data([4]) + x + y)
            return key.isOnCurve ? key : nil
        }
    }

    private struct OpenSSLKey: VerifyingKey {
        /// X9.63's form: 4, x, y.
        let point: Data

        var isOnCurve: Bool {
            point.withUnsafeBytes { mnet_p256_is_point($0.baseAddress, $0.count) } == 1
        }

        func isValid(_ signature: Data, for data: Data) -> Bool {
            guard signature.count == 64 else { return false }
            return point.withUnsafeBytes { point in
                signature.withUnsafeBytes { signature in
                    data.withUnsafeBytes { data in
                        mnet_p256_verify(point.baseAddress, point.count, signature.baseAddress, data.baseAddress, data.count)
                    }
                }
            } == 1
        }
    }
#endif
