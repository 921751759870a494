/* SPDX-License-Identifier: Apache-2.0 */
/* Tensors of an image: tensor_bytes() of host/schema/weights.py, computed again. */
#include "common/checked.h"
#include "formats/formats.h"
#include "image/image.h"
#include "gen/errors.h"

void image_weight(const struct image *image, uint32_t index, struct kernel_weight *weight)
{
    const uint8_t *p =
        image->parts[IMAGE_SECTION_ID_TENSORS].data + (uint64_t)index * IMAGE_TENSOR_SIZE;
    const struct format_record *record =
        format_find(image_tensor_format(p), image_tensor_layout(p));

    weight->data = image->parts[IMAGE_SECTION_ID_WEIGHTS].data + image_tensor_offset(p);
    weight->format = record->format;
    weight->layout = record->layout;
    weight->rows = image_tensor_rows(p);
    weight->cols = image_tensor_cols(p);
    weight->record = record->bytes;
    if (weight->layout == IMAGE_LAYOUT_PLAIN) {
        weight->tile_stride =
            checked_align((uint64_t)weight->cols * weight->record, IMAGE_TENSOR_ALIGN);
        return;
    }
    weight->rows = (uint32_t)checked_align(weight->rows, IMAGE_TILE_ROWS);
    weight->cols = (uint32_t)checked_align(weight->cols, record->columns);
    weight->tile_stride = (uint64_t)(weight->cols / record->columns) * weight->record;
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

    if (!image_is_zero(p, IMAGE_TENSOR_RESERVED_OFFSET, IMAGE_TENSOR_SIZE) ||
        !format_find(image_tensor_format(p), image_tensor_layout(p)))
        return E_IMAGE_NEW;
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
