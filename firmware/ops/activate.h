/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OPS_ACTIVATE_H
#define OPS_ACTIVATE_H

/* The activation functions by their number in the image. */

#include <stdint.h>

/* x[i] = activation(x[i]) for n floats; `kind` is IMAGE_ACTIVATION_*. */
void activate(float *x, uint32_t n, uint32_t kind);

#endif
