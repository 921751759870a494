/* SPDX-License-Identifier: Apache-2.0 */
/* Operands, tensors and states as decoders of ops ask for them. */
#include "common/checked.h"
#include "image/reader.h"

/* ---- operands ---- */

static uint32_t domain_rows(const struct reader *r, uint32_t domain)
{
    return domain == IMAGE_DOMAIN_ROWS ? r->plan->max_rows : r->plan->max_logit_rows;
}

static uint64_t operand_offset(const uint8_t *p)
{
    return (uint64_t)image_operand_offset(p) * IMAGE_ARENA_UNIT;
}

/* The bytes [first, first + size) of each of the domain's rows, which lie within their row and the
 * arena. */
static int find_rows(const struct reader *r, const uint8_t *p, uint32_t domain, uint64_t first,
                     uint64_t size, struct flow_extent *out)
{
    uint64_t stride = (uint64_t)image_operand_stride(p) * IMAGE_ARENA_UNIT;
    uint32_t rows = domain_rows(r, domain);
    uint64_t last = operand_offset(p) + (rows - 1) * stride;

    if (image_operand_space(p) != IMAGE_SPACE_ARENA || first + size > stride ||
        !checked_range(last + first, size, r->plan->arena_bytes))
        return E_IMAGE_OP;
    *out = (struct flow_extent){.first = operand_offset(p) + first,
                                .stride = stride,
                                .width = size,
                                .rows = rows,
                                .domain = domain};
    return 0;
}

static int find_f32(const struct reader *r, const uint8_t *p, uint32_t domain, uint64_t width,
                    struct op_f32 *out, struct flow_extent *extent)
{
    if (find_rows(r, p, domain, (uint64_t)image_operand_col(p) * 4, width * 4, extent))
        return E_IMAGE_OP;
    extent->elements = FLOW_FLOATS;
    out->base = (float *)(void *)(r->arena + extent->first);
    out->stride = (size_t)(extent->stride / 4);
    return 0;
}

static int find_q8a(const struct reader *r, const uint8_t *p, uint32_t width, struct op_q8a *out,
                    struct flow_extent *extent)
{
    uint32_t groups = (uint32_t)checked_ceil(width, IMAGE_GROUP);
    uint32_t values = (uint32_t)checked_align(groups * IMAGE_GROUP, IMAGE_ARENA_UNIT);
    uint32_t scales = (uint32_t)checked_align(groups * 4, IMAGE_ARENA_UNIT);

    if (image_operand_col(p) ||
        find_rows(r, p, r->op->domain, 0, (uint64_t)values + 2 * scales, extent))
        return E_IMAGE_OP;
    extent->elements = width;
    out->base = r->arena + extent->first;
    out->stride = (size_t)extent->stride;
    out->scales = values;
    out->sums = values + scales;
    return 0;
}

static int add_read(struct reader *r, const struct flow_extent *extent)
{
    if (r->read_count == READER_READS)
        return E_IMAGE_OP;
    r->reads[r->read_count++] = *extent;
    return 0;
}

static int add_write(struct reader *r, const struct flow_extent *extent)
{
    if (r->write_count == READER_WRITES)
        return E_IMAGE_OP;
    r->writes[r->write_count++] = *extent;
    return 0;
}

int reader_is_operand(const uint8_t *p)
{
    return image_operand_space(p) != IMAGE_SPACE_NONE;
}

int reader_no_operand(const uint8_t *p)
{
    return reader_is_operand(p) || image_operand_offset(p) || image_operand_stride(p) ||
                   image_operand_col(p)
               ? E_IMAGE_OP
               : 0;
}

int reader_read_f32_of(struct reader *r, const uint8_t *p, uint32_t domain, uint64_t width,
                       struct op_f32 *out)
{
    struct flow_extent extent;
    return find_f32(r, p, domain, width, out, &extent) ? E_IMAGE_OP : add_read(r, &extent);
}

int reader_read_f32(struct reader *r, const uint8_t *p, uint64_t width, struct op_f32 *out)
{
    return reader_read_f32_of(r, p, r->op->domain, width, out);
}

int reader_read_f32_in_place(struct reader *r, const uint8_t *p, uint64_t width, struct op_f32 *out)
{
    struct flow_extent extent;
    if (find_f32(r, p, r->op->domain, width, out, &extent))
        return E_IMAGE_OP;
    extent.in_place = 1;
    return add_read(r, &extent);
}

