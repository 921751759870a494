/* SPDX-License-Identifier: Apache-2.0 */
#include "link/answer.h"

#include "gen/wire.h"
#include "link/link.h"

void answer_put_error(uint8_t *to, uint32_t request, uint32_t type, int error, uint64_t detail)
{
    wire_error_set_request(to, request);
    wire_error_set_code(to, (uint16_t)-error);
    wire_error_set_type(to, (uint16_t)type);
    wire_error_set_detail(to, detail);
}

void answer_refuse(uint32_t request, uint32_t type, int error, uint64_t detail)
{
    uint8_t p[WIRE_ERROR_SIZE];
    answer_put_error(p, request, type, error, detail);
    link_send(WIRE_TYPE_ERROR, WIRE_CHANNEL_CONTROL, p, sizeof p);
}

void answer_ok(uint32_t request, uint32_t value)
{
    uint8_t p[WIRE_OK_SIZE];
    wire_ok_set_request(p, request);
    wire_ok_set_value(p, value);
    link_send(WIRE_TYPE_OK, WIRE_CHANNEL_CONTROL, p, sizeof p);
}
