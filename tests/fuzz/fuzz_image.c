/* SPDX-License-Identifier: Apache-2.0 */
/* libFuzzer target: the image loader, and steps of what it accepts.
 *
 * The input chooses one of the images in $FUZZ_IMAGES (paths with ':' between) and edits what the
 * loader reads of it, word by word. Digests are all zeros here, so that every edit gets behind
 * them; image and arena are allocations of exactly their sizes, between AddressSanitizer's zones.
 * Steps take most of the time: of the inputs, one in STEPPED gets them.
 */

#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/memory.h"
#include "common/limits.h"
#include "common/pool.h"
#include "common/blake2b.h"
#include "common/sha256.h"
#include "tokenizer/tokenizer.h"
#include "gen/image_format.h"
#include "kernels/kernels.h"

#ifndef EVERY_EDIT
#define EVERY_EDIT 0
#endif

#define MAX_IMAGES  8u
#define MAX_WORDS   (1u << 18)
#define EDIT_BYTES  7u
#define MAX_EDITS   24u
#define ROWS_A_TURN 16u
#define STEPPED     64u

enum edit { SET, ADD, COPY, XOR_BYTE, SHIFT, COPY_RECORD, CUT };

struct base {
    uint8_t *bytes; /* as they were read */
    uint8_t *image; /* for edits */
    uint8_t *arena;
    uint32_t size;
    uint64_t arena_size;
    uint32_t *words; /* offsets of what the loader reads */
    uint32_t word_count;
};

static struct base bases[MAX_IMAGES];
static uint32_t base_count;

static struct {
    uint32_t at[MAX_EDITS], size[MAX_EDITS], count;
} edited;

void sha256_digest(const uint8_t *data, uint64_t size, uint8_t digest[SHA256_BYTES])
{
    (void)data;
    (void)size;
    memset(digest, 0, SHA256_BYTES);
}

void blake2b_digest(const struct blake2b_node *node, const uint8_t *data, uint64_t size,
                    uint8_t digest[BLAKE2B_BYTES])
{
    (void)node;
    (void)data;
    (void)size;
    memset(digest, 0, BLAKE2B_BYTES);
}

static uint64_t zero(void)
{
    return 0;
}

static struct engine engine;
static struct pool pool;
static struct port port = {
    .board = "fuzz", .isa = "none", .harts = 1, .pool = &pool, .instret = zero, .cycles = zero};

/* ---- the images ---- */

static void add_words(struct base *base, uint64_t offset, uint64_t size)
{
    for (uint64_t at = offset; at + 4u <= offset + size && base->word_count < MAX_WORDS; at += 4u)
        base->words[base->word_count++] = (uint32_t)at;
}

static void find_words(struct base *base)
{
    uint32_t count = image_header_section_count(base->bytes);
    base->words = malloc(MAX_WORDS * sizeof *base->words);
    add_words(base, 0, 72);
    add_words(base, IMAGE_SECTION_TABLE_OFFSET, (uint64_t)count * IMAGE_SECTION_SIZE);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = base->bytes + IMAGE_SECTION_TABLE_OFFSET + i * IMAGE_SECTION_SIZE;
        uint32_t id = image_section_id(entry);
        uint64_t offset = image_section_offset(entry), size = image_section_size(entry);
        if (id == IMAGE_SECTION_ID_HASHES)
            memset(base->bytes + offset, 0, size);
        else if (id <= IMAGE_SECTION_ID_PROGRAM || id == IMAGE_SECTION_ID_BPE ||
                 id == IMAGE_SECTION_ID_TOKENS)
            add_words(base, offset, size);
    }
    memset(base->bytes + IMAGE_HEADER_ROOT_OFFSET, 0, IMAGE_HASH_BYTES);
    memset(base->bytes + IMAGE_HEADER_DIGEST_OFFSET, 0, IMAGE_HASH_BYTES);
}

static void place(const struct base *base, uint64_t limit)
{
    ASAN_POISON_MEMORY_REGION(base->image + limit, base->size - limit);
    port.memory = (struct port_memory){base->image, limit, base->arena, base->arena_size};
}

