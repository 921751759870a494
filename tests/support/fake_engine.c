/* SPDX-License-Identifier: Apache-2.0 */
/* An engine without a model, for tests of the link: the next token is the last one plus one, modulo
 * the vocabulary, and logits say so. Environment variables of the test make it refuse, be slow or
 * be small. */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "common/limits.h"
#include "gen/errors.h"
#include "gen/image_format.h"
#include "kernels/kernels.h"

#define MAX_VOCAB 300u
#define CONTEXT   256u
#define MOST      20000u /* as a context */
#define SESSIONS  2u
#define ROWS      16u
#define LOGITS    4u

/* There is one a process. */
#define ENGINE       __attribute__((unused)) struct engine *engine
#define CONST_ENGINE __attribute__((unused)) const struct engine *engine

static uint32_t argmax(const float *x, uint32_t n)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++)
        if (x[i] > x[best] || x[best] != x[best])
            best = i;
    return best;
}

const struct kernel_table kernels = {.name = "fake", .argmax = argmax};

static struct engine_info info;
static int loaded;
static int verified;
static int (*poll_fn)(void *);
static void *poll_context;
static uint32_t lengths[SESSIONS];
static uint32_t history[SESSIONS][MOST];
static float logits[LOGITS][MAX_VOCAB];
static uint64_t steps;
static int stats_on;

