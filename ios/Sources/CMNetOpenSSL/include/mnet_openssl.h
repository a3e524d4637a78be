#ifndef MNET_OPENSSL_H
#define MNET_OPENSSL_H

#include <stddef.h>

/* The three things that MNetCore needs of OpenSSL 3, where there is no CryptoKit. */

/* Write the 32 bytes of the SHA-256 of `size` bytes. */
void mnet_sha256(const void *data, size_t size, void *digest);

/* 1 where the bytes are a point of P-256 in X9.63's form (4, x, y), else 0. */
int mnet_p256_is_point(const void *point, size_t size);

/* 1 where `signature` (r, s, 32 bytes each) is that of the key at `point` for the SHA-256 of `data`, else 0. */
int mnet_p256_verify(const void *point, size_t point_size, const void *signature, const void *data, size_t size);

#endif