/* What a load and steps of the image as it is take of the arena. */
static uint64_t arena_needed(struct base *base)
{
    uint64_t detail;
    base->arena_size = 1u << 24;
    base->arena = aligned_alloc(64, base->arena_size);
    place(base, base->size);
    if (engine_load(&engine, &detail) || engine_verify(&engine, &detail))
        abort();
    free(base->arena);
    return engine_info(&engine)->arena_bytes + engine_info(&engine)->runtime_bytes;
}

static void read_base(const char *path)
{
    struct base *base = &bases[base_count];
    FILE *file = fopen(path, "rb");
    if (!file || base_count == MAX_IMAGES)
        abort();
    fseek(file, 0, SEEK_END);
    base->size = (uint32_t)ftell(file);
    base->bytes = malloc(base->size);
    rewind(file);
    if (fread(base->bytes, 1, base->size, file) != base->size)
        abort();
    fclose(file);
    find_words(base);
    base->image = aligned_alloc(64, base->size);
    memcpy(base->image, base->bytes, base->size);
    base->arena_size = arena_needed(base);
    base->arena = aligned_alloc(64, base->arena_size);
    base_count++;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *paths = getenv("FUZZ_IMAGES");
    (void)argc;
    (void)argv;
    if (!paths) {
        fputs("FUZZ_IMAGES names no image to edit; tools/assure.sh sets it\n", stderr);
        exit(2);
    }
    pool_init(&pool, &port);
    engine_init(&engine, &port);
    char *list = strdup(paths);
    for (char *path = strtok(list, ":"); path; path = strtok(NULL, ":"))
        read_base(path);
    free(list);
    return 0;
}

/* ---- edits ---- */

static void note(uint32_t at, uint32_t size)
{
    edited.at[edited.count] = at;
    edited.size[edited.count++] = size;
}

static void undo(const struct base *base)
{
    ASAN_UNPOISON_MEMORY_REGION(base->image, base->size);
    for (uint32_t i = 0; i < edited.count; i++)
        memcpy(base->image + edited.at[i], base->bytes + edited.at[i], edited.size[i]);
    edited.count = 0;
}

static void copy_record(const struct base *base, uint32_t to, uint32_t from)
{
    if (to > base->size - IMAGE_OP_BYTES || from > base->size - IMAGE_OP_BYTES)
        return;
    memmove(base->image + to, base->image + from, IMAGE_OP_BYTES);
    note(to, IMAGE_OP_BYTES);
}

static uint64_t apply(const struct base *base, const uint8_t *edit, uint64_t limit)
{
    uint32_t value = le_u32(edit + 3);
    uint32_t at = base->words[(le_u16(edit) * 4u + (edit[2] >> 3 & 3u)) % base->word_count];
    uint32_t from = base->words[value % base->word_count];
    uint8_t *to = base->image + at;
    uint32_t word = le_u32(to), kind = edit[2] % 8u;
    if (kind == CUT)
        return value % (base->size + 1u);
    if (kind == COPY_RECORD)
        copy_record(base, at, from);
    else
        note(at, 4u);
    switch (kind) {
    case SET:
        le_put_u32(to, value);
        break;
    case ADD:
        le_put_u32(to, word + (uint32_t)(int8_t)value);
        break;
    case COPY:
        le_put_u32(to, le_u32(base->image + from));
        break;
    case XOR_BYTE:
        to[value >> 8 & 3u] ^= (uint8_t)value;
        break;
    case SHIFT:
        le_put_u32(to, value & 32u ? word >> (value & 31u) : word << (value & 31u));
        break;
    }
    return limit;
}

/* ---- use ---- */

