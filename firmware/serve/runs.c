/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/runs.h"

#include "gen/errors.h"
#include "gen/image_format.h"
#include "gen/wire.h"
#include "jobs/pending.h"
#include "jobs/schedule.h"
#include "jobs/stream.h"
#include "link/answer.h"
#include "serve/sessions.h"

static int job_check(struct serve *serve, const struct job *job, uint32_t flags, uint64_t *detail)
{
    int error = sessions_check(serve, job->model, job->session);
    *detail = job->session;
    if (error)
        return error;
    *detail = job->model->output_kind;
    if ((job->type == WIRE_TYPE_ENCODE) == (*detail == IMAGE_OUTPUT_KIND_LOGITS))
        return E_OUTPUT;
    *detail = job->session;
    if (!pending_count(job->session))
        return E_ROWS;
    *detail = job->flags;
    return job->flags & ~flags ? E_PARAMETER : 0;
}

static int generate_check(struct serve *serve, const struct job *job, uint64_t *detail)
{
    int error = job_check(serve, job, WIRE_RUN_FLAG_DIGEST, detail);
    if (error)
        return error;
    *detail = job->stop_count;
    if (job->stop_count > WIRE_MAX_STOP_IDS)
        return E_PARAMETER;
    *detail = 0;
    return sampler_check(&job->sampler);
}

/* Its record begins with it, or a HELLO that follows at once would be told of the one before. */
static void start(struct job *job, int error, uint64_t detail)
{
    if (error) {
        answer_refuse(job->request, job->type, error, detail);
        return;
    }
    stream_begin(job);
    schedule_start(job);
}

void runs_receive_generate(struct serve *serve, const struct frame *frame,
                           const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    struct job job = {.type = WIRE_TYPE_GENERATE,
                      .request = wire_generate_request(p),
                      .engine = serve->engine,
                      .model = model,
                      .session = wire_generate_session(p),
                      .flags = wire_generate_flags(p),
                      .max_tokens = wire_generate_max_tokens(p),
                      .stop_count = wire_generate_stop_count(p),
                      .sampler = {.temperature = wire_generate_temperature(p),
                                  .top_k = wire_generate_top_k(p),
                                  .top_p = wire_generate_top_p(p),
                                  .min_p = wire_generate_min_p(p),
                                  .repeat_penalty = wire_generate_repeat_penalty(p),
                                  .repeat_last = wire_generate_repeat_last(p),
                                  .seed = wire_generate_seed(p)},
                      .stays = 1};
    for (uint32_t i = 0; i < WIRE_MAX_STOP_IDS; i++)
        job.stop_ids[i] = wire_generate_stop_ids(p, i);
    uint64_t detail;
    int error = generate_check(serve, &job, &detail);
    start(&job, error, detail);
}

/* It does not stay when another host comes: its results are kept nowhere. */
void runs_receive_score(struct serve *serve, const struct frame *frame,
                        const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    struct job job = {.type = WIRE_TYPE_SCORE,
                      .request = wire_score_request(p),
                      .engine = serve->engine,
                      .model = model,
                      .session = wire_score_session(p),
                      .flags = wire_score_flags(p)};
    uint64_t detail;
    int error = job_check(serve, &job, WIRE_RUN_FLAG_DIGEST | WIRE_RUN_FLAG_LOGITS, &detail);
    start(&job, error, detail);
}

/* Likewise. */
void runs_receive_encode(struct serve *serve, const struct frame *frame,
                         const struct engine_info *model)
{
    const uint8_t *p = frame->payload;
    struct job job = {.type = WIRE_TYPE_ENCODE,
                      .request = wire_encode_request(p),
                      .engine = serve->engine,
                      .model = model,
                      .session = wire_encode_session(p)};
    uint64_t detail;
    int error = job_check(serve, &job, 0, &detail);
    start(&job, error, detail);
}

void runs_receive_cancel(struct serve *serve, const struct frame *frame)
{
    (void)serve;
    uint32_t target = wire_cancel_target(frame->payload), request;
    uint32_t found = schedule_is_busy(&request) && (!target || target == request);
    if (found)
        schedule_cancel();
    answer_ok(wire_cancel_request(frame->payload), found);
}

void runs_receive_resume(struct serve *serve, const struct frame *frame,
                         const struct engine_info *model)
{
    (void)serve;
    (void)model;
    uint32_t request = wire_resume_request(frame->payload), made = stream_facts().made;
    int error =
        stream_resume(wire_resume_target(frame->payload), wire_resume_index(frame->payload));
    if (error)
        answer_refuse(request, frame->type, error, made);
    else
        answer_ok(request, made);
}
