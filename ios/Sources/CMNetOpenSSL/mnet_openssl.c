/* Apple's systems have CryptoKit, and no headers of OpenSSL. */
#ifndef __APPLE__

#include "mnet_openssl.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/sha.h>
#include <stdlib.h>

enum { NUMBER = 32 };

void mnet_sha256(const void *data, size_t size, void *digest) { SHA256(data, size, digest); }

/* The key, or NULL where there is no such point. */
static EVP_PKEY *read_key(const void *point, size_t size) {
  EVP_PKEY *key = NULL;
  EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
  OSSL_PARAM params[] = {
      OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, (char *)"prime256v1", 0),
      OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, (void *)point, size),
      OSSL_PARAM_construct_end(),
  };
  if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
      EVP_PKEY_fromdata(context, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
    key = NULL;
  }
  EVP_PKEY_CTX_free(context);
  return key;
}

int mnet_p256_is_point(const void *point, size_t size) {
  EVP_PKEY *key = size == 1 + 2 * NUMBER ? read_key(point, size) : NULL;
  EVP_PKEY_free(key);
  return key != NULL;
}

/* The signature in DER, or 0 bytes. */
static int to_der(const unsigned char *signature, unsigned char **der) {
  ECDSA_SIG *numbers = ECDSA_SIG_new();
  BIGNUM *r = BN_bin2bn(signature, NUMBER, NULL);
  BIGNUM *s = BN_bin2bn(signature + NUMBER, NUMBER, NULL);
  int size = 0;
  if (numbers != NULL && ECDSA_SIG_set0(numbers, r, s) == 1) {
    size = i2d_ECDSA_SIG(numbers, der);
  } else {
    BN_free(r);
    BN_free(s);
  }
  ECDSA_SIG_free(numbers);
  return size > 0 ? size : 0;
}

int mnet_p256_verify(const void *point, size_t point_size, const void *signature, const void *data, size_t size) {
  EVP_PKEY *key = read_key(point, point_size);
  EVP_MD_CTX *context = EVP_MD_CTX_new();
  unsigned char *der = NULL;
  int der_size = to_der(signature, &der);
  int good = key != NULL && context != NULL && der_size > 0 &&
             EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
             EVP_DigestVerify(context, der, (size_t)der_size, data, size) == 1;
  OPENSSL_free(der);
  EVP_MD_CTX_free(context);
  EVP_PKEY_free(key);
  return good;
}

#endif
