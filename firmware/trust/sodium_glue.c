/* SPDX-License-Identifier: Apache-2.0 */
/* What libsodium's Ed25519 verification calls in files of libsodium that firmware has no use for.
 */
#include <stddef.h>
#include <stdint.h>

typedef struct crypto_hash_sha512_state crypto_hash_sha512_state;
int crypto_hash_sha512_init(crypto_hash_sha512_state *state);
void _crypto_sign_ed25519_ref10_hinit(crypto_hash_sha512_state *state, int prehashed);
int sodium_memcmp(const void *a, const void *b, size_t size);
int sodium_is_zero(const unsigned char *data, size_t size);
void sodium_memzero(void *data, size_t size);

/* Plain Ed25519 only, never prehashed. */
void _crypto_sign_ed25519_ref10_hinit(crypto_hash_sha512_state *state, int prehashed)
{
    (void)prehashed;
    crypto_hash_sha512_init(state);
}

/* Nothing here is secret: signature and key are public. */
int sodium_memcmp(const void *a, const void *b, size_t size)
{
    const uint8_t *x = a, *y = b;
    uint8_t differs = 0;
    for (size_t i = 0; i < size; i++)
        differs |= x[i] ^ y[i];
    return differs ? -1 : 0;
}

int sodium_is_zero(const unsigned char *data, size_t size)
{
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++)
        any |= data[i];
    return !any;
}

void sodium_memzero(void *data, size_t size)
{
    uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        bytes[i] = 0;
}
