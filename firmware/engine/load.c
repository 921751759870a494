/* SPDX-License-Identifier: Apache-2.0 */
/* Loading: the image checked part by part, the arena carved up. */
#include <string.h>

#include "common/checked.h"
#include "common/pool.h"
#include "engine/memory.h"
#include "gen/errors.h"
#include "image/hash.h"

/* ---- memory ---- */

struct carver {
    uint8_t *next;
};

/* Every part is padded to 64 bytes: a cache line, and what the widest vector load likes. */
static void *carve(struct carver *carver, uint64_t bytes)
{
    uint8_t *part = carver->next;

    carver->next += checked_align(bytes, 64);
    return part;
}

/* The order and sizes of runtime_bytes() in host/schema/image.py. */
static void carve_runtime(struct engine *engine)
{
    struct carver carver = {engine->port->memory.arena + engine->plan.arena_bytes};
    struct sessions *s = &engine->sessions;
    uint32_t *tables = carve(&carver, engine->plan.pages * 4);

    s->count = engine->plan.sessions;
    s->context = engine->plan.context;
    s->states = engine->states;
    s->state_count = engine->plan.state_count;
    for (uint32_t i = 0; i < s->state_count; i++) {
        engine->states[i].table = tables;
        tables += (uint64_t)engine->states[i].pages * s->count;
    }
    s->free = carve(&carver, engine->plan.pages * 4);
    s->references = carve(&carver, engine->plan.pages * 4);
    for (uint32_t i = 0; i < s->count; i++)
        s->all[i].history = carve(&carver, (uint64_t)s->context * 4);
    engine->choice = carve(&carver, (uint64_t)engine->plan.vocab * 8);
    engine->pages = s->pool = carver.next;
    s->page_stride = engine->plan.page_stride;
    session_init(s, (uint32_t)engine->plan.pages);
}

static int check_fit(const struct engine *engine, uint64_t *detail)
{
    uint64_t need = checked_add(engine->plan.arena_bytes, engine->plan.runtime_bytes);

    if (need <= engine->port->memory.arena_size)
        return 0;
    *detail = need - engine->port->memory.arena_size;
    return E_ARENA_SMALL;
}

/* ---- facts ---- */

static void fill_info(struct engine *engine)
{
    const uint8_t *p = engine->image.parts[IMAGE_SECTION_ID_PLAN].data;
    struct engine_info *info = &engine->info;

    info->vocab = engine->plan.vocab;
    info->context = engine->plan.context;
    info->max_rows = engine->plan.max_rows;
    info->max_logit_rows = engine->plan.max_logit_rows;
    info->sessions = engine->plan.sessions;
    info->layers = image_plan_layers(p);
    info->overflow = engine->plan.overflow;
    info->output_kind = engine->plan.output_kind;
    info->output_width = engine->plan.output_width;
    info->whole = engine->plan.whole;
    info->bos = image_plan_bos(p);
    info->stop_count = image_plan_stop_count(p);
    for (uint32_t i = 0; i < info->stop_count; i++)
        info->stop_ids[i] = image_plan_stop_ids(p, i);
    info->image_bytes = engine->image.size;
    info->weight_bytes = engine->image.parts[IMAGE_SECTION_ID_WEIGHTS].size;
    info->arena_bytes = engine->plan.arena_bytes;
    info->runtime_bytes = engine->plan.runtime_bytes;
    memcpy(info->root, engine->image.base + IMAGE_HEADER_ROOT_OFFSET, sizeof info->root);
}

static int read_program(struct engine *engine, uint64_t *detail)
{
    int error = image_read_ops(&engine->image, &engine->plan, engine->states,
                               engine->port->memory.arena, engine->ops, &engine->flow, detail);

    if (error)
        return error;
    for (uint32_t i = 0; i < engine->plan.op_count; i++) {
        engine->stats[i].id = engine->ops[i].id;
        engine->stats[i].weight = engine->ops[i].weight;
    }
    return 0;
}

