/* SPDX-License-Identifier: Apache-2.0 */
#include "port/hosted_line.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "gen/errors.h"

static const struct line_speed {
    uint32_t baud;
    speed_t speed;
} speeds[] = {
    {9600, B9600},       {19200, B19200},     {38400, B38400},     {57600, B57600},
    {115200, B115200},   {230400, B230400},   {460800, B460800},   {500000, B500000},
    {921600, B921600},   {1000000, B1000000}, {1500000, B1500000}, {2000000, B2000000},
    {3000000, B3000000},
};

static const char *open_tty(struct hosted_line *line, const char *path, uint32_t baud)
{
    const struct line_speed *found = NULL;
    for (size_t i = 0; i < sizeof speeds / sizeof speeds[0]; i++)
        if (speeds[i].baud == baud)
            found = &speeds[i];
    errno = 0;
    if (!found)
        return "this baud rate is not offered by Linux, for";
    struct termios mode;
    line->in = line->out = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (line->in < 0)
        return "cannot open serial line";
    if (tcgetattr(line->in, &mode))
        return "not a serial line:";
    cfmakeraw(&mode);
    mode.c_cflag |= CLOCAL | CREAD;
    cfsetspeed(&mode, found->speed);
    return tcsetattr(line->in, TCSAFLUSH, &mode) ? "cannot set up serial line" : NULL;
}

static const char *open_tcp(struct hosted_line *line, const char *address)
{
    char host[256];
    const char *colon = strrchr(address, ':');
    errno = 0;
    if (!colon || (size_t)(colon - address) >= sizeof host)
        return "not HOST:PORT:";
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = 0;
    struct addrinfo hints = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &found))
        return "cannot resolve";
    int fd = socket(found->ai_family, found->ai_socktype | SOCK_CLOEXEC, found->ai_protocol);
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int failed = fd < 0 || bind(fd, found->ai_addr, found->ai_addrlen) || listen(fd, 1);
    freeaddrinfo(found);
    line->listener = fd;
    return failed ? "cannot listen on" : NULL;
}

const char *line_open(struct hosted_line *line, const char *tty, uint32_t baud, const char *tcp)
{
    *line = (struct hosted_line){.in = -1, .out = -1, .listener = -1};
    signal(SIGPIPE, SIG_IGN);
    if (tty)
        return open_tty(line, tty, baud);
    if (tcp)
        return open_tcp(line, tcp);
    line->in = STDIN_FILENO;
    line->out = STDOUT_FILENO;
    return NULL;
}

/* TCP: the peer left, await the next one. Else the line is gone for good. */
static int line_lost(struct hosted_line *line)
{
    if (line->listener < 0) {
        line->gone = true;
        return E_IO;
    }
    close(line->in);
    line->in = line->out = -1;
    line->stalled = false;
    return 0;
}

static bool line_ready(int fd, short events, int ms)
{
    struct pollfd wait = {.fd = fd, .events = events};
    return poll(&wait, 1, ms) > 0;
}

/* A host that has vanished without a word is noticed, and little waits for one that does not read.
 */
static void line_accept(struct hosted_line *line)
{
    int on = 1, idle = 20, interval = 5, tries = 3, buffer = 1 << 16;
    line->in = line->out = accept(line->listener, NULL, NULL);
    if (line->in < 0)
        return;
    setsockopt(line->in, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(line->in, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
    setsockopt(line->in, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(line->in, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(line->in, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    setsockopt(line->in, IPPROTO_TCP, TCP_KEEPCNT, &tries, sizeof tries);
}

int line_read(struct hosted_line *line, uint8_t *to, uint32_t size)
{
    if (line->gone)
        return E_IO;
    if (line->in < 0 && line_ready(line->listener, POLLIN, 0))
        line_accept(line);
    if (line->in < 0 || !line_ready(line->in, POLLIN, 0))
        return 0;
    ssize_t got = read(line->in, to, size);
    if (got > 0)
        return (int)got;
    return got < 0 && (errno == EINTR || errno == EAGAIN) ? 0 : line_lost(line);
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* As much as fits without waiting. stdio's descriptors are others' too, so they stay blocking; a
 * pipe that polls as writable takes PIPE_BUF bytes. */
static ssize_t write_some(const struct hosted_line *line, const uint8_t *from, uint32_t size)
{
    ssize_t put = send(line->out, from, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (put >= 0 || errno != ENOTSOCK)
        return put;
    if (!line_ready(line->out, POLLOUT, 0)) {
        errno = EAGAIN;
        return -1;
    }
    return write(line->out, from, size < PIPE_BUF ? size : PIPE_BUF);
}

static int line_stalled(struct hosted_line *line)
{
    if (line->listener >= 0)
        return line_lost(line);
    line->stalled = true;
    return 0;
}

int line_write(struct hosted_line *line, const uint8_t *from, uint32_t size)
{
    if (line->gone)
        return E_IO;
    for (int64_t began = now_ms(); size && line->out >= 0;) {
        ssize_t put = write_some(line, from, size);
        if (put < 0 && errno != EINTR && errno != EAGAIN)
            return line_lost(line);
        if (put >= 0) {
            line->stalled = false;
            from += put;
            size -= (uint32_t)put;
            continue;
        }
        int64_t left = line->stalled ? 0 : LINE_STALL_MS - (now_ms() - began);
        if (left <= 0)
            return line_stalled(line);
        line_ready(line->out, POLLOUT, (int)left);
    }
    return 0;
}

void line_wait(struct hosted_line *line, int ms)
{
    if (!line->gone)
        line_ready(line->in >= 0 ? line->in : line->listener, POLLIN, ms);
}
