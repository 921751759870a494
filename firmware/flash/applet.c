/* SPDX-License-Identifier: Apache-2.0 */
/* The selector as a program that U-Boot's `go` runs: it says which slot to load, and whether what
 * was loaded is whole. U-Boot's script (host/medium/uboot.py) reads and writes the medium:
 *
 *   go APPLET choose WORK                  sets hsp_slot, hsp_blocks, hsp_from, hsp_write
 *   go APPLET check WORK IMAGE LIMIT SLOT SELECTOR START_A SECTORS_A START_B SECTORS_B
 *                                          sets hsp_good; SELECTOR: its first sector
 *
 * Numbers are hexadecimal. WORK is memory: the selector's sectors as they lie on the medium, then a
 * word of slots known as bad, then text for `env import`. gp and tp are U-Boot's, and nothing
 * clears a bss: there are no variables outside functions. */
#include <stdint.h>
#include <string.h>

#include "image/hash.h"
#include "flash/handoff.h"
#include "flash/selector.h"
#include "gen/board.h"

#define SECTORS_BYTES (SELECTOR_COPIES * SELECTOR_COPY_STRIDE)
#define TEXT_OFFSET   (SECTORS_BYTES + 256u)
#define NOT_WRITTEN   ~0u
#define FENCE_I       ".word 0x0000100f" /* named only with Zifencei in the ISA */

/* A medium in memory; `written` is the copy that has changed since. */
struct work {
    uint8_t *base;
    uint32_t written;
};

static int work_read(void *context, uint32_t copy, uint8_t *sector)
{
    const struct work *work = context;
    memcpy(sector, work->base + copy * SELECTOR_COPY_STRIDE, SELECTOR_SECTOR_BYTES);
    return 0;
}

static int work_write(void *context, uint32_t copy, const uint8_t *sector)
{
    struct work *work = context;
    memcpy(work->base + copy * SELECTOR_COPY_STRIDE, sector, SELECTOR_SECTOR_BYTES);
    work->written = copy;
    return 0;
}

static uint64_t parse_hex(const char *text)
{
    uint64_t value = 0;
    if (text[0] == '0' && (text[1] | 32) == 'x')
        text += 2;
    for (; *text; text++)
        value = value << 4 | (uint32_t)(*text <= '9' ? *text - '0' : (*text | 32) - 'a' + 10);
    return value;
}

static char *put_text(char *to, const char *text)
{
    while (*text)
        *to++ = *text++;
    *to = 0;
    return to;
}

static char *put_hex(char *to, uint64_t value)
{
    int shift = 60;
    while (shift && !(value >> shift & 15))
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *to++ = "0123456789abcdef"[value >> shift & 15];
    *to = 0;
    return to;
}

/* Sectors of 512 bytes to be read for the slot's image; 0 where the record does not know. */
static void put_choice(const struct selector *s, const struct work *work, int slot)
{
    char *to = (char *)work->base + TEXT_OFFSET;
    to = put_text(to, "hsp_slot=");
    to = put_text(to, slot < 0 ? "none" : slot ? "b" : "a");
    to = put_text(to, "\nhsp_blocks=");
    to = put_hex(to, slot < 0 ? 0 : (s->bytes[slot] + 511) / 512);
    to = put_text(to, "\nhsp_from=");
    if (work->written != NOT_WRITTEN)
        to = put_hex(to, (uintptr_t)work->base + work->written * SELECTOR_COPY_STRIDE);
    to = put_text(to, "\nhsp_write=");
    if (work->written != NOT_WRITTEN)
        to = put_hex(to, work->written * SELECTOR_COPY_STRIDE / 512);
    put_text(to, "\n");
}

static void choose(uint8_t *base)
{
    struct work work = {base, NOT_WRITTEN};
    struct selector_medium medium = {&work, work_read, work_write};
    struct selector s;

    selector_open(&s, &medium);
    put_choice(&s, &work, selector_choose(&s, le_u32(base + SECTORS_BYTES)));
}

static int is_whole(const uint8_t *base, uint64_t limit)
{
    struct image image;
    uint64_t detail;

    if (image_open(&image, base, limit, &detail))
        return 0;
    for (uint64_t leaf = 0; leaf < hash_leaves(&image); leaf++)
        if (!hash_leaf_is_good(&image, leaf))
            return 0;
    return 1;
}

static void check(char *const argv[])
{
    uint8_t *base = (uint8_t *)parse_hex(argv[2]);
    struct handoff handoff = {.slot = argv[5][0] == 'b', .selector = (uint32_t)parse_hex(argv[6])};
    for (uint32_t i = 0; i < SELECTOR_SLOTS; i++) {
        handoff.start[i] = (uint32_t)parse_hex(argv[7 + 2 * i]);
        handoff.sectors[i] = (uint32_t)parse_hex(argv[8 + 2 * i]);
    }
    int good = is_whole((const uint8_t *)parse_hex(argv[3]), parse_hex(argv[4]));

    if (!good)
        le_put_u32(base + SECTORS_BYTES, le_u32(base + SECTORS_BYTES) | 1u << handoff.slot);
    if (!good)
        handoff.slot = SELECTOR_NO_SLOT;
    handoff_write((uint8_t *)(uintptr_t)BOARD_HANDOFF, &handoff);
    put_text((char *)base + TEXT_OFFSET, good ? "hsp_good=1\n" : "hsp_good=0\n");
}

/* Entered at the first byte of the file; returns to U-Boot, 0 where the words were understood. */
int _start(int argc, char *const argv[]);
__attribute__((section(".text.start"))) int _start(int argc, char *const argv[])
{
    __asm__ volatile(FENCE_I : : : "memory");
    if (argc == 3 && argv[1][0] == 'c' && argv[1][2] == 'o')
        choose((uint8_t *)parse_hex(argv[2]));
    else if (argc == 7 + 2 * SELECTOR_SLOTS && argv[1][0] == 'c' && argv[1][2] == 'e')
        check(argv);
    else
        return 1;
    return 0;
}
