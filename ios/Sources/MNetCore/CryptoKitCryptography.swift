#if canImport(CryptoKit)
    import CryptoKit
    import Foundation

    typealias PlatformCryptography = CryptoKitCryptography

    enum CryptoKitCryptography: Cryptography {
        static func sha256(_ data: Data) -> Data {
            Data(SHA256.hash(data: data))
        }

        static func publicKey(x: Data, y: Data) -> (any VerifyingKey)? {
            // X9.63's form of a point that is written out: 4, x, y. CryptoKit checks that it is on the curve.
            (try? P256.Signing.PublicKey(x963Representation: Data([4]) + x + y)).map(CryptoKitKey.init)
        }
    }

    private struct CryptoKitKey: VerifyingKey {
        let key: P256.Signing.PublicKey

        func isValid(_ signature: Data, for data: Data) -> Bool {
            guard let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature) else { return false }
            return key.isValidSignature(signature, for: data)
        }
    }
#endif
