/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of an image: tensor_bytes() of host/schema/image.py, computed again. */
#include "common/checked.h"
#include "image/image.h"
#include "gen/errors.h"

static int format_is_float(uint32_t format)
{
    return format == IMAGE_FORMAT_F32 || format == IMAGE_FORMAT_BF16;
}

/* Floats are PLAIN or in the RVV order, which both kernel families read; blocks are in either
 * family's order. */
static int check_layout(uint32_t format, uint32_t layout)
{
    if (format_is_float(format))
        return layout == IMAGE_LAYOUT_PLAIN || layout == IMAGE_LAYOUT_RVV;
    if (format == IMAGE_FORMAT_Q8 || format == IMAGE_FORMAT_Q4 || format == IMAGE_FORMAT_Q4M)
        return layout == IMAGE_LAYOUT_RVV || layout == IMAGE_LAYOUT_SWAR;
    return 0;
}

static uint32_t record_bytes(uint32_t format, uint32_t layout)
{
    uint32_t values = IMAGE_TILE_ROWS * IMAGE_GROUP, scales = IMAGE_TILE_ROWS * 2;

    if (format == IMAGE_FORMAT_F32)
        return IMAGE_TILE_ROWS * 4;
    if (format == IMAGE_FORMAT_BF16)
        return IMAGE_TILE_ROWS * 2;
    if (format == IMAGE_FORMAT_Q8)
        return values + (layout == IMAGE_LAYOUT_SWAR ? 2 : 1) * scales;
    return values / 2 + (format == IMAGE_FORMAT_Q4M ? 2 : 1) * scales;
}

void image_weight(const struct image *image, uint32_t index, struct kernel_weight *weight)
{
    const uint8_t *p =
        image->parts[IMAGE_SECTION_ID_TENSORS].data + (uint64_t)index * IMAGE_TENSOR_SIZE;
    uint32_t size;

    weight->data = image->parts[IMAGE_SECTION_ID_WEIGHTS].data + image_tensor_offset(p);
    weight->format = image_tensor_format(p);
    weight->layout = image_tensor_layout(p);
    weight->rows = image_tensor_rows(p);
    weight->cols = image_tensor_cols(p);
    size = weight->format == IMAGE_FORMAT_F32 ? 4 : 2;
    if (weight->layout == IMAGE_LAYOUT_PLAIN) {
        weight->record = size;
        weight->tile_stride = checked_align((uint64_t)weight->cols * size, IMAGE_TENSOR_ALIGN);
        return;
    }
    weight->rows = (uint32_t)checked_align(weight->rows, IMAGE_TILE_ROWS);
    weight->record = record_bytes(weight->format, weight->layout);
    weight->tile_stride = (uint64_t)weight->cols * weight->record;
    if (!format_is_float(weight->format)) {
        weight->cols = (uint32_t)checked_align(weight->cols, IMAGE_GROUP);
        weight->tile_stride = (uint64_t)(weight->cols / IMAGE_GROUP) * weight->record;
    }
}

static uint64_t weight_bytes(const struct kernel_weight *weight)
{
    uint32_t tiles = weight->rows;

    if (weight->layout != IMAGE_LAYOUT_PLAIN)
        tiles /= IMAGE_TILE_ROWS;
    return checked_mul(tiles, weight->tile_stride);
}

static int check_tensor(const struct image *image, uint32_t index)
{
    const uint8_t *p =
        image->parts[IMAGE_SECTION_ID_TENSORS].data + (uint64_t)index * IMAGE_TENSOR_SIZE;
    uint64_t offset = image_tensor_offset(p), size = image_tensor_size(p);
    struct kernel_weight weight;

    if (!image_is_zero(p, IMAGE_TENSOR_RESERVED_OFFSET, IMAGE_TENSOR_SIZE))
        return E_IMAGE_NEW;
    if (!check_layout(image_tensor_format(p), image_tensor_layout(p)))
        return E_IMAGE_TENSOR;
    if (!image_tensor_rows(p) || !image_tensor_cols(p))
        return E_IMAGE_TENSOR;
    /* Tables of positions have as many rows as a context, gated weights two for an output. */
    if (image_tensor_rows(p) > LIMIT_CONTEXT || image_tensor_cols(p) > LIMIT_WIDTH)
        return E_IMAGE_LIMIT;
    if (offset % IMAGE_TENSOR_ALIGN ||
        !checked_range(offset, size, image->parts[IMAGE_SECTION_ID_WEIGHTS].size))
        return E_IMAGE_TENSOR;
    if (!checked_range(image_tensor_name_offset(p), image_tensor_name_size(p),
                       image->parts[IMAGE_SECTION_ID_NAMES].size))
        return E_IMAGE_TENSOR;
    image_weight(image, index, &weight);
    return weight_bytes(&weight) == size ? 0 : E_IMAGE_TENSOR;
}

int image_check_tensors(const struct image *image, const struct image_plan *plan, uint64_t *detail)
{
    for (uint32_t i = 0; i < plan->tensor_count; i++) {
        int error = check_tensor(image, i);
        if (error) {
            *detail = i;
            return error;
        }
    }
    return 0;
}