int reader_read_q8a(struct reader *r, const uint8_t *p, uint32_t width, struct op_q8a *out)
{
    struct flow_extent extent;
    return find_q8a(r, p, width, out, &extent) ? E_IMAGE_OP : add_read(r, &extent);
}

int reader_write_f32(struct reader *r, const uint8_t *p, uint64_t width, struct op_f32 *out)
{
    struct flow_extent extent;
    if (find_f32(r, p, r->op->domain, width, out, &extent))
        return E_IMAGE_OP;
    return add_write(r, &extent);
}

int reader_write_q8a(struct reader *r, const uint8_t *p, uint32_t width, struct op_q8a *out)
{
    struct flow_extent extent;
    return find_q8a(r, p, width, out, &extent) ? E_IMAGE_OP : add_write(r, &extent);
}

/* One row, whatever the stride. */
int reader_scratch(struct reader *r, const uint8_t *p, uint64_t floats, float **out)
{
    uint64_t bytes = checked_mul(floats, 4);
    struct flow_extent extent = {.first = operand_offset(p),
                                 .stride = bytes,
                                 .width = bytes,
                                 .rows = 1,
                                 .domain = IMAGE_DOMAIN_ROWS,
                                 .elements = FLOW_SCRATCH};

    if (image_operand_space(p) != IMAGE_SPACE_ARENA || image_operand_col(p) ||
        !checked_range(extent.first, bytes, r->plan->arena_bytes))
        return E_IMAGE_OP;
    *out = (float *)(void *)(r->arena + extent.first);
    return add_write(r, &extent);
}

/* ---- tensors ---- */

static const uint8_t *find_tensor(const struct reader *r, uint32_t index)
{
    if (index >= r->plan->tensor_count)
        return NULL;
    return r->image->parts[IMAGE_SECTION_ID_TENSORS].data + (uint64_t)index * IMAGE_TENSOR_SIZE;
}

int reader_vector(const struct reader *r, uint32_t index, uint32_t cols, const float **out)
{
    const uint8_t *t = find_tensor(r, index);
    struct kernel_weight weight;

    if (!t || image_tensor_format(t) != IMAGE_FORMAT_F32 ||
        image_tensor_layout(t) != IMAGE_LAYOUT_PLAIN || image_tensor_rows(t) != 1 ||
        image_tensor_cols(t) != cols)
        return E_IMAGE_OP;
    image_weight(r->image, index, &weight);
    *out = (const float *)(const void *)weight.data;
    return 0;
}

int reader_optional_vector(const struct reader *r, uint32_t index, uint32_t cols, const float **out)
{
    return index == IMAGE_NO_TENSOR ? 0 : reader_vector(r, index, cols, out);
}

int reader_table(const struct reader *r, uint32_t index, uint32_t rows, uint32_t cols,
                 struct kernel_weight *out)
{
    const uint8_t *t = find_tensor(r, index);

    if (!t || image_tensor_rows(t) < rows || image_tensor_cols(t) != cols)
        return E_IMAGE_OP;
    image_weight(r->image, index, out);
    return 0;
}

int reader_weight(struct reader *r, uint32_t index, uint32_t rows, uint32_t cols,
                  struct kernel_weight *out)
{
    if (reader_table(r, index, rows, cols, out) ||
        image_tensor_rows(find_tensor(r, index)) != rows || out->layout == IMAGE_LAYOUT_PLAIN)
        return E_IMAGE_OP;
    r->op->weight = index;
    return 0;
}

/* ---- states ---- */

static int find_state(const struct reader *r, uint32_t index, const struct step_state **out)
{
    if (index >= r->plan->state_count)
        return E_IMAGE_OP;
    *out = &r->states[index];
    return 0;
}

int reader_write_state(struct reader *r, uint32_t index, const struct step_state **out)
{
    if (find_state(r, index, out))
        return E_IMAGE_OP;
    r->stored[index] = 1;
    return 0;
}

int reader_read_state(const struct reader *r, uint32_t index, const struct step_state **out)
{
    return find_state(r, index, out) || !r->stored[index] ? E_IMAGE_OP : 0;
}
