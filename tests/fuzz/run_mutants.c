/* SPDX-License-Identifier: Apache-2.0 */
/* Loads images one after the other and says what became of each: what two targets, or one hart and
 * several, must agree on.
 *
 * usage: run_mutants HARTS FILL [HARTS FILL]... < images
 *
 * Each image comes behind its size, a little-endian u32, and is answered by a line: "refused
 * ERROR", or "stepped DIGEST...", one digest for each pair of arguments. Before each load the arena
 * is filled with the byte FILL: nothing may depend on what lies there. Built with the pool of
 * fibers.c the harts take turns in the worst order, and the pairs may have any number of harts;
 * built with the firmware's own pool they are threads, and all pairs must have the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if MUTANTS_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size)   ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

#include "engine/memory.h"
#include "common/limits.h"
#include "common/pool.h"
#include "tokenizer/tokenizer.h"
#include "gen/image_format.h"
#include "common/crc32c.h"
#include "jobs/run.h"
#include "port/hosted_harts.h"

#define MAX_PAIRS    4u
#define ARENA_BYTES  (1u << 20)
#define FILLED_BYTES (256u << 10) /* more than all but few take */
#define MAX_IMAGE    (4u << 20)
#define ZONE         4096u /* behind image and arena nothing may be touched */
#define FAR          258u  /* positions behind which attention has several partial results */
#define FAR_STEPS    9u
#define FAR_SHARE    32u /* one in so many images, by its root, goes so far */
#define SECONDS      60u

static struct {
    uint32_t harts;
    int fill;
} pairs[MAX_PAIRS];
static uint32_t pair_count;

static uint8_t *arena;
static struct port port;
static struct hosted_harts harts;
static struct engine engine;
static struct engine_row rows[LIMIT_ROWS];
static uint32_t crc;

static uint64_t zero(void)
{
    return 0;
}

/* ---- what is compared ---- */

static void add(uint32_t word)
{
    uint8_t bytes[4];
    le_put_u32(bytes, word);
    crc = crc32c_extend(crc, bytes, sizeof bytes);
}

static void add_logits(void)
{
    static const struct sampler_params greedy = {0.0f, 0, 1.0f, 0.0f, 1.0f, 0, 1};
    static const struct sampler_params warm = {0.9f, 40, 0.95f, 0.01f, 1.1f, 64, 7};
    for (uint32_t i = 0; engine_logits(&engine, i); i++) {
        add(run_digest(engine_logits(&engine, i), engine_info(&engine)->vocab));
        add(engine_sample(&engine, &greedy, 0, engine_logits(&engine, i)));
        add(engine_sample(&engine, &warm, 0, engine_logits(&engine, i)));
    }
}

static uint32_t token_at(uint32_t session, uint32_t position)
{
    return (7u * position + 3u * session + 1u) % engine_info(&engine)->vocab;
}

/* `count` more rows of a session behind those in `rows`; the last one wants logits. */
static uint32_t put_rows(uint32_t at, uint32_t session, uint32_t count)
{
    uint32_t first = engine_length(&engine, session);
    for (uint32_t i = 0; i < count; i++)
        rows[at + i] =
            (struct engine_row){session, first + i, token_at(session, first + i), i == count - 1u};
    return at + count;
}

static void step(uint32_t count)
{
    int error = engine_step(&engine, rows, count);
    add((uint32_t)error);
    if (!error)
        add_logits();
}

static uint32_t at_most(uint32_t count, uint32_t limit)
{
    return count < limit ? count : limit;
}

