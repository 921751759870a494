/* SPDX-License-Identifier: Apache-2.0 */
/* The program of an image: every op handed to the decoder of its kind, and the flow of values
 * between the ops checked as they come. */
#include <string.h>

#include "image/reader.h"
#include "gen/errors.h"

/* ---- the kinds ---- */

struct known {
    const struct op_kind *kind; /* NULL: no op has this id */
    uint32_t size;              /* bytes of its fields */
};

#define KNOWN(name, NAME) [IMAGE_OP_ID_##NAME] = {&op_kind_##name, IMAGE_OP_##NAME##_SIZE},
static const struct known known[] = {IMAGE_OPS(KNOWN)};

/* Bytes behind an op's fields are for later versions of it. */
static int find_kind(const uint8_t *p, const struct op_kind **kind)
{
    uint32_t id = image_op_head_id(p);

    if (id >= sizeof known / sizeof known[0] || !known[id].kind)
        return E_IMAGE_NEW;
    *kind = known[id].kind;
    if (image_op_head_version(p) != (*kind)->version ||
        image_op_head_domain(p) > IMAGE_DOMAIN_LOGIT_ROWS ||
        !image_is_zero(p, IMAGE_OP_HEAD_RESERVED_OFFSET, IMAGE_OP_HEAD_SIZE) ||
        !image_is_zero(p, IMAGE_OP_HEAD_SIZE + known[id].size, IMAGE_OP_BYTES))
        return E_IMAGE_NEW;
    return 0;
}

/* ---- ops ---- */

static int check_flow(const struct reader *r, struct flow *flow)
{
    int error = flow_check_op(r->reads, r->read_count, r->writes, r->write_count);

    for (uint32_t i = 0; !error && i < r->read_count; i++)
        error = flow_check_read(flow, &r->reads[i]);
    for (uint32_t i = 0; !error && i < r->write_count; i++)
        error = flow_write(flow, &r->writes[i]);
    return error;
}

static int read_op(struct reader *r, const uint8_t *p, struct op *op, struct flow *flow)
{
    const struct op_kind *kind;
    int error = find_kind(p, &kind);

    if (error)
        return error;
    memset(op, 0, sizeof *op);
    op->id = image_op_head_id(p);
    op->domain = image_op_head_domain(p);
    op->weight = IMAGE_NO_TENSOR;
    op->run = kind->run;
    r->op = op;
    r->read_count = r->write_count = 0;
    error = kind->decode(r, p + IMAGE_OP_HEAD_SIZE, op);
    return error ? error : check_flow(r, flow);
}

static int check_logits(const struct image_plan *plan, const struct flow *flow)
{
    struct flow_extent logits = {.first = plan->logits_offset,
                                 .stride = (uint64_t)plan->logits_stride * 4,
                                 .width = (uint64_t)plan->output_width * 4,
                                 .rows = plan->max_logit_rows,
                                 .domain = IMAGE_DOMAIN_LOGIT_ROWS,
                                 .elements = FLOW_FLOATS};
    return flow_check_read(flow, &logits) ? E_IMAGE_PLAN : 0;
}

int image_read_ops(const struct image *image, const struct image_plan *plan,
                   const struct step_state *states, uint8_t *arena, struct op *ops,
                   struct flow *flow, uint64_t *detail)
{
    struct reader r = {.image = image, .plan = plan, .states = states, .arena = arena};
    const uint8_t *p = image->parts[IMAGE_SECTION_ID_PROGRAM].data;

    flow->count = 0;
    for (uint32_t i = 0; i < plan->op_count; i++) {
        int error = read_op(&r, p + i * IMAGE_OP_BYTES, &ops[i], flow);
        *detail = i;
        if (error)
            return error;
    }
    *detail = IMAGE_SECTION_ID_PLAN;
    return check_logits(plan, flow);
}
