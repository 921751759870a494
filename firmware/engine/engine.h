/* SPDX-License-Identifier: Apache-2.0 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

/* The engine: checks an image once, then executes its program over rows.
 *
 * An engine is a struct that its caller holds (engine/memory.h) and hands to every function; no
 * function keeps anything anywhere else. Beside it memory is the image (read only, in place) and
 * the arena that the port gives; nothing is allocated. Two engines may run in one program: each at
 * its own time on the harts of one port, or at once on two ports with harts of their own. Each
 * needs a struct port with memory of its own, which may otherwise be a copy of the other's.
 *
 * A function that takes a const engine may be called from the engine's poll; of the others only
 * the statistics may. After engine_load() returned 0 no op can fail: engine_step() checks its
 * rows, and that is all there is to check.
 */

#include <stddef.h>
#include <stdint.h>

#include "common/port.h"

struct engine;
struct tokenizer;

struct engine_row {
    uint32_t session;
    uint32_t position; /* the session's length, of a whole sequence 0, plus the rows of it that
                          stand before this one */
    uint32_t token;
    uint32_t want_logits; /* at most max_logit_rows of a step */
};

/* Facts of the loaded model, from its plan. */
struct engine_info {
    uint32_t vocab;
    uint32_t context;
    uint32_t max_rows;
    uint32_t max_logit_rows;
    uint32_t sessions;
    uint32_t layers;
    uint32_t overflow;     /* IMAGE_OVERFLOW_* */
    uint32_t output_kind;  /* IMAGE_OUTPUT_KIND_* */
    uint32_t output_width; /* floats of a result */
    uint32_t whole;        /* a step takes whole sequences: sessions are empty before it */
    uint32_t bos;          /* IMAGE_NO_TENSOR: none */
    uint32_t stop_count;
    uint32_t stop_ids[8];
    uint64_t image_bytes;
    uint64_t weight_bytes;
    uint64_t arena_bytes;   /* activations */
    uint64_t runtime_bytes; /* KV pages and the like, all sessions */
    uint8_t root[32];
};

/* What one op cost since engine_stats_reset(), summed over steps, as hart 0 saw it. */
struct engine_op_stats {
    uint32_t id;     /* IMAGE_OP_ID_* */
    uint32_t weight; /* tensor index for LINEAR, else IMAGE_NO_TENSOR */
    uint64_t calls;
    uint64_t instret;
    uint64_t cycles;
};

/* Before all else. The port stays the caller's and must outlive the engine; its memory may change
 * between a load and the next. No poll is set and no model loaded. */
void engine_init(struct engine *engine, const struct port *port);

/* Bytes of a struct engine, for who cannot include engine/memory.h; it is aligned to 64. */
size_t engine_bytes(void);

/* Checks everything but the weights' hashes and the tokenizer's tables, and prepares the engine.
 * detail receives what the error is about (section id, tensor, op or state index, or for
 * E_ARENA_SMALL the missing bytes). Returns 0 or an image error. */
int engine_load(struct engine *engine, uint64_t *detail);

/* Instructions that the last engine_load() took; 0 where they cannot be counted. */
uint64_t engine_load_instret(const struct engine *engine);

/* Checks the hash tree, on all harts; must have returned 0 before the first step. Returns 0,
 * E_IMAGE_HASH with the first wrong leaf in detail, or E_NOT_READY. */
int engine_verify(struct engine *engine, uint64_t *detail);

/* NULL before engine_load() succeeded. */
const struct engine_info *engine_info(const struct engine *engine);

/* The same of a model that engine_verify() has found good, which steps may use; else NULL. */
const struct engine_info *engine_model(const struct engine *engine);

/* The first call after a load checks the tables. NULL where the image has none to tokenize with, or
 * damaged ones. */
struct tokenizer *engine_tokenizer(struct engine *engine);

