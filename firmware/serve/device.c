/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/port.h"
#include "engine/memory.h"
#include "jobs/schedule.h"
#include "jobs/stream.h"
#include "link/baud.h"
#include "link/link.h"
#include "serve/dispatch.h"
#include "serve/hello.h"
#include "serve/images.h"
#include "serve/report.h"
#include "serve/serve.h"
#include "terminal/terminal.h"

static struct engine engine;
static struct serve serve;

/* Between ops. Returns whether the step is to be abandoned. */
static int device_poll(void *context)
{
    if (hello_serve_line(context) < 0)
        schedule_cancel();
    return schedule_is_cancelled();
}

static void device_init(const struct port *port)
{
    memset(&serve, 0, sizeof serve);
    serve.port = port;
    serve.engine = &engine;
    serve.checking = 1;
    link_init(port, (struct link_receiver){dispatch_receive, &serve},
              (struct link_filter){terminal_takes, &serve.terminal});
    baud_init(port);
    schedule_init(port);
    stream_init();
    terminal_init(&serve.terminal, port, &engine);
    engine_init(&engine, port);
    engine_set_poll(&engine, device_poll, &serve);
}

void device_run(const struct port *port)
{
    device_init(port);
    report_machine(port);
    images_check(&serve);
    for (;;) {
        int got = hello_serve_line(&serve);
        if (got < 0)
            port->exit(0);
        else if (serve.checking)
            images_check(&serve);
        else if (schedule_run() ? !schedule_step() : !terminal_obey(&serve.terminal) && !got)
            port->idle();
    }
}
