/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/report.h"

#include <stddef.h>

#include "gen/errors.h"
#include "gen/wire.h"
#include "kernels/kernels.h"
#include "common/console.h"

struct words {
    int number;
    const char *what;
    const char *hint;
};

#define WORDS_ENTRY(number, what, hint) {number, what, hint},
static const struct words error_words[] = {ERROR_WORDS(WORDS_ENTRY)};

static void number_text(const struct port *port, const char *before, uint64_t value,
                        const char *after)
{
    console_text(port, before);
    console_u64(port, value);
    console_text(port, after);
}

void report_machine(const struct port *port)
{
    console_text(port, "\r\n" WIRE_RELEASE " on ");
    console_text(port, port->board);
    console_text(port, ": ");
    console_text(port, port->isa);
    if (port->vlen)
        number_text(port, ", VLEN ", port->vlen, "");
    number_text(port, ", ", port->harts, port->harts == 1 ? " hart" : " harts");
    console_text(port, ", kernels ");
    console_text(port, kernels.name);
    console_text(port, "\r\n");
}

void report_model(const struct port *port, const struct engine_info *info, uint64_t load_instret)
{
    console_text(port, "image ");
    for (uint32_t i = 0; i < 4; i++)
        console_hex8(port, info->root[i]);
    console_text(port, ": ");
    console_size(port, info->image_bytes);
    console_text(port, ", weights ");
    console_size(port, info->weight_bytes);
    number_text(port, ", vocabulary ", info->vocab, ", ");
    number_text(port, "", info->layers, " layers, context ");
    number_text(port, "", info->context, ", sessions ");
    number_text(port, "", info->sessions, "\r\nmemory: activations ");
    console_size(port, info->arena_bytes);
    console_text(port, ", state ");
    console_size(port, info->runtime_bytes);
    console_text(port, ", available ");
    console_size(port, port->memory.arena_size);
    console_text(port, "\r\n");
    if (port->counters)
        number_text(port, "loaded in ", load_instret, " instructions; ");
    console_text(port, "checking the image's hashes ...\r\n");
}

void report_verified(const struct port *port, uint64_t time_us)
{
    number_text(port, "hashes good, ", time_us / 1000u, " ms; ready\r\n");
}

static const struct words *words_find(int number)
{
    for (size_t i = 0; i < sizeof error_words / sizeof error_words[0]; i++)
        if (error_words[i].number == number)
            return &error_words[i];
    return NULL;
}

void report_error(const struct port *port, int error, uint64_t detail)
{
    const struct words *words = words_find(-error);
    number_text(port, "no model: error ", (uint64_t)-(int64_t)error, ": ");
    console_text(port, words ? words->what : "unknown");
    number_text(port, " [detail ", detail, "]");
    if (words && *words->hint) {
        console_text(port, "; ");
        console_text(port, words->hint);
    }
    console_text(port, "\r\n");
}
