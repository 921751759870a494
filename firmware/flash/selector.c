/* SPDX-License-Identifier: Apache-2.0 */
#include "flash/selector.h"

#include <string.h>

#include "common/crc32c.h"

static int is_record(const uint8_t *sector)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    uint8_t trial = selector_record_trial(sector);

    return !memcmp(sector, magic, sizeof magic) &&
           selector_record_crc(sector) ==
               crc32c_extend(0, sector, SELECTOR_RECORD_SIZE - sizeof(uint32_t)) &&
           selector_record_version(sector) == SELECTOR_VERSION &&
           selector_record_active(sector) < SELECTOR_SLOTS &&
           (trial < SELECTOR_SLOTS || trial == SELECTOR_NO_SLOT);
}

static void take_record(struct selector *s, uint32_t copy, const uint8_t *sector)
{
    s->copy = copy;
    s->sequence = selector_record_sequence(sector);
    s->active = selector_record_active(sector);
    s->trial = selector_record_trial(sector);
    s->tries = selector_record_tries(sector);
    for (uint32_t i = 0; i < SELECTOR_SLOTS; i++)
        s->bytes[i] = selector_record_bytes(sector, i);
}

int selector_open(struct selector *s, const struct selector_medium *medium)
{
    uint8_t sector[SELECTOR_SECTOR_BYTES];
    int found = 0, readable = 0, error = 0;

    memset(s, 0, sizeof *s);
    s->medium = medium;
    s->copy = 1; /* so that an empty medium gets its first record in copy 0 */
    s->trial = SELECTOR_NO_SLOT;
    for (uint32_t copy = 0; copy < SELECTOR_COPIES; copy++) {
        int failed = medium->read(medium->context, copy, sector);
        if (failed) {
            error = failed;
            continue;
        }
        readable = 1;
        if (!is_record(sector))
            continue;
        if (!found || (int32_t)(selector_record_sequence(sector) - s->sequence) > 0)
            take_record(s, copy, sector);
        found = 1;
    }
    return readable ? 0 : error;
}

/* The state as a new record over the older copy; on an error the state is what is on the medium. */
static int put_record(struct selector *s, const struct selector *next)
{
    static const uint8_t magic[] = SELECTOR_MAGIC_BYTES;
    uint8_t sector[SELECTOR_SECTOR_BYTES] = {0};
    uint32_t copy = (s->copy + 1) % SELECTOR_COPIES;

    memcpy(sector, magic, sizeof magic);
    selector_record_set_version(sector, SELECTOR_VERSION);
    selector_record_set_sequence(sector, s->sequence + 1);
    selector_record_set_active(sector, next->active);
    selector_record_set_trial(sector, next->trial);
    selector_record_set_tries(sector, next->tries);
    for (uint32_t i = 0; i < SELECTOR_SLOTS; i++)
        le_put_u64(sector + SELECTOR_RECORD_BYTES_OFFSET + i * sizeof(uint64_t), next->bytes[i]);
    selector_record_set_crc(sector,
                            crc32c_extend(0, sector, SELECTOR_RECORD_SIZE - sizeof(uint32_t)));
    int error = s->medium->write(s->medium->context, copy, sector);
    if (!error)
        take_record(s, copy, sector);
    return error;
}

static int end_trial(struct selector *s)
{
    struct selector next = *s;
    next.trial = SELECTOR_NO_SLOT;
    next.tries = 0;
    return put_record(s, &next);
}

int selector_choose(struct selector *s, uint32_t bad)
{
    struct selector next = *s;

    if (s->trial != SELECTOR_NO_SLOT && (!s->tries || bad >> s->trial & 1))
        end_trial(s);
    if (s->trial != SELECTOR_NO_SLOT && s->tries && !(bad >> s->trial & 1)) {
        next.tries = (uint8_t)(s->tries - 1);
        if (!put_record(s, &next))
            return s->trial;
    }
    for (uint32_t i = 0; i < SELECTOR_SLOTS; i++) {
        uint32_t slot = (s->active + i) % SELECTOR_SLOTS;
        if (!(bad >> slot & 1))
            return (int)slot;
    }
    return -1;
}

int selector_confirm(struct selector *s, uint32_t slot)
{
    struct selector next = *s;

    if (slot >= SELECTOR_SLOTS || slot != s->trial)
        return 0;
    next.active = (uint8_t)slot;
    next.trial = SELECTOR_NO_SLOT;
    next.tries = 0;
    return put_record(s, &next);
}

uint32_t selector_spare(const struct selector *s, uint32_t running)
{
    uint32_t kept = running < SELECTOR_SLOTS && running != s->trial ? running : s->active;
    return (kept + 1u) % SELECTOR_SLOTS;
}

int selector_begin(struct selector *s, uint32_t slot)
{
    struct selector next = *s;

    next.active = (uint8_t)((slot + 1u) % SELECTOR_SLOTS);
    next.trial = SELECTOR_NO_SLOT;
    next.tries = 0;
    next.bytes[slot] = 0;
    return put_record(s, &next);
}

int selector_finish(struct selector *s, uint32_t slot, uint64_t bytes)
{
    struct selector next = *s;

    next.trial = (uint8_t)slot;
    next.tries = SELECTOR_TRIALS;
    next.bytes[slot] = bytes;
    return put_record(s, &next);
}
