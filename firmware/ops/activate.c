/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/activate.h"

#include "gen/image_format.h"
#include "ops/math.h"

void activate(float *x, uint32_t n, uint32_t kind)
{
    if (kind == IMAGE_ACTIVATION_SILU)
        for (uint32_t i = 0; i < n; i++)
            x[i] = math_silu(x[i]);
    else if (kind == IMAGE_ACTIVATION_GELU_TANH)
        for (uint32_t i = 0; i < n; i++)
            x[i] = math_gelu_tanh(x[i]);
    else if (kind == IMAGE_ACTIVATION_GELU_ERF)
        for (uint32_t i = 0; i < n; i++)
            x[i] = math_gelu_erf(x[i]);
    else if (kind == IMAGE_ACTIVATION_RELU)
        for (uint32_t i = 0; i < n; i++)
            x[i] = math_relu(x[i]);
}
