/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BOOT_STRING_H
#define BOOT_STRING_H

/* What a bare-metal firmware has of <string.h>: boot/memory.c. */

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif
