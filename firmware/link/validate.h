/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LINK_VALIDATE_H
#define LINK_VALIDATE_H

/* Whether a request's bytes may be read: the sizes that host/schema/wire declares. */

#include "link/frame.h"

/* Returns 0 where the payload has the fixed part of the frame's type and exactly the records that
 * its count names; E_PROTOCOL for another version; E_MESSAGE. HELLO passes in any version and with
 * more behind it, or two ends that disagree could never say so. */
int request_validate(const struct frame *frame);

#endif
