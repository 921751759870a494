/* SPDX-License-Identifier: Apache-2.0 */
#include "link/validate.h"

#include <stddef.h>

#include "gen/errors.h"

struct shape {
    uint8_t type;
    uint8_t record; /* bytes of what is repeated behind the fixed part; 0: nothing */
    uint16_t size;  /* bytes of the fixed part */
    uint16_t count; /* where in it the number of records stands */
};

#define SHAPE_ENTRY(type, size, record, count) {type, record, size, count},
static const struct shape shapes[] = {WIRE_REQUESTS(SHAPE_ENTRY)};

#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/*@ predicate is_shape(struct shape *shape) =
        \exists integer i; 0 <= i < SHAPES && shape == shapes + i;
*/

/*@ assigns \nothing;
    ensures \result == \null || (is_shape(\result) && \result->type == type);
*/
static const struct shape *shape_find(uint8_t type)
{
    /*@ loop invariant 0 <= i <= SHAPES;
        loop assigns i;
        loop variant SHAPES - i;
    */
    for (uint32_t i = 0; i < SHAPES; i++)
        if (shapes[i].type == type)
            return &shapes[i];
    return NULL;
}

/*@ requires \valid_read(frame);
    requires \valid_read(frame->payload + (0 .. frame->length - 1));
    assigns \nothing;
    ensures \result == 0 || \result == E_PROTOCOL || \result == E_MESSAGE;
    ensures \result == 0 ==> \exists integer i; 0 <= i < SHAPES && shapes[i].type == frame->type &&
                                                 shapes[i].size <= frame->length;
*/
int request_validate(const struct frame *frame)
{
    int hello = frame->type == WIRE_TYPE_HELLO;
    if (!hello && (frame->version < WIRE_VERSION_MIN || frame->version > WIRE_VERSION_MAX))
        return E_PROTOCOL;
    const struct shape *shape = shape_find(frame->type);
    if (!shape || frame->length < shape->size)
        return E_MESSAGE;
    if (hello)
        return 0;
    /* Told once, for each read of the count would have to look through the table again. */
    //@ assert shape->record != 0 ==> shape->count + 4 <= shape->size;
    uint64_t records = shape->record ? le_u32(frame->payload + shape->count) : 0;
    return frame->length - shape->size == records * shape->record ? 0 : E_MESSAGE;
}
