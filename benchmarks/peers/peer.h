/* What the C peers share: options, sockets, the clock. Each peer is one small program; a failure is one line and exit 1.
 *
 * Rules: 127.0.0.1 only; a server binds port 0 and prints "listening 127.0.0.1:PORT" first; results are one JSON line. */
#ifndef PEER_H
#define PEER_H
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "failed");
    exit(1);
}

/* Monotonic seconds. */
static inline double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* The value of "NAME VALUE" among the arguments, else `unset`; not a number above 0 is a usage error (exit 2). */
static inline double number_option(int argc, char **argv, const char *name, double unset) {
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            char *end;
            double value = strtod(argv[i + 1], &end);
            if (*end || end == argv[i + 1] || !(value > 0)) {
                fprintf(stderr, "%s %s: expected a number above 0\n", name, argv[i + 1]);
                exit(2);
            }
            return value;
        }
    }
    return unset;
}

static inline int flag_option(int argc, char **argv, const char *name) {
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0) return 1;
    return 0;
}

static inline void *buffer_of(size_t size) {
    void *buffer = malloc(size);
    if (!buffer) fail("malloc");
    memset(buffer, 'x', size);
    return buffer;
}

static inline void no_delay(int fd) {
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static inline void non_blocking(int fd) {
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) fail("fcntl");
}

static inline struct sockaddr_in local_address(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/* A listening, non-blocking socket on a port of the kernel's choice, which is printed. */
static inline int listening_socket(void) {
    struct sockaddr_in address = local_address(0);
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    if (bind(fd, (struct sockaddr *)&address, length) < 0) fail("bind");
    if (listen(fd, 4096) < 0) fail("listen");
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0) fail("getsockname");
    non_blocking(fd);
    printf("listening 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* A connected, blocking socket. */
static inline int connected_socket(int port) {
    struct sockaddr_in address = local_address(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    no_delay(fd);
    return fd;
}

static inline void watch(int epoll, int how, int fd, unsigned events, void *owner) {
    struct epoll_event event = {.events = events};
    event.data.ptr = owner;
    if (epoll_ctl(epoll, how, fd, &event) < 0) fail("epoll_ctl");
}
#endif
