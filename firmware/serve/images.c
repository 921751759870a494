/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/images.h"

#include <stddef.h>

#include "gen/errors.h"
#include "gen/wire.h"
#include "jobs/pending.h"
#include "jobs/schedule.h"
#include "jobs/stream.h"
#include "link/answer.h"
#include "serve/hello.h"
#include "serve/report.h"

#define SLOT_PIECE 65536u /* between two looks at the line */

/* ---- requests ---- */

void images_receive_unload(struct serve *serve, const struct frame *frame)
{
    engine_unload(serve->engine);
    pending_init();
    stream_init();
    serve->error = E_IMAGE_ABSENT;
    serve->detail = 0;
    answer_ok(wire_unload_request(frame->payload), 0);
}

static void ask_for_check(struct serve *serve, uint32_t request, uint32_t type)
{
    answer_ok(request, 0);
    serve->checking = 1;
    serve->check_type = type;
    schedule_hold(request);
}

void images_receive_load(struct serve *serve, const struct frame *frame)
{
    uint32_t request = wire_load_request(frame->payload);
    if (engine_model(serve->engine))
        answer_refuse(request, frame->type, E_LOADED, 0);
    else
        ask_for_check(serve, request, WIRE_TYPE_LOAD);
}

void images_receive_flash(struct serve *serve, const struct frame *frame)
{
    uint32_t request = wire_flash_request(frame->payload);
    uint64_t bytes = wire_flash_bytes(frame->payload);
    const struct port *port = serve->port;
    int error = 0;
    if (!port->slot)
        error = E_PARAMETER;
    else if (engine_model(serve->engine))
        error = E_LOADED;
    else if (bytes > port->slot->bytes || bytes > port->image_area_size)
        error = E_RANGE;
    if (error) {
        answer_refuse(request, frame->type, error, bytes);
        return;
    }
    serve->flash_bytes = bytes;
    ask_for_check(serve, request, WIRE_TYPE_FLASH);
}

/* ---- the check ---- */

static int model_check(struct serve *serve, uint64_t *detail)
{
    const struct port *port = serve->port;
    int error = engine_load(serve->engine, detail);
    if (error)
        return error;
    report_model(port, engine_info(serve->engine), engine_load_instret(serve->engine));
    uint64_t started = port->time_us();
    error = engine_verify(serve->engine, detail);
    if (!error)
        report_verified(port, port->time_us() - started);
    return error;
}

/* As a boot would read it. */
static int read_back(struct serve *serve)
{
    const struct port *port = serve->port;
    int error = 0;
    for (uint64_t at = 0; !error && at < serve->flash_bytes; at += SLOT_PIECE) {
        uint64_t left = serve->flash_bytes - at;
        error = port->slot->read(at, port->image_area + at,
                                 (uint32_t)(left < SLOT_PIECE ? left : SLOT_PIECE));
        (void)hello_serve_line(serve);
    }
    return error;
}

static int flash_check(struct serve *serve, uint64_t *detail)
{
    int error = read_back(serve);
    if (!error)
        error = model_check(serve, detail);
    const struct engine_info *info = error ? NULL : engine_info(serve->engine);
    /* What lies behind the slot's bytes is left over from another image. */
    if (info && info->image_bytes > serve->flash_bytes)
        error = E_IMAGE_TRUNCATED;
    return error ? error : serve->port->slot->finish(serve->flash_bytes);
}

void images_check(struct serve *serve)
{
    uint64_t detail = 0;
    int error = serve->check_type == WIRE_TYPE_FLASH ? flash_check(serve, &detail)
                                                     : model_check(serve, &detail);
    if (error) {
        engine_unload(serve->engine);
        report_error(serve->port, error, detail);
    }
    serve->checking = 0;
    serve->check_type = 0;
    serve->error = error;
    serve->detail = error ? detail : 0;
    hello_announce(serve);
    schedule_release();
}