/* E_IMAGE_BPE where the loaded image has damaged tables, E_IMAGE_NEW where it has newer ones than
 * this firmware knows, else 0. */
int engine_tokenizer_error(struct engine *engine);

/* Called by hart 0 between ops; a non-zero return abandons the step before lengths advance. */
void engine_set_poll(struct engine *engine, int (*poll)(void *context), void *context);

/* Runs the rows. Rows of one session stand in ascending positions. On success each session's length
 * has grown by its rows; a model that reads whole sequences wants them empty before the next step.
 * Returns 0, E_ROWS, E_SESSION, E_POSITION, E_TOKEN, E_CONTEXT_FULL,
 * E_NOT_READY or E_CANCELLED; on an error nothing has changed. */
int engine_step(struct engine *engine, const struct engine_row *rows, uint32_t count);

/* Logits, or another result, of the i-th row that wanted them in the last step: output_width
 * floats, valid until the next step. NULL where there is no such row, or the last step failed. */
float *engine_logits(const struct engine *engine, uint32_t i);

uint32_t engine_length(const struct engine *engine, uint32_t session);

/* Rolls a session back to `length` positions; 0 empties it. Returns 0, E_SESSION, E_POSITION
 * (beyond the length) or E_ROLLBACK. */
int engine_truncate(struct engine *engine, uint32_t session, uint32_t length);

/* Tokens of the session as they were stepped: the token at `position`, for repetition penalties.
 * IMAGE_NO_TENSOR where the session has none, or a sliding context has overwritten it. */
uint32_t engine_token(const struct engine *engine, uint32_t session, uint32_t position);

/* ---- a session as bytes, to be carried away and back; the session must exist ---- */

/* The newest tokens that the context holds, u32 each, in a ring by position; then what each state
 * keeps. Sizes follow from the session's length and engine_high(). */
uint64_t engine_state_bytes(const struct engine *engine, uint32_t session);
uint64_t engine_state_history_bytes(const struct engine *engine, uint32_t session);

/* The bytes from `offset` on, `*size` of them in one piece; NULL behind the end. */
uint8_t *engine_state_at(const struct engine *engine, uint32_t session, uint64_t offset,
                         uint64_t *size);

/* Positions ever written since the session was empty: more than its length after a roll-back. */
uint32_t engine_high(const struct engine *engine, uint32_t session);

/* Gives an empty session a length, its tokens 0 and the rest whatever lay there. Returns 0,
 * E_POSITION (it is not empty), E_CONTEXT_FULL or E_ROLLBACK. */
int engine_state_adopt(struct engine *engine, uint32_t session, uint32_t length, uint32_t high);

/* Forgets the model; engine_load() may follow. */
void engine_unload(struct engine *engine);

/* Per-op statistics in the order of the program; counting costs nothing while off, and
 * engine_load() turns it off. engine_stats() fills `out` with up to `capacity` ops from `first` on
 * and returns how many ops there are. */
void engine_stats_enable(struct engine *engine, int on);
void engine_stats_reset(struct engine *engine);
uint32_t engine_stats(const struct engine *engine, struct engine_op_stats *out, uint32_t capacity,
                      uint32_t first);

/* ---- sampler ---- */

struct sampler_params {
    float temperature;    /* 0: greedy */
    uint32_t top_k;       /* 0: off */
    float top_p;          /* 1: off */
    float min_p;          /* 0: off */
    float repeat_penalty; /* 1: off */
    uint32_t repeat_last; /* positions looked back; 0: off */
    uint64_t seed;
};

/* E_PARAMETER where a value is out of range or not a number, else 0. */
int sampler_check(const struct sampler_params *params);

/* The next token after `length` positions of the session, from logits that it may overwrite. The
 * same logits, params and position give the same token on every target: Philox4x32-10 by (seed,
 * position), ties to the lowest id. */
uint32_t engine_sample(struct engine *engine, const struct sampler_params *params, uint32_t session,
                       float *logits);

#endif
