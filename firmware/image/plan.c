/* SPDX-License-Identifier: Apache-2.0 */
/* The plan of an image, against the firmware's limits and the tables that it counts. */
#include "common/checked.h"
#include "image/image.h"
#include "gen/errors.h"

static int check_limits(const uint8_t *p)
{
    if (image_plan_vocab(p) > LIMIT_VOCAB || image_plan_context(p) > LIMIT_CONTEXT ||
        image_plan_max_rows(p) > LIMIT_ROWS || image_plan_max_logit_rows(p) > LIMIT_LOGIT_ROWS ||
        image_plan_sessions(p) > LIMIT_SESSIONS || image_plan_state_count(p) > LIMIT_STATES ||
        image_plan_op_count(p) > LIMIT_OPS || image_plan_tensor_count(p) > LIMIT_TENSORS)
        return E_IMAGE_LIMIT;
    return 0;
}

/* What only a newer writer sets: a plan that an older firmware would misread. */
static int check_known(const uint8_t *p, uint64_t size)
{
    if (image_plan_output_kind(p) - 1u >= IMAGE_OUTPUT_KIND_LABELS ||
        image_plan_output_whole_step(p) > 1u || image_plan_overflow(p) > IMAGE_OVERFLOW_SLIDE ||
        image_plan_flags(p) || !image_is_zero(p, IMAGE_PLAN_SIZE, size))
        return E_IMAGE_NEW;
    return 0;
}

static int check_numbers(const uint8_t *p)
{
    uint32_t vocab = image_plan_vocab(p), bos = image_plan_bos(p);

    if (!vocab || !image_plan_context(p) || !image_plan_max_rows(p) ||
        !image_plan_max_logit_rows(p) || !image_plan_sessions(p) || !image_plan_op_count(p))
        return E_IMAGE_PLAN;
    if (image_plan_sinks(p) > image_plan_context(p))
        return E_IMAGE_PLAN;
    if (bos != IMAGE_NO_TENSOR && bos >= vocab)
        return E_IMAGE_PLAN;
    if (image_plan_stop_count(p) > IMAGE_MAX_STOP_IDS)
        return E_IMAGE_PLAN;
    for (uint32_t i = 0; i < IMAGE_MAX_STOP_IDS; i++)
        if (image_plan_stop_ids(p, i) >= (i < image_plan_stop_count(p) ? vocab : 1))
            return E_IMAGE_PLAN;
    if (image_plan_output_kind(p) == IMAGE_OUTPUT_KIND_LOGITS)
        return image_plan_output_width(p) == vocab ? 0 : E_IMAGE_PLAN;
    return image_plan_output_width(p) - 1u < LIMIT_WIDTH ? 0 : E_IMAGE_PLAN;
}

/* The tables that the plan counts are exactly as long. */
static int check_tables(const struct image *image, const uint8_t *p, uint64_t *detail)
{
    const struct {
        uint32_t id;
        uint32_t count;
        uint32_t size;
    } tables[] = {
        {IMAGE_SECTION_ID_TENSORS, image_plan_tensor_count(p), IMAGE_TENSOR_SIZE},
        {IMAGE_SECTION_ID_STATES, image_plan_state_count(p), IMAGE_STATE_SIZE},
        {IMAGE_SECTION_ID_PROGRAM, image_plan_op_count(p), IMAGE_OP_BYTES},
    };

    for (uint32_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        *detail = tables[i].id;
        if (image->parts[tables[i].id].size != (uint64_t)tables[i].count * tables[i].size)
            return E_IMAGE_SECTION;
    }
    return 0;
}

static int check_logits(const struct image_plan *plan)
{
    uint64_t row = (uint64_t)plan->output_width * 4, stride = (uint64_t)plan->logits_stride * 4;
    uint64_t all = (plan->max_logit_rows - 1) * stride + row;

    if (plan->arena_bytes % IMAGE_ARENA_UNIT || stride < row)
        return E_IMAGE_PLAN;
    return checked_range(plan->logits_offset, all, plan->arena_bytes) ? 0 : E_IMAGE_PLAN;
}

int image_read_plan(const struct image *image, struct image_plan *plan, uint64_t *detail)
{
    const uint8_t *p = image->parts[IMAGE_SECTION_ID_PLAN].data;
    uint64_t size = image->parts[IMAGE_SECTION_ID_PLAN].size;
    int error;

    *detail = IMAGE_SECTION_ID_PLAN;
    if (size < IMAGE_PLAN_SIZE || size > IMAGE_SECTION_ALIGN)
        return E_IMAGE_SECTION;
    error = check_known(p, size);
    error = error ? error : check_limits(p);
    error = error ? error : check_numbers(p);
    error = error ? error : check_tables(image, p, detail);
    if (error)
        return error;
    *detail = IMAGE_SECTION_ID_PLAN;
    if (image_plan_output_stride(p) > LIMIT_VOCAB)
        return E_IMAGE_PLAN;
    plan->vocab = image_plan_vocab(p);
    plan->context = image_plan_context(p);
    plan->max_rows = image_plan_max_rows(p);
    plan->max_logit_rows = image_plan_max_logit_rows(p);
    plan->sessions = image_plan_sessions(p);
    plan->overflow = image_plan_overflow(p);
    plan->tensor_count = image_plan_tensor_count(p);
    plan->state_count = image_plan_state_count(p);
    plan->op_count = image_plan_op_count(p);
    plan->output_kind = image_plan_output_kind(p);
    plan->output_width = image_plan_output_width(p);
    plan->whole = image_plan_output_whole_step(p);
    plan->logits_offset = (uint64_t)image_plan_output_offset(p) * IMAGE_ARENA_UNIT;
    plan->logits_stride = image_plan_output_stride(p) * (IMAGE_ARENA_UNIT / 4);
    plan->arena_bytes = image_plan_arena_bytes(p);
    plan->runtime_bytes = image_plan_runtime_bytes(p);
    return check_logits(plan);
}