/* Prompts of several lengths, two sessions in one step, a roll-back, and one far prompt. */
static void use_model(void)
{
    static const uint32_t prompts[] = {1, 2, 8, 1};
    const struct engine_info *info = engine_info(&engine);
    uint32_t last = info->sessions - 1u;
    for (uint32_t i = 0; i < sizeof prompts / sizeof prompts[0]; i++)
        step(put_rows(0, 0, at_most(prompts[i], info->max_rows)));
    if (last && info->max_rows > 1)
        step(put_rows(put_rows(0, 0, 1), last, at_most(info->max_rows - 1u, 8)));
    add((uint32_t)engine_truncate(&engine, 0, engine_length(&engine, 0) / 2u));
    step(put_rows(0, 0, 1));
    if (info->root[0] % FAR_SHARE || info->context < FAR || info->max_rows * FAR_STEPS < FAR)
        return;
    while (engine_length(&engine, 0) < FAR)
        step(put_rows(0, 0, at_most(info->max_rows, FAR - engine_length(&engine, 0))));
    step(put_rows(0, 0, 1));
}

static void use_tokenizer(void)
{
    static const char text[] = "The quick  brown\n\nfox's 123 \xc3\xa9\xff.<|im_start|><s> <pad>x";
    static uint32_t ids[256];
    if (!engine_tokenizer(&engine)) {
        add((uint32_t)engine_tokenizer_error(&engine));
        return;
    }
    int count = tokenizer_encode(engine_tokenizer(&engine), (const uint8_t *)text, sizeof text - 1u,
                                 ids, 256);
    add((uint32_t)count);
    for (int i = 0; i < count; i++) {
        struct tokenizer_text part = tokenizer_decode(engine_tokenizer(&engine), ids[i]);
        add(ids[i]);
        crc = crc32c_extend(crc, part.at, part.size);
    }
}

/* Whether the image was accepted; then *digest is what it gave. */
static int run_pair(uint32_t pair, uint32_t *digest, int *error)
{
    uint64_t detail;
    memset(arena, pairs[pair].fill, FILLED_BYTES);
    port.harts = pairs[pair].harts;
    crc = 0;
    *error = engine_load(&engine, &detail);
    if (*error)
        return 0;
    uint64_t used = engine_info(&engine)->arena_bytes + engine_info(&engine)->runtime_bytes;
    ASAN_POISON_MEMORY_REGION(arena + used, ZONE);
    *error = engine_verify(&engine, &detail);
    if (!*error) {
        use_model();
        use_tokenizer();
        *digest = crc;
    }
    ASAN_UNPOISON_MEMORY_REGION(arena + used, ZONE);
    return !*error;
}

static void run_image(void)
{
    uint32_t digests[MAX_PAIRS];
    int error = 0;
    alarm(SECONDS);
    for (uint32_t i = 0; i < pair_count; i++)
        if (!run_pair(i, &digests[i], &error)) {
            printf("refused %d\n", error);
            return;
        }
    printf("stepped");
    for (uint32_t i = 0; i < pair_count; i++)
        printf(" %08x", digests[i]);
    printf("\n");
}

static int read_size(uint32_t *size)
{
    uint8_t bytes[4];
    if (fread(bytes, 1, sizeof bytes, stdin) != sizeof bytes)
        return 0;
    *size = le_u32(bytes);
    return *size <= MAX_IMAGE;
}

int main(int argc, char **argv)
{
    uint8_t *image = aligned_alloc(64, MAX_IMAGE + ZONE);
    uint32_t size;
    for (int i = 1; i + 1 < argc && pair_count < MAX_PAIRS; i += 2, pair_count++) {
        pairs[pair_count].harts = (uint32_t)atoi(argv[i]);
        pairs[pair_count].fill = atoi(argv[i + 1]);
    }
    if (!pair_count || !image)
        return 2;
    arena = aligned_alloc(64, ARENA_BYTES + ZONE);
    port = (struct port){.board = "mutants", .isa = "none", .harts = pairs[0].harts};
    port.instret = port.cycles = zero;
    if (!arena || hosted_start_harts(&harts, &port))
        return 2;
    engine_init(&engine, &port);
    while (read_size(&size)) {
        if (fread(image, 1, size, stdin) != size)
            return 2;
        ASAN_POISON_MEMORY_REGION(image + size, ZONE);
        port.memory = (struct port_memory){image, size, arena, ARENA_BYTES};
        run_image();
        ASAN_UNPOISON_MEMORY_REGION(image + size, ZONE);
        fflush(stdout);
    }
    return 0;
}
