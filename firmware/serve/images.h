/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SERVE_IMAGES_H
#define SERVE_IMAGES_H

/* The image: UNLOAD takes it away, LOAD and FLASH ask for the check of another. */

#include "link/frame.h"
#include "serve/serve.h"

/* Each answers its request; LOAD and FLASH with OK before the check, whose result HELLO tells. */
void images_receive_unload(struct serve *serve, const struct frame *frame);
void images_receive_load(struct serve *serve, const struct frame *frame);
void images_receive_flash(struct serve *serve, const struct frame *frame);

/* Checks the image, with the line served meanwhile, reports what is found and announces it. */
void images_check(struct serve *serve);

#endif
