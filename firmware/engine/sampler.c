/* SPDX-License-Identifier: Apache-2.0 */
/* The sampler: repetition penalty, top-k, top-p, min-p, temperature, draw, in this order.
 *
 * Every stage but the draw moves a cut (engine/choice.h). The draw goes by ids, so that the
 * candidates need no order.
 */
#include "engine/choice.h"
#include "engine/philox.h"
#include "gen/errors.h"

/* ---- parameters ---- */

/* Not a number is in no range. */
static int in_range(float value, float low, float high)
{
    return value >= low && value <= high;
}

int sampler_check(const struct sampler_params *params)
{
    if (!in_range(params->temperature, 0.0f, 100.0f) || !in_range(params->top_p, 1e-6f, 1.0f) ||
        !in_range(params->min_p, 0.0f, 1.0f) || !in_range(params->repeat_penalty, 0.01f, 100.0f))
        return E_PARAMETER;
    return 0;
}

/* ---- repetition penalty ---- */

/* Each token counts once: a bitmap of tokens done lies in the choice's memory, cleared only where
 * it is used. */
static void penalize(const struct engine *engine, const struct sampler_params *params,
                     uint32_t session, float *logits)
{
    uint8_t *done = (uint8_t *)engine->choice;
    uint32_t length = engine->sessions.all[session].length;
    uint32_t first = length > params->repeat_last ? length - params->repeat_last : 0;
    uint32_t oldest = session_oldest(&engine->sessions, session);

    if (params->repeat_penalty == 1.0f || params->repeat_last == 0)
        return;
    first = first > oldest ? first : oldest;
    for (uint32_t i = first; i < length; i++)
        done[engine_token(engine, session, i) / 8] = 0;
    for (uint32_t i = first; i < length; i++) {
        uint32_t token = engine_token(engine, session, i), bit = 1u << token % 8;
        float logit = logits[token];
        if (done[token / 8] & bit)
            continue;
        done[token / 8] |= (uint8_t)bit;
        logits[token] =
            logit > 0.0f ? logit / params->repeat_penalty : logit * params->repeat_penalty;
    }
}

/* ---- stages ---- */

/* The upper half of the product: a * b / 2^64. */
static uint64_t share_of(uint64_t a, uint64_t b)
{
    return (uint64_t)(((unsigned __int128)a * b) >> 64);
}

/* Uniform in [0, 2^64). */
static uint64_t draw_uniform(uint64_t seed, uint32_t position)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {position, 0, 0, 0};
    uint32_t out[4];

    philox_block(key, counter, out);
    return (uint64_t)out[1] << 32 | out[0];
}

/* Finite for every temperature, for 0 times infinity is not a number. */
static float inverse(float temperature)
{
    float factor = 1.0f / temperature;

    return factor < 0x1p127f ? factor : 0x1p127f;
}

uint32_t engine_sample(struct engine *engine, const struct sampler_params *params, uint32_t session,
                       float *logits)
{
    struct choice c;
    uint64_t uniform = draw_uniform(params->seed, engine->sessions.all[session].length);

    penalize(engine, params, session, logits);
    choice_open(&c, engine, logits);
    if (params->temperature == 0.0f || c.best - c.best != 0.0f)
        return c.first;
    if (params->top_k && params->top_k < c.vocab)
        choice_keep_count(&c, params->top_k);
    if (params->top_p < 1.0f) {
        struct choice_measure all = choice_weigh(&c, 1.0f);
        choice_keep(&c, all, share_of((uint64_t)(params->top_p * 0x1p64f), all.weight));
    }
    if (params->min_p > 0.0f)
        choice_keep_least(&c, params->min_p);
    struct choice_measure all = choice_weigh(&c, inverse(params->temperature));
    return choice_at(&c, share_of(uniform, all.weight));
}