static void step_rows(const struct engine_info *info, uint32_t session)
{
    struct engine_row rows[ROWS_A_TURN];
    uint32_t first = engine_length(&engine, session), count = info->max_rows / 2u;
    count = count < ROWS_A_TURN ? count : ROWS_A_TURN;
    for (uint32_t i = 0; i < count; i++)
        rows[i] = (struct engine_row){session, first + i, (7u * i + session) % info->vocab,
                                      i == count - 1u};
    if (!count || engine_step(&engine, rows, count))
        return;
    struct sampler_params params = {0.9f, 0, 0.9f, 0.0f, 1.1f, 64, 1};
    if (engine_logits(&engine, 0) &&
        engine_sample(&engine, &params, session, engine_logits(&engine, 0)) >= info->vocab)
        abort();
}

static void use_tokenizer(void)
{
    static const char text[] = "The quick  brown\n\nfox's 123 \xc3\xa9\xff.<|im_start|>";
    uint32_t ids[128];
    volatile uint8_t sum = 0;
    int count = engine_tokenizer(&engine)
                    ? tokenizer_encode(engine_tokenizer(&engine), (const uint8_t *)text,
                                       sizeof text - 1u, ids, 128)
                    : 0;
    for (int i = 0; i < count; i++) {
        struct tokenizer_text part = tokenizer_decode(engine_tokenizer(&engine), ids[i]);
        for (uint32_t k = 0; k < part.size; k++)
            sum ^= part.at[k];
    }
}

/* Bounded: a vocabulary of a million or a context of four is as harmless, but slow. */
static void use(uint32_t turns)
{
    const struct engine_info *info = engine_info(&engine);
    for (uint32_t turn = 0; turn < turns; turn++)
        for (uint32_t session = 0; session < info->sessions && session < turns; session++)
            step_rows(info, session);
    (void)engine_truncate(&engine, 0, engine_length(&engine, 0) / 2u);
    struct engine_row last = {0, engine_length(&engine, 0), info->vocab - 1u, 1};
    (void)engine_step(&engine, &last, 1);
    use_tokenizer();
}

/* Whether what the edits made was accepted. */
static int try_edits(const uint8_t *data, size_t size, uint32_t turns)
{
    uint64_t detail;
    const struct base *base = &bases[data[0] % base_count];
    uint64_t limit = base->size;
    for (uint32_t i = 0; i < MAX_EDITS && (i + 1u) * EDIT_BYTES < size; i++)
        limit = apply(base, data + 1u + i * EDIT_BYTES, limit);
    place(base, limit);
    int accepted = !engine_load(&engine, &detail) && !engine_verify(&engine, &detail);
    if (accepted && turns)
        use(turns);
    else if (accepted)
        (void)engine_tokenizer_error(&engine);
    undo(base);
    return accepted;
}

#if EVERY_EDIT
/* All other values of all bytes that the loader reads, or each $EDIT_STRIDE-th of them. */
int main(void)
{
    uint64_t tried = 0, accepted = 0;
    uint32_t stride = (uint32_t)atoi(getenv("EDIT_STRIDE"));
    LLVMFuzzerInitialize(NULL, NULL);
    for (uint32_t which = 0; which < base_count; which++)
        for (uint32_t at = 0; at < bases[which].word_count * 4u; at++)
            for (uint32_t value = 1 + at % stride; value < 256u; value += stride, tried++) {
                uint32_t word = at / 4u;
                uint8_t edit[1 + EDIT_BYTES] = {(uint8_t)which};
                le_put_u16(edit + 1, (uint16_t)(word / 4u));
                edit[3] = (uint8_t)(word % 4u << 3 | XOR_BYTE);
                edit[4] = (uint8_t)value;
                edit[5] = (uint8_t)(at % 4u);
                accepted += (uint64_t)try_edits(edit, sizeof edit, 1);
            }
    printf("%llu edits: %llu refused, %llu accepted and stepped\n", (unsigned long long)tried,
           (unsigned long long)(tried - accepted), (unsigned long long)accepted);
    return 0;
}
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t hash = 2166136261u; /* FNV-1a: the same input is always stepped, or never */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 16777619u;
    if (size)
        (void)try_edits(data, size, (hash >> 16) % STEPPED ? 0 : 2);
    return 0;
}
#endif
