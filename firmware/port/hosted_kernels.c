/* SPDX-License-Identifier: Apache-2.0 */
#include "port/hosted_kernels.h"

#include <stdio.h>
#include <string.h>

#include "gen/formats.h"
#include "kernels/kernels.h"
#include "port/hosted_processor.h"

static char words[256];

#if KERNELS_CHOSEN

#if defined(__x86_64__)
#define FAMILIES KERNELS_OF_X86_64
#elif defined(__aarch64__)
#define FAMILIES KERNELS_OF_AARCH64
#endif

struct kernel_table kernels;

struct family {
    const char *name;
    const char *words; /* what a processor has that runs it */
    uint32_t features;
    const struct kernel_table *table;
};

#define DECLARE(family, features, words) extern const struct kernel_table family##_kernels;
FAMILIES(DECLARE)

/* The best first. */
#define ENTRY(family, features, words) {#family, words, features, &family##_kernels},
static const struct family families[] = {FAMILIES(ENTRY)};
#define COUNT (sizeof families / sizeof *families)

static const char *unknown(const char *name)
{
    size_t used =
        (size_t)snprintf(words, sizeof words, "no kernels %.32s are built; there are", name);
    for (size_t i = 0; i < COUNT && used < sizeof words; i++)
        used += (size_t)snprintf(words + used, sizeof words - used, " %s", families[i].name);
    return words;
}

const char *hosted_choose_kernels(const char *name)
{
    uint32_t features = hosted_processor_features();
    if ((features & PROCESSOR_BASE) != PROCESSOR_BASE)
        return "this processor has no " PROCESSOR_BASE_WORDS ", for which this program is built: "
               "take another target, such as qemu-virt";
    int named = name && *name;
    for (size_t i = 0; i < COUNT; i++) {
        const struct family *f = &families[i];
        int able = (features & f->features) == f->features;
        if (named ? !strcmp(name, f->name) : able) {
            snprintf(words, sizeof words, "this processor has no %s, which kernels %s need",
                     f->words, f->name);
            if (!able)
                return words;
            kernels = *f->table;
            return NULL;
        }
    }
    return unknown(name);
}

#else

const char *hosted_choose_kernels(const char *name)
{
    if (!name || !*name || !strcmp(name, kernels.name))
        return NULL;
    snprintf(words, sizeof words, "no kernels %.32s are built; there are %s", name, kernels.name);
    return words;
}

#endif
