/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_LE_H
#define COMMON_LE_H

/* Little-endian loads and stores from byte addresses of any alignment.
 *
 * Flash and wire bytes are read through these alone, never through a cast struct. Compilers turn
 * each into one instruction where the target allows it.
 */

#include <stdint.h>

static inline uint8_t le_u8(const uint8_t *p)
{
    return p[0];
}

static inline uint16_t le_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | (uint32_t)p[1] << 8);
}

static inline uint32_t le_u32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t le_u64(const uint8_t *p)
{
    return le_u32(p) | (uint64_t)le_u32(p + 4) << 32;
}

static inline float le_f32(const uint8_t *p)
{
    union {
        uint32_t u;
        float f;
    } v = {.u = le_u32(p)};
    return v.f;
}

static inline void le_put_u8(uint8_t *p, uint8_t v)
{
    p[0] = v;
}

static inline void le_put_u16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static inline void le_put_u32(uint8_t *p, uint32_t v)
{
    le_put_u16(p, (uint16_t)v);
    le_put_u16(p + 2, (uint16_t)(v >> 16));
}

static inline void le_put_u64(uint8_t *p, uint64_t v)
{
    le_put_u32(p, (uint32_t)v);
    le_put_u32(p + 4, (uint32_t)(v >> 32));
}

static inline void le_put_f32(uint8_t *p, float f)
{
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    le_put_u32(p, v.u);
}

#endif
