/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/stats.h"

#include "gen/wire.h"
#include "link/link.h"

static uint8_t answer[WIRE_MAX_PAYLOAD];

static uint32_t put_op_records(const struct serve *serve, uint8_t *to, uint32_t first,
                               uint32_t *total)
{
    struct engine_op_stats stats[WIRE_MAX_OP_RECORDS];
    *total = engine_stats(serve->engine, stats, WIRE_MAX_OP_RECORDS, first);
    uint32_t left = first < *total ? *total - first : 0;
    uint32_t count = left < WIRE_MAX_OP_RECORDS ? left : WIRE_MAX_OP_RECORDS;
    for (uint32_t i = 0; i < count; i++, to += WIRE_OP_RECORD_SIZE) {
        wire_op_record_set_id(to, stats[i].id);
        wire_op_record_set_weight(to, stats[i].weight);
        wire_op_record_set_calls(to, stats[i].calls);
        wire_op_record_set_instret(to, stats[i].instret);
        wire_op_record_set_cycles(to, stats[i].cycles);
    }
    return count;
}

void stats_receive(struct serve *serve, const struct frame *frame)
{
    uint32_t flags = wire_stats_flags(frame->payload), first = wire_stats_first(frame->payload),
             total;
    if (flags & WIRE_STATS_FLAG_RESET)
        engine_stats_reset(serve->engine);
    if (flags & (WIRE_STATS_FLAG_ENABLE | WIRE_STATS_FLAG_DISABLE))
        engine_stats_enable(serve->engine, (flags & WIRE_STATS_FLAG_ENABLE) != 0);
    const struct link_counters *counters = link_counters();
    uint32_t count = put_op_records(serve, answer + WIRE_STATS_REPLY_SIZE, first, &total);
    wire_stats_reply_set_request(answer, wire_stats_request(frame->payload));
    wire_stats_reply_set_total(answer, total);
    wire_stats_reply_set_first(answer, first);
    wire_stats_reply_set_count(answer, count);
    wire_stats_reply_set_frames_received(answer, counters->received);
    wire_stats_reply_set_frames_damaged(answer, counters->damaged);
    wire_stats_reply_set_frames_duplicate(answer, counters->duplicate);
    wire_stats_reply_set_frames_lost(answer, counters->lost);
    wire_stats_reply_set_frames_repeated(answer, counters->repeated);
    wire_stats_reply_set_uptime_us(answer, serve->port->time_us());
    link_send(WIRE_TYPE_STATS_REPLY, WIRE_CHANNEL_CONTROL, answer,
              WIRE_STATS_REPLY_SIZE + count * WIRE_OP_RECORD_SIZE);
}