static int read_image(struct engine *engine, uint64_t *detail)
{
    const struct port_memory *memory = &engine->port->memory;
    int error = image_open(&engine->image, memory->image, memory->image_limit, detail);

    error = error ? error : image_read_plan(&engine->image, &engine->plan, detail);
    error = error ? error : image_check_tensors(&engine->image, &engine->plan, detail);
    error =
        error ? error : image_read_states(&engine->image, &engine->plan, engine->states, detail);
    error = error ? error : check_fit(engine, detail);
    return error ? error : read_program(engine, detail);
}

static int load(struct engine *engine, uint64_t *detail)
{
    int error;

    engine->loaded = engine->verified = engine->tokenizer_known = engine->stats_on = 0;
    engine->logit_count = 0;
    memset(engine->stats, 0, sizeof engine->stats);
    memset(&engine->info, 0, sizeof engine->info);
    *detail = 0;
    error = read_image(engine, detail);
    if (error)
        return error;
    engine->logits = (float *)(void *)(engine->port->memory.arena + engine->plan.logits_offset);
    carve_runtime(engine);
    fill_info(engine);
    *detail = 0;
    engine->loaded = 1;
    return 0;
}

int engine_load(struct engine *engine, uint64_t *detail)
{
    uint64_t before = engine->port->instret();
    int error = load(engine, detail);

    engine->load_instret = engine->port->instret() - before;
    return error;
}

size_t engine_bytes(void)
{
    return sizeof(struct engine);
}

void engine_init(struct engine *engine, const struct port *port)
{
    engine->port = port;
    engine->poll = NULL;
    engine->load_instret = 0;
    engine_unload(engine);
}

uint64_t engine_load_instret(const struct engine *engine)
{
    return engine->load_instret;
}

const struct engine_info *engine_info(const struct engine *engine)
{
    return engine->loaded ? &engine->info : NULL;
}

const struct engine_info *engine_model(const struct engine *engine)
{
    return engine->verified ? &engine->info : NULL;
}

/* Reading it all takes several times what the rest of a load does, and few lines are ever typed. */
static int read_tokenizer(struct engine *engine)
{
    if (!engine->tokenizer_known) {
        engine->tokenizer_error =
            tokenizer_read(&engine->image, engine->plan.vocab, &engine->tokenizer);
        engine->tokenizer_known = 1;
    }
    return engine->tokenizer_error;
}

struct tokenizer *engine_tokenizer(struct engine *engine)
{
    return engine->loaded && !read_tokenizer(engine) && engine->tokenizer.vocab ? &engine->tokenizer
                                                                                : NULL;
}

int engine_tokenizer_error(struct engine *engine)
{
    return engine->loaded ? read_tokenizer(engine) : 0;
}

/* ---- hashes ---- */

struct verification {
    const struct engine *engine;
    uint64_t leaves;
    uint64_t bad[POOL_MAX_HARTS]; /* first wrong leaf that a hart found; `leaves`: none */
};

static void verify_leaves(void *context, uint32_t hart, uint32_t harts)
{
    struct verification *v = context;
    const struct engine *engine = v->engine;

    v->bad[hart] = v->leaves;
    for (uint64_t leaf = hart; leaf < v->leaves; leaf += harts) {
        if (!hash_leaf_is_good(&engine->image, leaf)) {
            v->bad[hart] = leaf;
            return;
        }
        if (hart == 0 && engine->poll)
            (void)engine->poll(engine->poll_context);
    }
}

int engine_verify(struct engine *engine, uint64_t *detail)
{
    struct verification v;
    uint64_t bad;

    *detail = 0;
    if (!engine->loaded)
        return E_NOT_READY;
    v.engine = engine;
    v.leaves = hash_leaves(&engine->image);
    bad = v.leaves;
    for (uint32_t i = 0; i < POOL_MAX_HARTS; i++)
        v.bad[i] = v.leaves;
    pool_run(engine->port->pool, verify_leaves, &v);
    for (uint32_t i = 0; i < POOL_MAX_HARTS; i++)
        bad = v.bad[i] < bad ? v.bad[i] : bad;
    *detail = bad < v.leaves ? bad : 0;
    engine->verified = bad == v.leaves;
    return engine->verified ? 0 : E_IMAGE_HASH;
}
