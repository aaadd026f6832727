/* Sends whole packets on one blocking connection, many a write, then waits for the server to close.
 *
 * bulk_sender --port P [--packet 1024] [--write 131072] (--bytes N | --seconds S)
 *
 * One JSON line: bytes, writes, seconds (first write to the server's close: all of it was read by then). */
#include "peer.h"

int main(int argc, char **argv) {
    int port = (int)number_option(argc, argv, "--port", 0);
    size_t packet = (size_t)number_option(argc, argv, "--packet", 1024);
    size_t write_size = (size_t)number_option(argc, argv, "--write", 131072);
    unsigned long long wanted = (unsigned long long)number_option(argc, argv, "--bytes", 0);
    double seconds = number_option(argc, argv, "--seconds", 0);
    if (!port || (!wanted && !(seconds > 0))) {
        fprintf(stderr, "usage: bulk_sender --port P [--packet N] [--write N] (--bytes N | --seconds S)\n");
        return 2;
    }
    write_size = write_size < packet ? packet : write_size - write_size % packet;
    wanted -= wanted % packet;
    char *buffer = buffer_of(write_size);
    int fd = connected_socket(port);
    unsigned long long bytes = 0, writes = 0;
    double begin = now_seconds(), end = begin + seconds;
    while (wanted ? bytes < wanted : now_seconds() < end) {
        size_t length = wanted && wanted - bytes < write_size ? (size_t)(wanted - bytes) : write_size;
        for (size_t from = 0; from < length;) {
            ssize_t sent = send(fd, buffer + from, length - from, MSG_NOSIGNAL);
            if (sent < 0 && errno == EINTR) continue;
            if (sent < 0) fail("send");
            from += (size_t)sent;
            writes++;
        }
        bytes += length;
    }
    if (shutdown(fd, SHUT_WR) < 0) fail("shutdown");
    ssize_t got;
    while ((got = recv(fd, buffer, write_size, 0)) > 0 || (got < 0 && errno == EINTR)) continue;
    if (got < 0) fail("recv");
    printf("{\"bytes\": %llu, \"writes\": %llu, \"seconds\": %.6f}\n", bytes, writes, now_seconds() - begin);
    return 0;
}
