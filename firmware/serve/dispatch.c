/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/dispatch.h"

#include <stddef.h>

#include "gen/errors.h"
#include "gen/wire.h"
#include "jobs/schedule.h"
#include "link/answer.h"
#include "link/baud.h"
#include "link/link.h"
#include "link/validate.h"
#include "serve/hello.h"
#include "serve/images.h"
#include "serve/runs.h"
#include "serve/serve.h"
#include "serve/sessions.h"
#include "serve/stats.h"
#include "serve/transfer.h"

/* ---- SET_BAUD, FAIL, PING ---- */

static void receive_set_baud(struct serve *serve, const struct frame *frame)
{
    (void)serve;
    uint32_t request = wire_set_baud_request(frame->payload);
    uint32_t wanted = wire_set_baud_baud(frame->payload);
    for (uint32_t i = 0; i < WIRE_BAUD_RATES; i++)
        if (wanted && baud_offered(i) == wanted) {
            answer_ok(request, wanted);
            baud_try(wanted);
            return;
        }
    answer_refuse(request, frame->type, E_BAUD, wanted);
}

static void receive_fail(struct serve *serve, const struct frame *frame)
{
    uint32_t kind = wire_fail_kind(frame->payload);
    if (serve->port->fail)
        serve->port->fail(kind);
    answer_refuse(wire_fail_request(frame->payload), frame->type, E_PARAMETER, kind);
}

static void receive_ping(struct serve *serve, const struct frame *frame)
{
    (void)serve;
    uint8_t p[WIRE_OK_SIZE];
    wire_ok_set_request(p, wire_ping_request(frame->payload));
    wire_ok_set_value(p, wire_ping_value(frame->payload));
    link_send_unnumbered(WIRE_TYPE_OK, p, sizeof p);
}

/* ---- dispatch ---- */

/* One of the two receives: what needs a model gets it from here or is refused. */
struct request {
    uint8_t type;
    uint8_t while_running;
    void (*receive)(struct serve *serve, const struct frame *frame);
    void (*receive_for)(struct serve *serve, const struct frame *frame,
                        const struct engine_info *model);
};

static const struct request requests[] = {
    {WIRE_TYPE_HELLO, 1, hello_receive, NULL},
    {WIRE_TYPE_PROMPT, 0, NULL, sessions_receive_prompt},
    {WIRE_TYPE_GENERATE, 0, NULL, runs_receive_generate},
    {WIRE_TYPE_SCORE, 0, NULL, runs_receive_score},
    {WIRE_TYPE_ENCODE, 0, NULL, runs_receive_encode},
    {WIRE_TYPE_TRUNCATE, 0, NULL, sessions_receive_truncate},
    {WIRE_TYPE_CANCEL, 1, runs_receive_cancel, NULL},
    {WIRE_TYPE_STATS, 1, stats_receive, NULL},
    {WIRE_TYPE_PING, 1, receive_ping, NULL},
    {WIRE_TYPE_RESUME, 1, NULL, runs_receive_resume},
    {WIRE_TYPE_SET_BAUD, 0, receive_set_baud, NULL},
    {WIRE_TYPE_READ, 0, transfer_receive_read, NULL},
    {WIRE_TYPE_WRITE, 0, transfer_receive_write, NULL},
    {WIRE_TYPE_SUM, 0, transfer_receive_sum, NULL},
    {WIRE_TYPE_LOAD, 0, images_receive_load, NULL},
    {WIRE_TYPE_UNLOAD, 0, images_receive_unload, NULL},
    {WIRE_TYPE_STATE, 0, NULL, transfer_receive_state},
    {WIRE_TYPE_ADOPT, 0, NULL, sessions_receive_adopt},
    {WIRE_TYPE_FAIL, 1, receive_fail, NULL},
    {WIRE_TYPE_FLASH, 0, images_receive_flash, NULL},
};

static const struct request *request_find(uint8_t type)
{
    for (uint32_t i = 0; i < sizeof requests / sizeof requests[0]; i++)
        if (requests[i].type == type)
            return &requests[i];
    return NULL;
}

/* Why a frame is not to be obeyed, or 0. */
static int request_check(const struct serve *serve, const struct request *request,
                         const struct frame *frame, uint64_t *detail)
{
    int error = request_validate(frame);
    if (!error && !request)
        error = E_MESSAGE;
    *detail = error == E_PROTOCOL ? frame->version : frame->type;
    if (error)
        return error;
    *detail = (uint64_t)-serve->error;
    if (request->receive_for && !engine_model(serve->engine))
        return E_NOT_READY;
    uint32_t running;
    int busy = schedule_is_busy(&running) || serve->checking;
    int changes = frame->type == WIRE_TYPE_STATS && wire_stats_flags(frame->payload);
    *detail = running;
    return busy && (!request->while_running || changes) ? E_BUSY : 0;
}

void dispatch_receive(void *context, const struct frame *frame)
{
    struct serve *serve = context;
    terminal_host_spoke(&serve->terminal);
    const struct request *request = request_find(frame->type);
    uint64_t detail;
    int error = request_check(serve, request, frame, &detail);
    if (!error && request->receive_for)
        request->receive_for(serve, frame, engine_model(serve->engine));
    else if (!error)
        request->receive(serve, frame);
    else
        answer_refuse(frame->length >= 4u ? le_u32(frame->payload) : 0, frame->type, error, detail);
}
