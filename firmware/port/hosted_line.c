/* SPDX-License-Identifier: Apache-2.0 */
#include "port/hosted_line.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
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
    line->in = line->out = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
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
    return 0;
}

static bool line_ready(int fd, short events, int ms)
{
    struct pollfd wait = {.fd = fd, .events = events};
    return poll(&wait, 1, ms) > 0;
}

static void line_accept(struct hosted_line *line)
{
    int on = 1;
    line->in = line->out = accept(line->listener, NULL, NULL);
    if (line->in >= 0)
        setsockopt(line->in, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
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

int line_write(struct hosted_line *line, const uint8_t *from, uint32_t size)
{
    if (line->gone)
        return E_IO;
    while (size && line->out >= 0) {
        ssize_t put = write(line->out, from, size);
        if (put < 0 && errno != EINTR && errno != EAGAIN)
            return line_lost(line);
        if (put < 0) {
            line_ready(line->out, POLLOUT, -1);
            continue;
        }
        from += put;
        size -= (uint32_t)put;
    }
    return 0;
}

void line_wait(struct hosted_line *line, int ms)
{
    if (!line->gone)
        line_ready(line->in >= 0 ? line->in : line->listener, POLLIN, ms);
}
