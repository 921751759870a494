/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers/fdt.h"

#include <stdbool.h>
#include <stddef.h>

#define FDT_MAGIC      0xd00dfeedu
#define FDT_BEGIN_NODE 1u
#define FDT_END_NODE   2u
#define FDT_PROP       3u
#define FDT_NOP        4u
#define FDT_MAX_BYTES  (1u << 20)

struct fdt_walk {
    const uint8_t *tree;
    uint32_t size;
    uint32_t strings;
    uint32_t at;
    uint32_t cpu_depth; /* depth of the cpu node that the walk is in; 0: none */
    uint32_t reg;
    bool enabled;
    uint64_t harts;
};

static uint32_t be_u32(const struct fdt_walk *w, uint32_t at)
{
    const uint8_t *p = w->tree + at;
    return at > w->size - 4
               ? 0
               : (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool starts_with(const struct fdt_walk *w, uint32_t at, const char *text)
{
    for (; *text; text++, at++)
        if (at >= w->size || w->tree[at] != (uint8_t)*text)
            return false;
    return true;
}

static void walk_prop(struct fdt_walk *w, bool of_cpu)
{
    uint32_t length = be_u32(w, w->at), name = w->strings + be_u32(w, w->at + 4), value = w->at + 8;
    if (of_cpu && starts_with(w, name, "reg") && length >= 4)
        w->reg = be_u32(w, value + length - 4);
    if (of_cpu && starts_with(w, name, "status"))
        w->enabled = starts_with(w, value, "ok");
    w->at = length > w->size ? w->size : value + ((length + 3) & ~3u);
}

static void walk_begin(struct fdt_walk *w, uint32_t depth)
{
    if (!w->cpu_depth && starts_with(w, w->at, "cpu@")) {
        w->cpu_depth = depth;
        w->reg = 64;
        w->enabled = true;
    }
    while (w->at < w->size && w->tree[w->at])
        w->at++;
    w->at = (w->at + 4) & ~3u;
}

static void walk_end(struct fdt_walk *w, uint32_t depth)
{
    if (w->cpu_depth != depth)
        return;
    if (w->enabled && w->reg < 64)
        w->harts |= (uint64_t)1 << w->reg;
    w->cpu_depth = 0;
}

uint64_t fdt_read_harts(const uint8_t *tree)
{
    struct fdt_walk w = {.tree = tree, .size = 40};
    if (!tree || (uintptr_t)tree % 4 || be_u32(&w, 0) != FDT_MAGIC || be_u32(&w, 4) > FDT_MAX_BYTES)
        return 0;
    if (be_u32(&w, 4) < w.size)
        return 0;
    w.size = be_u32(&w, 4);
    w.at = be_u32(&w, 8);
    w.strings = be_u32(&w, 12);
    for (uint32_t depth = 0; w.at < w.size;) {
        uint32_t token = be_u32(&w, w.at);
        w.at += 4;
        if (token == FDT_BEGIN_NODE)
            walk_begin(&w, ++depth);
        else if (token == FDT_END_NODE)
            walk_end(&w, depth--);
        else if (token == FDT_PROP)
            walk_prop(&w, w.cpu_depth && w.cpu_depth == depth);
        else if (token != FDT_NOP)
            break;
    }
    return w.harts;
}
