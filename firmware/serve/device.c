/* SPDX-License-Identifier: Apache-2.0 */
#include <stddef.h>

#include "engine/memory.h"
#include "gen/errors.h"
#include "link/link.h"
#include "serve/report.h"
#include "jobs/job.h"
#include "serve/serve.h"
#include "terminal/terminal.h"
#include "common/port.h"

#define SLOT_PIECE 65536u /* between two looks at the line */

static struct engine engine;

static int model_check(const struct port *port, uint64_t *detail)
{
    int error = engine_load(&engine, detail);
    if (error)
        return error;
    report_model(port, engine_info(&engine), engine_load_instret(&engine));
    uint64_t started = port->time_us();
    error = engine_verify(&engine, detail);
    if (!error)
        report_verified(port, port->time_us() - started);
    return error;
}

/* As a boot would read it. */
static int read_back(const struct port *port, uint64_t bytes)
{
    int error = 0;
    for (uint64_t at = 0; !error && at < bytes; at += SLOT_PIECE) {
        uint64_t left = bytes - at;
        error = port->slot->read(at, port->image_area + at,
                                 (uint32_t)(left < SLOT_PIECE ? left : SLOT_PIECE));
        (void)serve_line();
    }
    return error;
}

static int flash_check(const struct port *port, uint64_t bytes, uint64_t *detail)
{
    int error = read_back(port, bytes);
    if (!error)
        error = model_check(port, detail);
    const struct engine_info *info = error ? NULL : engine_info(&engine);
    /* What lies behind the slot's bytes is left over from another image. */
    if (info && info->image_bytes > bytes)
        error = E_IMAGE_TRUNCATED;
    return error ? error : port->slot->finish(bytes);
}

static void check_image(const struct port *port, const struct job *job)
{
    uint64_t detail = 0;
    int error = job && job->type == WIRE_TYPE_FLASH ? flash_check(port, job->bytes, &detail)
                                                    : model_check(port, &detail);
    if (error) {
        engine_unload(&engine);
        report_error(port, error, detail);
    }
    serve_checked(error, detail);
}

static void run_job(const struct port *port, const struct job *job)
{
    if (job->type == WIRE_TYPE_LOAD || job->type == WIRE_TYPE_FLASH)
        check_image(port, job);
    else if (job->type == WIRE_TYPE_SCORE)
        score_run(port, job);
    else
        generate_run(port, job);
    serve_finish();
}

void device_run(const struct port *port)
{
    link_init(port, serve_receive);
    engine_init(&engine, port);
    serve_init(port, &engine);
    terminal_init(port, &engine);
    engine_set_poll(&engine, serve_poll, NULL);
    report_machine(port);
    check_image(port, NULL);
    for (;;) {
        int got = serve_line();
        if (got < 0)
            port->exit(0);
        else if (serve_job())
            run_job(port, serve_job());
        else if (!terminal_obey() && !got)
            port->idle();
    }
}
