/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_HOSTED_PROCESSOR_H
#define PORT_HOSTED_PROCESSOR_H

/* What the processor of this machine can do, as kernel families name it (family.toml): a bit for
 * each feature that a family of this machine's is compiled for. */

#include <stdint.h>

#if defined(__x86_64__)
#define PROCESSOR_FMA        (1u << 0)
#define PROCESSOR_AVX2       (1u << 1)
#define PROCESSOR_AVXVNNI    (1u << 2)
#define PROCESSOR_AVX512F    (1u << 3)
#define PROCESSOR_AVX512BW   (1u << 4)
#define PROCESSOR_AVX512VL   (1u << 5)
#define PROCESSOR_AVX512VNNI (1u << 6)
#define PROCESSOR_V3         (1u << 7) /* all of x86-64-v3 */

/* What every part of the program but the port needs, and in words. */
#define PROCESSOR_BASE       PROCESSOR_V3
#define PROCESSOR_BASE_WORDS "x86-64-v3 (AVX2, FMA)"
#else
#define PROCESSOR_DOTPROD (1u << 0) /* AArch64's SDOT and UDOT */

#define PROCESSOR_BASE       0u
#define PROCESSOR_BASE_WORDS ""
#endif

/* The features that processor and operating system both have. */
uint32_t hosted_processor_features(void);

#endif
