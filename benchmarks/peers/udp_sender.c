/* Sends datagrams of one size from one socket, as fast as it can: plain, or many a call by UDP_SEGMENT.
 *
 * udp_sender --port P [--size 64] [--batch 1] (--packets N | --seconds S)
 *
 * --batch N: so many datagrams a call; the kernel cuts them apart (UDP_SEGMENT, at most 128 and 65507 bytes a call).
 * Datagrams that the socket does not take at once are waited for, so that every one counted was handed to the network.
 * One JSON line: packets, bytes, calls, seconds (first call to last). What the receiver lost it has to tell itself. */
#include "peer.h"
#include <netinet/udp.h>
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef SOL_UDP
#define SOL_UDP 17
#endif

int main(int argc, char **argv) {
    int port = (int)number_option(argc, argv, "--port", 0);
    size_t size = (size_t)number_option(argc, argv, "--size", 64);
    size_t batch = (size_t)number_option(argc, argv, "--batch", 1);
    unsigned long long wanted = (unsigned long long)number_option(argc, argv, "--packets", 0);
    double seconds = number_option(argc, argv, "--seconds", 0);
    if (!port || (!wanted && !(seconds > 0)) || size > 65507) {
        fprintf(stderr, "usage: udp_sender --port P [--size N] [--batch N] (--packets N | --seconds S)\n");
        return 2;
    }
    if (batch > 128) batch = 128;
    if (batch * size > 65507) batch = 65507 / size;
    char *buffer = buffer_of(batch * size);
    struct sockaddr_in address = local_address(port);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0) fail("socket");
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail("connect");
    int segment = (int)size;
    if (batch > 1 && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0) fail("UDP_SEGMENT");
    unsigned long long packets = 0, calls = 0;
    double begin = now_seconds(), end = begin + seconds;
    while (wanted ? packets < wanted : (calls & 15) || now_seconds() < end) {
        size_t now = wanted && wanted - packets < batch ? (size_t)(wanted - packets) : batch;
        ssize_t sent = send(fd, buffer, now * size, 0);
        if (sent < 0 && (errno == EINTR || errno == ENOBUFS || errno == ECONNREFUSED)) continue;
        if (sent < 0) fail("send");
        packets += now;
        calls++;
    }
    printf("{\"packets\": %llu, \"bytes\": %llu, \"calls\": %llu, \"seconds\": %.6f}\n", packets, packets * size, calls,
           now_seconds() - begin);
    return 0;
}
