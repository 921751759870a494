/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNELS_TEST_CASES_H
#define KERNELS_TEST_CASES_H

/* Every kernel over shapes and extreme values, as one line a case:
 *
 *   name shape checksum instructions
 *
 * The checksum is over the bits of all results, so lines must agree between targets, families and
 * vector lengths but for the last number: instructions a call, 0 where they cannot be counted.
 */

#include <stdint.h>

struct test_port {
    void (*put)(const char *line); /* a line, without its end */
    uint64_t (*instret)(void);
};

void test_run(const struct test_port *port);

#endif
