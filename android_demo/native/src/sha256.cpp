// SHA-256 as FIPS 180-4 states it: 80 lines here cost an app less than a library for the one function.
#include "sha256.h"

#include <array>
#include <cstdint>
#include <cstring>

namespace mnet {
namespace {

constexpr std::size_t kBlock = 64;

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes.
constexpr std::array<std::uint32_t, 64> kRound = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

std::uint32_t rotated(std::uint32_t word, int by) { return word >> by | word << (32 - by); }

class Digest {
public:
    /// Takes the next 64 bytes.
    void add(const std::uint8_t* block) {
        std::uint32_t words[64];
        for (int t = 0; t < 16; ++t) {
            const std::uint8_t* from = block + 4 * t;
            words[t] = std::uint32_t(from[0]) << 24 | std::uint32_t(from[1]) << 16 | std::uint32_t(from[2]) << 8 | from[3];
        }
        for (int t = 16; t < 64; ++t) {
            const std::uint32_t early = words[t - 15], late = words[t - 2];
            words[t] = words[t - 16] + words[t - 7] + (rotated(early, 7) ^ rotated(early, 18) ^ early >> 3) +
                       (rotated(late, 17) ^ rotated(late, 19) ^ late >> 10);
        }
        auto [a, b, c, d, e, f, g, h] = state_;
        for (int t = 0; t < 64; ++t) {
            const std::uint32_t first = h + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) + ((e & f) ^ (~e & g)) +
                                        kRound[t] + words[t];
            const std::uint32_t second =
                (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            h = g, g = f, f = e, e = d + first, d = c, c = b, b = a, a = first + second;
        }
        const std::array<std::uint32_t, 8> mixed = {a, b, c, d, e, f, g, h};
        for (std::size_t k = 0; k < mixed.size(); ++k) state_[k] += mixed[k];
    }

    std::string hex() const {
        std::string text;
        for (std::uint32_t word : state_) {
            for (int shift = 28; shift >= 0; shift -= 4) text += "0123456789abcdef"[word >> shift & 15];
        }
        return text;
    }

private:
    // The first 32 bits of the fractional parts of the square roots of the first 8 primes.
    std::array<std::uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                           0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
};

}  // namespace

std::string sha256(const void* data, std::size_t size) {
    Digest digest;
    const auto* from = static_cast<const std::uint8_t*>(data);
    const std::size_t whole = size - size % kBlock, left = size % kBlock;
    for (std::size_t k = 0; k < whole; k += kBlock) digest.add(from + k);
    // Then a single bit, zeros, and the length in bits as the last 8 bytes of a block.
    std::uint8_t last[2 * kBlock] = {};
    if (left) std::memcpy(last, from + whole, left);
    last[left] = 0x80;
    const std::size_t end = left + 9 <= kBlock ? kBlock : 2 * kBlock;
    for (int k = 0; k < 8; ++k) last[end - 1 - k] = static_cast<std::uint8_t>(std::uint64_t(size) * 8 >> 8 * k);
    for (std::size_t k = 0; k < end; k += kBlock) digest.add(last + k);
    return digest.hex();
}

}  // namespace mnet
