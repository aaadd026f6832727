/* Takes bytes and counts them: epoll, one recv an event. At each stream's end one JSON line: bytes, reads, seconds.
 *
 * sink_server [--read BYTES] [--truncate]   the size of a read (65536); let the kernel drop the bytes uncopied */
#include "peer.h"

struct stream {
    int fd;
    unsigned long long bytes, reads;
    double first, last;
};

int main(int argc, char **argv) {
    size_t read_size = (size_t)number_option(argc, argv, "--read", 65536);
    int how = flag_option(argc, argv, "--truncate") ? MSG_TRUNC : 0;
    char *buffer = buffer_of(read_size);
    int epoll = epoll_create1(0);
    int listener = listening_socket();
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[64];
    for (;;) {
        int ready = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            struct stream *stream = events[i].data.ptr;
            if (!stream) {
                int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (fd < 0) continue;
                stream = calloc(1, sizeof *stream);
                if (!stream) fail("calloc");
                stream->fd = fd;
                watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, stream);
                continue;
            }
            ssize_t got = recv(stream->fd, buffer, read_size, how);
            if (got > 0) {
                stream->last = now_seconds();
                if (!stream->reads++) stream->first = stream->last;
                stream->bytes += (unsigned long long)got;
            } else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
                printf("{\"bytes\": %llu, \"reads\": %llu, \"seconds\": %.6f}\n", stream->bytes, stream->reads,
                       stream->last - stream->first);
                fflush(stdout);
                close(stream->fd);
                free(stream);
            }
        }
    }
}
