/* The load of the rows of accepts: N connections at a time, each sends one packet, waits until it has come back, and is
 * reset; then the next one takes its place.
 *
 * connector --port P [--connections 50] [--size 64] --seconds S
 *
 * One JSON line: connections, packets, seconds. A wrong or missing reply, or a connect that fails, is one line on stderr
 * and exit 1. The reset leaves no port waiting. */
#include "peer.h"

struct stream {
    int fd;
    size_t to_receive;
    int sent;
};

static char *packet, *reply;
static size_t size;
static struct sockaddr_in address;

static void begin(int epoll, struct stream *stream) {
    struct linger reset = {1, 0};
    stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (stream->fd < 0) fail("socket");
    setsockopt(stream->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(stream->fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS) fail("connect");
    stream->to_receive = size;
    stream->sent = 0;
    watch(epoll, EPOLL_CTL_ADD, stream->fd, EPOLLOUT, stream);
}

/* 1 when the reply is whole. */
static int goes_on(int epoll, struct stream *stream) {
    ssize_t done;
    if (!stream->sent) {
        done = send(stream->fd, packet, size, MSG_NOSIGNAL);
        if (done != (ssize_t)size) fail("connect, or send");
        stream->sent = 1;
        watch(epoll, EPOLL_CTL_MOD, stream->fd, EPOLLIN, stream);
        return 0;
    }
    done = recv(stream->fd, reply, size, 0);
    if (done < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (done < 0) fail("recv");
    errno = 0;
    if (done == 0) fail("closed by the server before the reply was whole");
    if ((size_t)done > stream->to_receive) fail("more came back than was sent");
    if (memcmp(reply, packet, (size_t)done) != 0) fail("a reply is not what was sent");
    stream->to_receive -= (size_t)done;
    return stream->to_receive == 0;
}

int main(int argc, char **argv) {
    int port = (int)number_option(argc, argv, "--port", 0);
    int connections = (int)number_option(argc, argv, "--connections", 50);
    double seconds = number_option(argc, argv, "--seconds", 0);
    size = (size_t)number_option(argc, argv, "--size", 64);
    if (!port || !(seconds > 0)) {
        fprintf(stderr, "usage: connector --port P [--connections N] [--size N] --seconds S\n");
        return 2;
    }
    address = local_address(port);
    packet = buffer_of(size);
    reply = buffer_of(size);
    struct stream *streams = calloc((size_t)connections, sizeof *streams);
    if (!streams) fail("calloc");
    int epoll = epoll_create1(0), open = 0;
    unsigned long long over = 0;
    double first = now_seconds(), now = first;
    for (; open < connections; open++) begin(epoll, &streams[open]);
    struct epoll_event events[64];
    while (open) {
        int ready = epoll_wait(epoll, events, 64, 10000);
        errno = ready < 0 ? errno : 0;
        if (ready <= 0) fail("no reply in 10 s");
        now = now_seconds();
        for (int i = 0; i < ready; i++) {
            struct stream *stream = events[i].data.ptr;
            if (!goes_on(epoll, stream)) continue;
            close(stream->fd);
            over++;
            if (now < first + seconds)
                begin(epoll, stream);
            else
                open--;
        }
    }
    printf("{\"connections\": %llu, \"packets\": %llu, \"seconds\": %.6f}\n", over, over, now - first);
    return 0;
}
