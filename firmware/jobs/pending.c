/* SPDX-License-Identifier: Apache-2.0 */
#include "jobs/pending.h"

#include "common/limits.h"
#include "gen/errors.h"

#define BLOCKS   (PENDING_TOKENS / PENDING_BLOCK_TOKENS)
#define NO_BLOCK 0xffffu

struct queue {
    uint16_t head;
    uint16_t tail;
    uint32_t first; /* index within the head block */
    uint32_t count;
};

static uint32_t tokens[BLOCKS][PENDING_BLOCK_TOKENS];
static uint16_t next[BLOCKS];
static uint16_t free_head;
static uint32_t free_count;
static struct queue queues[LIMIT_SESSIONS];

void pending_init(void)
{
    for (uint32_t i = 0; i < BLOCKS; i++)
        next[i] = (uint16_t)(i + 1u < BLOCKS ? i + 1u : NO_BLOCK);
    for (uint32_t i = 0; i < LIMIT_SESSIONS; i++)
        queues[i] = (struct queue){NO_BLOCK, NO_BLOCK, 0, 0};
    free_head = 0;
    free_count = BLOCKS;
}

uint32_t pending_count(uint32_t session)
{
    return queues[session].count;
}

static void block_free(uint16_t block)
{
    next[block] = free_head;
    free_head = block;
    free_count++;
}

static int block_append(struct queue *queue)
{
    uint16_t block = free_head;
    if (block == NO_BLOCK)
        return E_PENDING;
    free_head = next[block];
    free_count--;
    next[block] = NO_BLOCK;
    if (queue->head == NO_BLOCK)
        queue->head = block;
    else
        next[queue->tail] = block;
    queue->tail = block;
    return 0;
}

/* Tokens that the queue's blocks have room for behind its last one. */
static uint32_t tail_room(const struct queue *queue)
{
    uint32_t used = (queue->first + queue->count) % PENDING_BLOCK_TOKENS;
    return queue->head == NO_BLOCK || !used ? 0 : PENDING_BLOCK_TOKENS - used;
}

int pending_push(uint32_t session, uint32_t token)
{
    struct queue *queue = &queues[session];
    if (!tail_room(queue)) {
        int error = block_append(queue);
        if (error)
            return error;
    }
    tokens[queue->tail][(queue->first + queue->count) % PENDING_BLOCK_TOKENS] = token;
    queue->count++;
    return 0;
}

uint32_t pending_room(uint32_t session)
{
    return tail_room(&queues[session]) + free_count * PENDING_BLOCK_TOKENS;
}

uint32_t pending_copy(uint32_t session, uint32_t *to, uint32_t count)
{
    const struct queue *queue = &queues[session];
    uint32_t block = queue->head, at = queue->first, copied = 0;
    while (copied < count && copied < queue->count) {
        to[copied++] = tokens[block][at++];
        if (at == PENDING_BLOCK_TOKENS) {
            block = next[block];
            at = 0;
        }
    }
    return copied;
}

void pending_drop(uint32_t session, uint32_t count)
{
    struct queue *queue = &queues[session];
    queue->count -= count;
    queue->first += count;
    while (queue->first >= PENDING_BLOCK_TOKENS || (!queue->count && queue->head != NO_BLOCK)) {
        uint16_t block = queue->head;
        queue->head = next[block];
        queue->first =
            queue->first >= PENDING_BLOCK_TOKENS ? queue->first - PENDING_BLOCK_TOKENS : 0;
        block_free(block);
    }
    if (queue->head == NO_BLOCK)
        queue->tail = NO_BLOCK;
}

void pending_keep(uint32_t session, uint32_t count)
{
    struct queue *queue = &queues[session];
    if (count >= queue->count)
        return;
    if (!count) {
        pending_drop(session, queue->count);
        return;
    }
    uint32_t blocks = (queue->first + count + PENDING_BLOCK_TOKENS - 1u) / PENDING_BLOCK_TOKENS;
    uint16_t last = queue->head;
    while (--blocks)
        last = next[last];
    while (next[last] != NO_BLOCK) {
        uint16_t block = next[last];
        next[last] = next[block];
        block_free(block);
    }
    queue->tail = last;
    queue->count = count;
}
