/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_HOSTED_KERNELS_H
#define PORT_HOSTED_KERNELS_H

/* Which family of kernels runs in a program that has several: the list is made of the families'
 * files (KERNELS_OF_<machine> in gen/formats.h). */

/* Sets `kernels` to the family of that name, to the best one that the processor has where name is
 * NULL or empty. Before any other part of the program runs: that is compiled for the processor that
 * is asked for here. Returns NULL, or what is wrong in words, which stay until the next call. */
const char *hosted_choose_kernels(const char *name);

#endif
