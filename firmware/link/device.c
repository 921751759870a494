/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/engine.h"
#include "link/link.h"
#include "link/report.h"
#include "link/run.h"
#include "link/serve.h"
#include "link/terminal.h"
#include "port/port.h"

static int model_check(const struct port *port, uint64_t *detail)
{
    int error = engine_load(port, detail);
    if (error)
        return error;
    report_model(port, engine_info());
    uint64_t started = port->time_us();
    error = engine_verify(detail);
    if (!error)
        report_verified(port, port->time_us() - started);
    return error;
}

static void check_image(const struct port *port)
{
    uint64_t detail = 0;
    int error = model_check(port, &detail);
    if (error) {
        engine_unload();
        report_error(port, error, detail);
    }
    serve_checked(error, detail);
}

static void run_job(const struct port *port, const struct job *job)
{
    if (job->type == WIRE_TYPE_LOAD)
        check_image(port);
    else if (job->type == WIRE_TYPE_SCORE)
        score_run(port, job);
    else
        generate_run(port, job);
    serve_finish();
}

void device_run(const struct port *port)
{
    link_init(port, serve_receive);
    serve_init(port);
    terminal_init(port);
    engine_set_poll(serve_poll, NULL);
    report_machine(port);
    check_image(port);
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
