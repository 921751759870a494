/* SPDX-License-Identifier: Apache-2.0 */
#include "trust/trust.h"

#include <string.h>

#include "gen/errors.h"
#include "gen/image_format.h"
#include "gen/trust.h"

/* libsodium's, which the build takes from its package (tools/scons/sodium.py). */
int crypto_sign_ed25519_verify_detached(const unsigned char *signature,
                                        const unsigned char *message, unsigned long long size,
                                        const unsigned char *key);

int trust_check(const uint8_t *header, const uint8_t *section, uint64_t size, uint64_t *detail)
{
    static const uint8_t key[] = TRUST_KEY, key_id[] = TRUST_KEY_ID;

    *detail = 0;
    if (!section)
        return E_IMAGE_UNSIGNED;
    if (size != IMAGE_SIGNATURE_SIZE ||
        image_signature_algorithm(section) != IMAGE_SIGNATURE_ALGORITHM_ED25519 ||
        image_signature_reserved(section))
        return E_IMAGE_SIGNATURE;
    if (memcmp(section + IMAGE_SIGNATURE_KEY_ID_OFFSET, key_id, sizeof key_id))
        return E_IMAGE_KEY;
    if (crypto_sign_ed25519_verify_detached(section + IMAGE_SIGNATURE_SIGNATURE_OFFSET, header,
                                            IMAGE_HEADER_BYTES, key))
        return E_IMAGE_SIGNATURE;
    *detail = image_header_image_version(header);
    return *detail < TRUST_LOWEST_VERSION ? E_IMAGE_OLD : 0;
}
