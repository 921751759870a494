/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/hello.h"

#include <string.h>

#include "gen/wire.h"
#include "jobs/pending.h"
#include "jobs/schedule.h"
#include "jobs/stream.h"
#include "kernels/kernels.h"
#include "link/baud.h"
#include "link/link.h"

static void put_text(uint8_t *to, uint32_t size, const char *text)
{
    for (uint32_t i = 0; i < size && text[i]; i++)
        to[i] = (uint8_t)text[i];
}

static void put_machine(uint8_t *p, const struct port *port)
{
    wire_hello_reply_set_version_min(p, WIRE_VERSION_MIN);
    wire_hello_reply_set_version_max(p, WIRE_VERSION_MAX);
    wire_hello_reply_set_max_payload(p, WIRE_MAX_PAYLOAD);
    wire_hello_reply_set_counters(p, port->counters != 0);
    wire_hello_reply_set_vlen(p, port->vlen);
    wire_hello_reply_set_harts(p, port->harts);
    wire_hello_reply_set_uart_clock_hz(p, port->uart_clock_hz);
    put_text(p + WIRE_HELLO_REPLY_FIRMWARE_OFFSET, WIRE_HELLO_REPLY_FIRMWARE_BYTES, WIRE_RELEASE);
    put_text(p + WIRE_HELLO_REPLY_BOARD_OFFSET, WIRE_HELLO_REPLY_BOARD_BYTES, port->board);
    put_text(p + WIRE_HELLO_REPLY_ISA_OFFSET, WIRE_HELLO_REPLY_ISA_BYTES, port->isa);
    put_text(p + WIRE_HELLO_REPLY_KERNELS_OFFSET, WIRE_HELLO_REPLY_KERNELS_BYTES, kernels.name);
    wire_hello_reply_set_arena_available(p, port->memory.arena_size);
    wire_hello_reply_set_uptime_us(p, port->time_us());
    wire_hello_reply_set_pending_limit(p, PENDING_TOKENS);
    wire_hello_reply_set_image_area(p, port->image_area ? port->image_area_size : 0);
    wire_hello_reply_set_slot_bytes(p, port->slot ? port->slot->bytes : 0);
    wire_hello_reply_set_baud(p, baud_now());
    for (uint32_t i = 0; i < WIRE_BAUD_RATES; i++)
        le_put_u32(p + WIRE_HELLO_REPLY_BAUDS_OFFSET + 4u * i, baud_offered(i));
}

static void put_model(uint8_t *p, const struct engine_info *info)
{
    memcpy(p + WIRE_HELLO_REPLY_ROOT_OFFSET, info->root, WIRE_HELLO_REPLY_ROOT_BYTES);
    wire_hello_reply_set_vocab(p, info->vocab);
    wire_hello_reply_set_context(p, info->context);
    wire_hello_reply_set_max_rows(p, info->max_rows);
    wire_hello_reply_set_max_logit_rows(p, info->max_logit_rows);
    wire_hello_reply_set_sessions(p, info->sessions);
    wire_hello_reply_set_layers(p, info->layers);
    wire_hello_reply_set_overflow(p, info->overflow);
    wire_hello_reply_set_image_bytes(p, info->image_bytes);
    wire_hello_reply_set_weight_bytes(p, info->weight_bytes);
    wire_hello_reply_set_arena_bytes(p, info->arena_bytes);
    wire_hello_reply_set_runtime_bytes(p, info->runtime_bytes);
}

static void put_state(uint8_t *p, const struct serve *serve)
{
    const struct run *run = schedule_run();
    struct stream_facts record = stream_facts();
    wire_hello_reply_set_state(p, serve->checking ? WIRE_DEVICE_STATE_CHECKING
                                  : run           ? WIRE_DEVICE_STATE_RUNNING
                                  : serve->error  ? WIRE_DEVICE_STATE_NO_MODEL
                                                  : WIRE_DEVICE_STATE_READY);
    wire_hello_reply_set_running(p, run ? run->job.request : 0);
    wire_hello_reply_set_error(p, (uint16_t)-serve->error);
    wire_hello_reply_set_detail(p, serve->detail);
    wire_hello_reply_set_run(p, record.request);
    wire_hello_reply_set_run_session(p, record.session);
    wire_hello_reply_set_run_tokens(p, record.made);
}

static void send_reply(const struct serve *serve, uint32_t request, uint32_t nonce)
{
    uint8_t p[WIRE_HELLO_REPLY_SIZE];
    memset(p, 0, sizeof p);
    wire_hello_reply_set_request(p, request);
    wire_hello_reply_set_nonce(p, nonce);
    put_machine(p, serve->port);
    const struct engine_info *info = engine_info(serve->engine); /* also while it is checked */
    if (info)
        put_model(p, info);
    put_state(p, serve);
    link_send_unnumbered(WIRE_TYPE_HELLO_REPLY, p, sizeof p);
}

void hello_announce(struct serve *serve)
{
    serve->announced_us = serve->port->time_us();
    send_reply(serve, 0, 0);
}

void hello_receive(struct serve *serve, const struct frame *frame)
{
    uint32_t nonce = wire_hello_nonce(frame->payload);
    if (link_open(frame, nonce)) {
        stream_detach();
        schedule_detach();
    }
    send_reply(serve, wire_hello_request(frame->payload), nonce);
}

/* Whether somebody is there who does not know the device. Before the first HELLO that is whoever
 * attaches late, or to a simulator that was faster; later it is who speaks in another epoch. */
static int is_unknown(const struct serve *serve)
{
    uint64_t since = serve->port->time_us() - serve->announced_us;
    if (link_is_open())
        return since >= WIRE_STRANGER_US && link_heard_stranger();
    return since >= WIRE_ANNOUNCE_US && !terminal_is_active(&serve->terminal);
}

int hello_serve_line(struct serve *serve)
{
    int got = link_poll();
    if (is_unknown(serve))
        hello_announce(serve);
    stream_pump();
    baud_poll();
    return got;
}
