/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scales and integers of groups of weights: what host/schema/search.py says in numpy, bit for bit,
 * one group after the other without leaving the cache. GROUP, a multiple of 16, and MOST_TRIALS, a
 * multiple of 4, are given by host/schema/scales.py.
 *
 * x is float [n][GROUP], finite; q int8 [n][GROUP]; scales and minima bf16 [n]. No value of x can
 * make a function touch anything else.
 */
#include <stdint.h>

#define LANES    4
#define BLOCKS   (GROUP / LANES)
#define SMALLEST 0x1p-126f
#define LARGEST  0x1.fep127f
/* Adding and taking away 1.5 * 2^23 rounds to the nearest integer, ties to even. */
#define MAGIC 12582912.0f

#define API __attribute__((visibility("default")))

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t masks __attribute__((vector_size(4 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));
typedef int8_t bytes __attribute__((vector_size(LANES)));

/* What was tried: its squared error, the scale, 1 / scale or 0, and the minimum. */
enum { ERROR, SCALE, INVERSE, MINIMUM };

struct group {
    lanes x[BLOCKS];
    lanes best;
    float low, high;
    int exponent;
};

/* ---- lanes ---- */

static lanes all(float v)
{
    return (lanes){v, v, v, v};
}

static lanes chosen(masks which, lanes yes, lanes no)
{
    return (lanes)(((masks)yes & which) | ((masks)no & ~which));
}

static lanes least(lanes a, lanes b)
{
    return chosen(a < b, a, b);
}

static lanes most(lanes a, lanes b)
{
    return chosen(a > b, a, b);
}

static lanes absolute(lanes a)
{
    return (lanes)((masks)a & INT32_MAX);
}

static float folded(lanes sum)
{
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static float largest_lane(lanes a)
{
    float first = a[0] > a[1] ? a[0] : a[1], second = a[2] > a[3] ? a[2] : a[3];
    return first > second ? first : second;
}

/* The block of columns that is added as the i-th: 3, 2, 1, 0, 7, 6, 5, 4, ... */
static int turn(int i)
{
    return i / 4 * 4 + 3 - i % 4;
}

static lanes round_bf16(lanes a)
{
    words bits = (words)a;
    return (lanes)((bits + (0x7fff + (bits >> 16 & 1))) & 0xffff0000u);
}

static uint16_t to_bf16(float value)
{
    return (uint16_t)(((words)round_bf16(all(value)))[0] >> 16);
}

/* Rounded to bf16; 0 where it is below the normal range, or infinite. */
static lanes usable_scales(lanes scales)
{
    lanes s = round_bf16(scales), size = absolute(s);
    return (lanes)((masks)s & (size >= SMALLEST) & (size <= LARGEST));
}

static lanes inverses_of(lanes s)
{
    return (lanes)((masks)(1.0f / s) & (s != 0));
}

/* ---- a group ---- */

/* e with size = f * 2^e and 0.5 <= f < 1, at least -126; 0 for 0. */
static int exponent_of(float size)
{
    int biased = (int)(((words)all(size))[0] >> 23);
    return size == 0 ? 0 : biased < 1 ? -126 : biased - 126;
}

static double power_of_two(int e)
{
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

static void load(struct group *g, const float *x)
{
    __builtin_memcpy(g->x, x, sizeof g->x);
    g->best = (lanes){__builtin_inff(), 0, 0, 0};
}

static float largest_of(const struct group *g)
{
    lanes top = absolute(g->x[0]);
    for (int k = 1; k < BLOCKS; k++)
        top = most(absolute(g->x[k]), top);
    return largest_lane(top);
}

/* Takes out a power of two, so that squares neither overflow nor vanish. */
static void normalise(struct group *g)
{
    g->exponent = exponent_of(largest_of(g));
    lanes factor = all((float)power_of_two(-g->exponent));
    for (int k = 0; k < BLOCKS; k++)
        g->x[k] *= factor;
}

/* A scale or minimum with the power put back; clear of infinity and of what is below the normal
 * range. */
static uint16_t restored(float value, int exponent)
{
    double full = (double)value * power_of_two(exponent);
    full = full > (double)LARGEST ? (double)LARGEST : full;
    full = full < -(double)LARGEST ? -(double)LARGEST : full;
    return full > -(double)SMALLEST && full < (double)SMALLEST ? 0 : to_bf16((float)full);
}

static lanes nearest(lanes x, float minimum, float inverse, float low, float high)
{
    lanes v = (x - all(minimum)) * all(inverse);
    v = most(least(v, all(high)), all(low));
    return (v + all(MAGIC)) - all(MAGIC);
}

/* Keeps scale and minimum if they give less squared error than those before. Without a branch: it
 * would be guessed. */
static inline void attempt(struct group *g, float scale, float inverse, float minimum)
{
    lanes sum = all(0);
    for (int i = 0; i < BLOCKS; i++) {
        lanes x = g->x[turn(i)];
        lanes off = nearest(x, minimum, inverse, g->low, g->high) * all(scale) + all(minimum) - x;
        sum += off * off;
    }
    lanes found = {folded(sum), scale, inverse, minimum};
    g->best = chosen(all(found[ERROR]) < all(g->best[ERROR]), found, g->best);
}

static void attempt_scale(struct group *g, float scale, float minimum)
{
    lanes s = usable_scales(all(scale));
    attempt(g, s[0], inverses_of(s)[0], minimum);
}

static void finish(const struct group *g, int8_t *q)
{
    for (int k = 0; k < BLOCKS; k++) {
        lanes v = nearest(g->x[k], g->best[MINIMUM], g->best[INVERSE], g->low, g->high);
        bytes b = __builtin_convertvector(__builtin_convertvector(v, masks), bytes);
        __builtin_memcpy(q + LANES * k, &b, sizeof b);
    }
}

struct moments {
    float q, qq, qx;
};

/* Sums of the best's integers, of their squares, and of their products with x. */
static struct moments moments_of(const struct group *g)
{
    lanes q = all(0), qq = all(0), qx = all(0);
    for (int i = 0; i < BLOCKS; i++) {
        lanes x = g->x[turn(i)];
        lanes v = nearest(x, g->best[MINIMUM], g->best[INVERSE], g->low, g->high);
        q += v;
        qq += v * v;
        qx += v * x;
    }
    return (struct moments){folded(q), folded(qq), folded(qx)};
}

/* ---- scales alone ---- */

/* The first value of the largest magnitude. */
static float extreme_of(const struct group *g)
{
    lanes low = g->x[0], high = g->x[0];
    for (int k = 1; k < BLOCKS; k++) {
        low = least(g->x[k], low);
        high = most(g->x[k], high);
    }
    float down = largest_lane(-low), up = largest_lane(high);
    if (up != down)
        return up > down ? up : -down;
    for (int i = 0; i < GROUP; i++) {
        float value = g->x[i / LANES][i % LANES];
        if (value == up || value == -up)
            return value;
    }
    return up;
}

static void try_steps(struct group *g, const lanes *steps, int count)
{
    float scales[MOST_TRIALS], inverses[MOST_TRIALS];
    lanes extreme = all(extreme_of(g));
    for (int k = 0; k < MOST_TRIALS / LANES; k++) {
        lanes s = usable_scales(extreme / steps[k]), inverse = inverses_of(s);
        __builtin_memcpy(scales + LANES * k, &s, sizeof s);
        __builtin_memcpy(inverses + LANES * k, &inverse, sizeof s);
    }
    for (int k = 0; k < count; k++)
        attempt(g, scales[k], inverses[k], 0);
}

/* steps: MOST_TRIALS divisors of the extreme value, of which the first count are tried. */
API void search_scale(const float *x, int64_t n, int low, int high, const float *steps, int count,
                      int8_t *q, uint16_t *scales)
{
    lanes divisors[MOST_TRIALS / LANES];
    __builtin_memcpy(divisors, steps, sizeof divisors);
    for (int64_t i = 0; i < n; i++) {
        struct group g = {.low = (float)low, .high = (float)high};
        load(&g, x + GROUP * i);
        normalise(&g);
        try_steps(&g, divisors, count);
        struct moments found = moments_of(&g);
        attempt_scale(&g, found.qq > 0 ? found.qx / found.qq : 0, 0);
        finish(&g, q + GROUP * i);
        scales[i] = restored(g.best[SCALE], g.exponent);
    }
}

/* ---- scales and minima ---- */

/* In 8 lanes, folded in pairs. */
static float mean_of(const struct group *g)
{
    lanes even = g->x[0], odd = g->x[1];
    for (int k = 2; k < BLOCKS; k += 2) {
        even += g->x[k];
        odd += g->x[k + 1];
    }
    return (folded(even) + folded(odd)) / GROUP;
}

static void try_spans(struct group *g, const float *spans, int count)
{
    lanes low = g->x[0], high = g->x[0];
    for (int k = 1; k < BLOCKS; k++) {
        low = least(g->x[k], low);
        high = most(g->x[k], high);
    }
    float first = -largest_lane(-low), last = largest_lane(high);
    for (int k = 0; k < count; k++) {
        lanes s = usable_scales(all((last - first) / spans[k]));
        lanes minimum = round_bf16((all(first + last) + s) * 0.5f);
        attempt(g, s[0], inverses_of(s)[0], minimum[0]);
    }
}

static void fit_line(struct group *g, float mean_x)
{
    struct moments found = moments_of(g);
    float mean_q = found.q / GROUP;
    float spread = found.qq / GROUP - mean_q * mean_q;
    float joint = found.qx / GROUP - mean_q * mean_x;
    lanes slope = usable_scales(all(spread > 0 ? joint / spread : g->best[SCALE]));
    attempt_scale(g, slope[0], round_bf16(all(mean_x - slope[0] * mean_q))[0]);
}

/* spans: count divisors of the range; fits: how often a line is fitted to the best. */
API void search_line(const float *x, int64_t n, int low, int high, const float *spans, int count,
                     int fits, int8_t *q, uint16_t *scales, uint16_t *minima)
{
    for (int64_t i = 0; i < n; i++) {
        struct group g = {.low = (float)low, .high = (float)high};
        load(&g, x + GROUP * i);
        normalise(&g);
        float mean_x = mean_of(&g);
        try_spans(&g, spans, count);
        for (int k = 0; k < fits; k++)
            fit_line(&g, mean_x);
        finish(&g, q + GROUP * i);
        scales[i] = restored(g.best[SCALE], g.exponent);
        minima[i] = restored(g.best[MINIMUM], g.exponent);
    }
}

/* ---- the largest value alone ---- */

API void round_to_largest(const float *x, int64_t n, int high, int8_t *q, uint16_t *scales)
{
    for (int64_t i = 0; i < n; i++) {
        struct group g = {.low = (float)-high, .high = (float)high};
        load(&g, x + GROUP * i);
        lanes s = usable_scales(all(largest_of(&g) / (float)high));
        g.best = (lanes){0, s[0], inverses_of(s)[0], 0};
        finish(&g, q + GROUP * i);
        scales[i] = to_bf16(s[0]);
    }
}
