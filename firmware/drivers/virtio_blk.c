/* SPDX-License-Identifier: Apache-2.0 */
#include "drivers/virtio_blk.h"

#include <stddef.h>

#include "drivers/mmio.h"
#include "gen/errors.h"

/* Registers of virtio-mmio. */
#define MAGIC           0x000u
#define VERSION         0x004u
#define DEVICE_ID       0x008u
#define DEVICE_FEATURES 0x010u
#define DEVICE_SELECT   0x014u
#define DRIVER_FEATURES 0x020u
#define DRIVER_SELECT   0x024u
#define QUEUE_SELECT    0x030u
#define QUEUE_MAX       0x034u
#define QUEUE_SIZE      0x038u
#define QUEUE_READY     0x044u
#define QUEUE_NOTIFY    0x050u
#define STATUS          0x070u
#define QUEUE_DESC      0x080u
#define QUEUE_DRIVER    0x090u
#define QUEUE_DEVICE    0x0a0u

#define MAGIC_VALUE   0x74726976u
#define BLOCK_DEVICE  2u
#define FEATURE_FLUSH (1u << 9)
#define FEATURE_V1    1u /* bit 32: in the second word */

#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_FAILED      128u

#define DESC_NEXT  1u
#define DESC_WRITE 2u /* by the device */

#define REQUEST_IN    0u
#define REQUEST_OUT   1u
#define REQUEST_FLUSH 4u

#define QUEUE_ENTRIES 4u
#define SPINS         200000000u /* far beyond any medium's patience; then the device is given up */

/* The queue and a request as the device reads them: little-endian, like every RISC-V core here. */
static struct {
    struct {
        uint64_t address;
        uint32_t size;
        uint16_t flags, next;
    } desc[QUEUE_ENTRIES] __attribute__((aligned(16)));
    struct {
        uint16_t flags, index, ring[QUEUE_ENTRIES];
    } driver __attribute__((aligned(4)));
    struct {
        uint16_t flags, index;
        struct {
            uint32_t id, size;
        } ring[QUEUE_ENTRIES];
    } device __attribute__((aligned(4)));
    struct {
        uint32_t type, reserved;
        uint64_t sector;
    } request;
    uint8_t status;
} queue;

static uintptr_t device;
static int flushes;

static void put_address(uint32_t at, const void *address)
{
    mmio_put_u32(device + at, (uint32_t)(uintptr_t)address);
    mmio_put_u32(device + at + 4, (uint32_t)((uint64_t)(uintptr_t)address >> 32));
}

static int agree_features(void)
{
    mmio_put_u32(device + DEVICE_SELECT, 0);
    uint32_t offered = mmio_u32(device + DEVICE_FEATURES);
    flushes = (offered & FEATURE_FLUSH) != 0;
    mmio_put_u32(device + DRIVER_SELECT, 0);
    mmio_put_u32(device + DRIVER_FEATURES, offered & FEATURE_FLUSH);
    mmio_put_u32(device + DRIVER_SELECT, 1);
    mmio_put_u32(device + DRIVER_FEATURES, FEATURE_V1);
    mmio_put_u32(device + STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    return mmio_u32(device + STATUS) & STATUS_FEATURES_OK ? 0 : E_IO;
}

static int start_device(void)
{
    mmio_put_u32(device + STATUS, 0);
    mmio_put_u32(device + STATUS, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    if (agree_features())
        return E_IO;
    mmio_put_u32(device + QUEUE_SELECT, 0);
    if (mmio_u32(device + QUEUE_MAX) < QUEUE_ENTRIES)
        return E_IO;
    mmio_put_u32(device + QUEUE_SIZE, QUEUE_ENTRIES);
    put_address(QUEUE_DESC, queue.desc);
    put_address(QUEUE_DRIVER, &queue.driver);
    put_address(QUEUE_DEVICE, &queue.device);
    mmio_put_u32(device + QUEUE_READY, 1);
    mmio_put_u32(device + STATUS,
                 STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    return 0;
}

int virtio_blk_init(uintptr_t base, uint32_t stride, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        device = base + (uintptr_t)i * stride;
        if (mmio_u32(device + MAGIC) != MAGIC_VALUE || mmio_u32(device + VERSION) != 2 ||
            mmio_u32(device + DEVICE_ID) != BLOCK_DEVICE)
            continue;
        if (!start_device())
            return 0;
        mmio_put_u32(device + STATUS, STATUS_FAILED);
    }
    device = 0;
    return E_IO;
}

static void put_desc(uint16_t i, const void *address, uint32_t size, uint16_t flags)
{
    queue.desc[i].address = (uintptr_t)address;
    queue.desc[i].size = size;
    queue.desc[i].flags = flags;
    queue.desc[i].next = (uint16_t)(i + 1);
}

static int transfer(uint32_t type, uint64_t sector, const uint8_t *data)
{
    uint16_t last = 0;
    if (!device)
        return E_IO;
    queue.request.type = type;
    queue.request.sector = sector;
    queue.status = 0xff;
    put_desc(last++, &queue.request, sizeof queue.request, DESC_NEXT);
    if (data)
        put_desc(last++, data, VIRTIO_BLK_SECTOR,
                 DESC_NEXT | (type == REQUEST_IN ? DESC_WRITE : 0u));
    put_desc(last, &queue.status, 1, DESC_WRITE);
    queue.driver.ring[queue.driver.index % QUEUE_ENTRIES] = 0;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint16_t wanted = ++queue.driver.index;
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    mmio_put_u32(device + QUEUE_NOTIFY, 0);
    for (uint32_t i = 0; i < SPINS; i++)
        if (__atomic_load_n(&queue.device.index, __ATOMIC_ACQUIRE) == wanted)
            return __atomic_load_n(&queue.status, __ATOMIC_RELAXED) ? E_IO : 0;
    /* Its late write must not land in a buffer of somebody else's. */
    mmio_put_u32(device + STATUS, 0);
    device = 0;
    return E_IO;
}

int virtio_blk_read(uint64_t sector, uint8_t *to)
{
    return transfer(REQUEST_IN, sector, to);
}

int virtio_blk_write(uint64_t sector, const uint8_t *from)
{
    return transfer(REQUEST_OUT, sector, from);
}

int virtio_blk_sync(void)
{
    return flushes ? transfer(REQUEST_FLUSH, 0, NULL) : 0;
}