static uint32_t setting(const char *name, uint32_t otherwise)
{
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

void engine_init(ENGINE, const struct port *port)
{
    (void)port;
    loaded = verified = 0;
}

int engine_load(ENGINE, uint64_t *detail)
{
    *detail = 7;
    int error = -(int)setting("FAKE_LOAD_ERROR", 0);
    if (error)
        return error;
    info = (struct engine_info){.output_kind = IMAGE_OUTPUT_KIND_LOGITS,
                                .output_width = setting("FAKE_VOCAB", MAX_VOCAB),
                                .vocab = setting("FAKE_VOCAB", MAX_VOCAB),
                                .context = setting("FAKE_CONTEXT", CONTEXT),
                                .max_rows = ROWS,
                                .max_logit_rows = LOGITS,
                                .sessions = SESSIONS,
                                .layers = 1,
                                .bos = IMAGE_NO_TENSOR,
                                .image_bytes = setting("FAKE_IMAGE_BYTES", 1234567),
                                .weight_bytes = 1000000,
                                .arena_bytes = 4096,
                                .runtime_bytes = 8192};
    memset(info.root, 0x5a, sizeof info.root);
    const char *root = getenv("FAKE_ROOT");
    for (uint32_t i = 0; root && i < sizeof info.root; i++) {
        char digits[3] = {root[2 * i], root[2 * i + 1], 0};
        info.root[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    loaded = 1;
    return 0;
}

/* While the file that the setting names is there, the engine works on. Returns E_CANCELLED where
 * the link wants it to stop. */
static int work_while_held(const char *name)
{
    const char *path = getenv(name);
    while (path && !access(path, F_OK)) {
        usleep(1000);
        if (poll_fn && poll_fn(poll_context))
            return E_CANCELLED;
    }
    return 0;
}

int engine_verify(ENGINE, uint64_t *detail)
{
    *detail = 3;
    (void)poll_fn(poll_context);
    (void)work_while_held("FAKE_VERIFY_HOLD");
    int error = -(int)setting("FAKE_VERIFY_ERROR", 0);
    verified = !error;
    return error;
}

struct tokenizer *engine_tokenizer(ENGINE)
{
    return NULL;
}

int engine_tokenizer_error(ENGINE)
{
    return 0;
}

const struct engine_info *engine_info(CONST_ENGINE)
{
    return loaded ? &info : NULL;
}

const struct engine_info *engine_model(CONST_ENGINE)
{
    return verified ? &info : NULL;
}

void engine_set_poll(ENGINE, int (*poll)(void *context), void *context)
{
    poll_fn = poll;
    poll_context = context;
}

int engine_step(ENGINE, const struct engine_row *rows, uint32_t count)
{
    uint32_t delay = setting("FAKE_STEP_US", 0);
    for (uint32_t op = 0; op < 10; op++) {
        if (delay)
            usleep(delay / 10u);
        if (poll_fn && poll_fn(poll_context))
            return E_CANCELLED;
    }
    if (!count || count > ROWS)
        return E_ROWS;
    if (rows[0].position >= setting("FAKE_HOLD_AT", CONTEXT) && work_while_held("FAKE_STEP_HOLD"))
        return E_CANCELLED;
    if (rows[count - 1].position >= info.context)
        return E_CONTEXT_FULL;
    uint32_t wanted = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct engine_row *row = &rows[i];
        if (row->position != lengths[row->session] || row->token >= info.vocab)
            return E_POSITION;
        history[row->session][lengths[row->session]++] = row->token;
        if (row->want_logits) {
            for (uint32_t v = 0; v < info.vocab; v++)
                logits[wanted][v] = v == (row->token + 1u) % info.vocab ? 10.0f : (float)(v % 7u);
            if (setting("FAKE_NAN", 0))
                logits[wanted][0] = __builtin_nanf("");
            wanted++;
        }
    }
    steps++;
    const char *mark = getenv("FAKE_MARK");
    if (mark && lengths[0] == setting("FAKE_MARK_AT", CONTEXT))
        (void)close(open(mark, O_CREAT | O_WRONLY, 0600));
    return 0;
}

float *engine_logits(CONST_ENGINE, uint32_t i)
{
    return logits[i];
}

uint32_t engine_length(CONST_ENGINE, uint32_t session)
{
    return lengths[session];
}

int engine_truncate(ENGINE, uint32_t session, uint32_t length)
{
    lengths[session] = length;
    return 0;
}

uint32_t engine_token(CONST_ENGINE, uint32_t session, uint32_t position)
{
    return history[session][position];
}

void engine_stats_enable(ENGINE, int on)
{
    stats_on = on;
}

void engine_stats_reset(ENGINE)
{
    steps = 0;
}

uint32_t engine_stats(CONST_ENGINE, struct engine_op_stats *out, uint32_t capacity, uint32_t first)
{
    for (uint32_t i = 0; i < capacity && first + i < 20u; i++)
        out[i] = (struct engine_op_stats){3, first + i, stats_on ? steps : 0, 5, 6};
    return 20u;
}

int sampler_check(const struct sampler_params *params)
{
    return params->temperature >= 0.0f && params->temperature < 100.0f ? 0 : E_PARAMETER;
}

uint32_t engine_sample(ENGINE, const struct sampler_params *params, uint32_t session, float *row)
{
    (void)params;
    (void)session;
    return argmax(row, info.vocab);
}

uint64_t engine_state_bytes(CONST_ENGINE, uint32_t session)
{
    return 4u * lengths[session];
}

uint64_t engine_state_history_bytes(CONST_ENGINE, uint32_t session)
{
    return 4u * lengths[session];
}

uint8_t *engine_state_at(CONST_ENGINE, uint32_t session, uint64_t offset, uint64_t *size)
{
    *size = 4u * lengths[session] - offset;
    return (uint8_t *)history[session] + offset;
}

uint32_t engine_high(CONST_ENGINE, uint32_t session)
{
    return lengths[session];
}

int engine_state_adopt(ENGINE, uint32_t session, uint32_t length, uint32_t high)
{
    (void)high;
    if (lengths[session])
        return E_POSITION;
    if (length > info.context)
        return E_CONTEXT_FULL;
    lengths[session] = length;
    return 0;
}

void engine_unload(ENGINE)
{
    loaded = verified = 0;
}

uint64_t engine_load_instret(CONST_ENGINE)
{
    return 0;
}
