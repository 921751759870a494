/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PORT_HOSTED_LINE_H
#define PORT_HOSTED_LINE_H

/* The byte stream of a hosted port: stdio, a serial line, or one TCP connection at a time. */

#include <stdbool.h>
#include <stdint.h>

#define LINE_STALL_MS 5000

struct hosted_line {
    int in;
    int out;
    int listener; /* -1 but for TCP: awaits the next connection when one has ended */
    bool gone;    /* the other end closed, for good */
    bool stalled; /* nobody took what was written last: no more is awaited until somebody does */
};

/* Opens the serial line `tty` at `baud`, or listens on `tcp` ("host:port"), or takes stdio. Returns
 * NULL, or what went wrong (errno says why). */
const char *line_open(struct hosted_line *line, const char *tty, uint32_t baud, const char *tcp);

/* As port->read and port->write; but what nobody takes for LINE_STALL_MS is not waited for: over
 * TCP the connection ends and the next one is awaited, elsewhere the bytes are lost, as on a UART
 * that nobody listens to. */
int line_read(struct hosted_line *line, uint8_t *to, uint32_t size);
int line_write(struct hosted_line *line, const uint8_t *from, uint32_t size);

/* Waits until bytes or a connection have come, `ms` at most. */
void line_wait(struct hosted_line *line, int ms);

#endif
