/* SPDX-License-Identifier: Apache-2.0 */
#include "tokenizer/steps.h"

#include <stddef.h>
#include <string.h>

#include "tokenizer/characters.h"

#define STEP(name) extern const struct tokenizer_step_kind tokenizer_step_##name;
IMAGE_STEP_KINDS(STEP)
#undef STEP

const struct tokenizer_step_kind *tokenizer_step_kind(uint32_t kind)
{
#define STEP(name) &tokenizer_step_##name,
    static const struct tokenizer_step_kind *const kinds[] = {IMAGE_STEP_KINDS(STEP)};
#undef STEP
    uint32_t count = sizeof kinds / sizeof kinds[0];
    return kind - 1u < count ? kinds[kind - 1u] : NULL;
}

void buffer_put(struct tokenizer_buffer *buffer, struct tokenizer_text text)
{
    if (text.size > TOKENIZER_WORK_BYTES - buffer->size) {
        buffer->full = 1;
        return;
    }
    memcpy(buffer->text + buffer->size, text.at, text.size);
    buffer->size += text.size;
}

void buffer_put_code(struct tokenizer_buffer *buffer, uint32_t code)
{
    uint8_t bytes[4] = {(uint8_t)code};
    uint32_t size = code < 0x80u ? 1 : code < 0x800u ? 2 : code < 0x10000u ? 3 : 4;
    if (size > 1) {
        static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
        for (uint32_t i = size; i-- > 1; code >>= 6)
            bytes[i] = (uint8_t)(0x80u | (code & 0x3fu));
        bytes[0] = (uint8_t)(first[size] | code);
    }
    buffer_put(buffer, (struct tokenizer_text){bytes, size});
}

void buffer_begin(struct tokenizer_buffer *buffer)
{
    if (buffer->size < TOKENIZER_WORK_BYTES)
        buffer->begins[buffer->size / 8u] |= (uint8_t)(1u << buffer->size % 8u);
}

struct tokenizer_piece buffer_piece(const struct tokenizer_buffer *buffer, uint32_t at, int first)
{
    uint32_t end = at + 1;
    while (end < buffer->size && !(buffer->begins[end / 8u] >> end % 8u & 1u))
        end++;
    return (struct tokenizer_piece){{buffer->text + at, end - at}, first && !at};
}

static void empty(struct tokenizer_buffer *buffer)
{
    buffer->size = 0;
    buffer->full = 0;
    memset(buffer->begins, 0, sizeof buffer->begins);
}

const struct tokenizer_buffer *tokenizer_run_steps(const struct tokenizer *t, uint32_t from,
                                                   uint32_t to, struct tokenizer_piece text,
                                                   struct tokenizer_buffer *one,
                                                   struct tokenizer_buffer *other)
{
    empty(one);
    buffer_put(one, text.text);
    for (uint32_t i = from; i < to && !one->full; i++) {
        const struct tokenizer_step *step = &t->steps[i];
        empty(other);
        for (uint32_t at = 0; at < one->size;) {
            struct tokenizer_piece piece = buffer_piece(one, at, text.first);
            buffer_begin(other);
            tokenizer_step_kind(step->kind)->run(step, piece, other);
            at += piece.text.size;
        }
        struct tokenizer_buffer *done = other;
        other = one;
        one = done;
    }
    return one;
}

/* ---- for kinds ---- */

int step_knows_none(uint32_t flags)
{
    return !flags;
}

int step_check_automaton(const struct tokenizer_step *step)
{
    return automaton_check(step->table) && automaton_states(step->table.at);
}
