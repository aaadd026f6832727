/* Echo on one thread: epoll, one recv, one send. What the socket does not take is kept and reading stops until it does.
 *
 * echo_server [--read BYTES]   the size of a read (65536) */
#include "peer.h"

struct stream {
    int fd;
    char *kept; /* echo not yet taken by the socket; at most one read */
    size_t from, to;
};

static int epoll;
static char *buffer;
static size_t read_size;

static void close_stream(struct stream *stream) {
    close(stream->fd);
    free(stream->kept);
    free(stream);
}

/* Sends what can be sent; the bytes taken, or -1 for a dead peer. */
static ssize_t taken(int fd, const char *bytes, size_t length) {
    ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    return sent;
}

static void readable(struct stream *stream) {
    ssize_t got = recv(stream->fd, buffer, read_size, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        close_stream(stream);
        return;
    }
    ssize_t sent = taken(stream->fd, buffer, (size_t)got);
    if (sent < 0) {
        close_stream(stream);
    } else if (sent < got) {
        if (!stream->kept) stream->kept = buffer_of(read_size);
        stream->from = 0;
        stream->to = (size_t)(got - sent);
        memcpy(stream->kept, buffer + sent, stream->to);
        watch(epoll, EPOLL_CTL_MOD, stream->fd, EPOLLOUT, stream);
    }
}

static void writable(struct stream *stream) {
    ssize_t sent = taken(stream->fd, stream->kept + stream->from, stream->to - stream->from);
    if (sent < 0) {
        close_stream(stream);
        return;
    }
    stream->from += (size_t)sent;
    if (stream->from == stream->to) watch(epoll, EPOLL_CTL_MOD, stream->fd, EPOLLIN, stream);
}

int main(int argc, char **argv) {
    read_size = (size_t)number_option(argc, argv, "--read", 65536);
    buffer = buffer_of(read_size);
    epoll = epoll_create1(0);
    int listener = listening_socket();
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[64];
    for (;;) {
        int ready = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            struct stream *stream = events[i].data.ptr;
            if (stream) {
                if (events[i].events & EPOLLOUT) writable(stream);
                else readable(stream);
                continue;
            }
            int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
            if (fd < 0) continue;
            no_delay(fd);
            stream = calloc(1, sizeof *stream);
            if (!stream) fail("calloc");
            stream->fd = fd;
            watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, stream);
        }
    }
}
