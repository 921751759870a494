/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_X86_VNNI_H
#define KERNELS_X86_VNNI_H

/* kernels/x86/linear.h by dpbusd, which adds four products of a byte without a sign and one with a
 * sign to 32 bits: vec_dot(sum, weights, input) of the family. Nibbles are too large by 8, and
 * weights in bytes by 128 once they have no sign, so that times the input's sum is taken off first.
 */

#define ZERO_NIBBLE 8
#define ZERO_BYTE   128

VEC_INLINE vec linear_start(enum linear_kind kind, int32_t sum)
{
    return vec_set32((kind == LINEAR_NIBBLES ? -ZERO_NIBBLE : -ZERO_BYTE) * sum);
}

VEC_INLINE vec linear_dot(enum linear_kind kind, vec sum, vec weights, vec input)
{
    (void)kind;
    return vec_dot(sum, weights, input);
}

VEC_INLINE vec linear_finish(enum linear_kind kind, vec sum)
{
    (void)kind;
    return sum;
}

VEC_INLINE vec linear_bytes(vec weights)
{
    return vec_xor(weights, vec_set8((char)ZERO_BYTE));
}

#endif
