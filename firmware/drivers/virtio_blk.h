/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRIVERS_VIRTIO_BLK_H
#define DRIVERS_VIRTIO_BLK_H

/* A virtio block device behind virtio-mmio (virtio 1.1, 4.2 and 5.2), one request at a time,
 * polled. */

#include <stdint.h>

#define VIRTIO_BLK_SECTOR 512u

/* Looks for a block device at base, base + stride, ... and takes the first. Returns 0, or E_IO
 * where there is none or it refuses. */
int virtio_blk_init(uintptr_t base, uint32_t stride, uint32_t count);

/* One sector of VIRTIO_BLK_SECTOR bytes. Return 0 or E_IO. */
int virtio_blk_read(uint64_t sector, uint8_t *to);
int virtio_blk_write(uint64_t sector, const uint8_t *from);

/* Returns when the device has on its medium what was written: 0 or E_IO. */
int virtio_blk_sync(void);

#endif
