/* The one load of the echo rows: N connections, one packet in flight on each, every reply compared with what was sent.
 *
 * echo_client --port P [--connections 50] [--size 1024] (--count N | --seconds S) [--rate R]
 *
 * One JSON line: requests, replies, seconds (first send to last reply), connections, size. With --rate an open loop:
 * packet k is due k/R after the beginning, on connection k modulo N, waits there while another is in flight, and its
 * response time counts from when it was due; the line then has response_p50, response_p99, service_p50 and service_p99
 * too, in seconds. A wrong or missing reply is one line on stderr and exit 1. */
#include "peer.h"
#include <sys/timerfd.h>

struct stream {
    int fd;
    size_t to_send, to_receive; /* bytes left of the packet in flight; both 0 when idle */
    unsigned long long packet;  /* open loop: its number, and when it was sent */
    double sent_at;
};

static char *packet, *reply;
static size_t size;

/* Sends the rest of the packet; the socket's buffer holds far more than one packet, so waiting is the rare case. */
static void send_rest(int epoll, struct stream *stream) {
    while (stream->to_send) {
        ssize_t sent = send(stream->fd, packet + size - stream->to_send, stream->to_send, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && errno == EAGAIN) break;
        if (sent < 0) fail("send");
        stream->to_send -= (size_t)sent;
        if (!stream->to_send) return;
    }
    watch(epoll, EPOLL_CTL_MOD, stream->fd, EPOLLIN | EPOLLOUT, stream);
}

/* Reads what has come; 1 when the reply is whole. */
static int reply_whole(struct stream *stream) {
    ssize_t got = recv(stream->fd, reply, size + 1, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got < 0) fail("recv");
    errno = 0;
    if (got == 0) fail("closed by the server before the reply was whole");
    if ((size_t)got > stream->to_receive) fail("more came back than was sent");
    if (memcmp(reply, packet + size - stream->to_receive, (size_t)got) != 0) fail("a reply is not what was sent");
    stream->to_receive -= (size_t)got;
    return stream->to_receive == 0;
}

static int rising(const void *one, const void *other) {
    double a = *(const double *)one, b = *(const double *)other;
    return (a > b) - (a < b);
}

/* Sorts the times. */
static double percentile(double *times, unsigned long long count, double part) {
    qsort(times, count, sizeof *times, rising);
    unsigned long long at = (unsigned long long)(part * (double)count);
    return times[at < count ? at : count - 1];
}

/* The open loop; `total` packets at `rate`. */
static void open_loop(int epoll, struct stream *streams, int connections, unsigned long long total, double rate) {
    double *response = buffer_of(total * sizeof *response), *service = buffer_of(total * sizeof *service);
    int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    if (timer < 0) fail("timerfd_create");
    watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN, NULL);
    for (int i = 0; i < connections; i++) streams[i].packet = (unsigned long long)i;
    unsigned long long due = 0, replies = 0, ticks;
    double begin = now_seconds(), now = begin;
    struct epoll_event events[64];
    struct itimerspec next = {.it_value = {.tv_nsec = 1}};
    timerfd_settime(timer, 0, &next, NULL);
    while (replies < total) {
        int ready = epoll_wait(epoll, events, 64, 10000);
        errno = ready < 0 ? errno : 0;
        if (ready <= 0) fail("no reply in 10 s");
        for (int i = 0; i < ready; i++) {
            struct stream *stream = events[i].data.ptr;
            if (!stream) {
                if (read(timer, &ticks, sizeof ticks) < 0) continue;
                now = now_seconds();
                while (due < total && begin + (double)due / rate <= now) {
                    stream = &streams[due++ % (unsigned long long)connections];
                    if (stream->to_receive) continue; /* waits; sent when the reply has come */
                    stream->to_send = stream->to_receive = size;
                    stream->sent_at = now_seconds();
                    send_rest(epoll, stream);
                }
                if (due < total) {
                    double at = begin + (double)due / rate;
                    next.it_value.tv_sec = (time_t)at;
                    next.it_value.tv_nsec = (long)((at - (double)(time_t)at) * 1e9) + 1;
                    timerfd_settime(timer, TFD_TIMER_ABSTIME, &next, NULL);
                }
                continue;
            }
            if (stream->to_send) {
                watch(epoll, EPOLL_CTL_MOD, stream->fd, EPOLLIN, stream);
                send_rest(epoll, stream);
            }
            if (!(events[i].events & ~(unsigned)EPOLLOUT) || !reply_whole(stream)) continue;
            now = now_seconds();
            service[replies] = now - stream->sent_at;
            response[replies++] = now - (begin + (double)stream->packet / rate);
            stream->packet += (unsigned long long)connections;
            if (stream->packet >= due) continue;
            stream->to_send = stream->to_receive = size;
            stream->sent_at = now;
            send_rest(epoll, stream);
        }
    }
    printf("{\"requests\": %llu, \"replies\": %llu, \"seconds\": %.6f, \"connections\": %d, \"size\": %zu, ", total, replies,
           now - begin, connections, size);
    printf("\"response_p50\": %.9f, \"response_p99\": %.9f, ", percentile(response, replies, 0.5),
           percentile(response, replies, 0.99));
    printf("\"service_p50\": %.9f, \"service_p99\": %.9f}\n", percentile(service, replies, 0.5),
           percentile(service, replies, 0.99));
}

int main(int argc, char **argv) {
    int port = (int)number_option(argc, argv, "--port", 0);
    int connections = (int)number_option(argc, argv, "--connections", 50);
    unsigned long long count = (unsigned long long)number_option(argc, argv, "--count", 0);
    double seconds = number_option(argc, argv, "--seconds", 0);
    double rate = number_option(argc, argv, "--rate", 0);
    size = (size_t)number_option(argc, argv, "--size", 1024);
    if (!port || (!count && !(seconds > 0))) {
        fprintf(stderr, "usage: echo_client --port P [--connections N] [--size N] (--count N | --seconds S) [--rate R]\n");
        return 2;
    }
    packet = buffer_of(size);
    for (size_t i = 0; i < size; i++) packet[i] = (char)(i * 31 + 7);
    reply = buffer_of(size + 1);
    struct stream *streams = calloc((size_t)connections, sizeof *streams);
    if (!streams) fail("calloc");
    int epoll = epoll_create1(0);
    for (int i = 0; i < connections; i++) {
        streams[i].fd = connected_socket(port);
        non_blocking(streams[i].fd);
        watch(epoll, EPOLL_CTL_ADD, streams[i].fd, EPOLLIN, &streams[i]);
    }

    if (rate > 0) {
        unsigned long long total = count ? count : (unsigned long long)(rate * seconds);
        open_loop(epoll, streams, connections, total ? total : 1, rate);
        return 0;
    }

    unsigned long long requests = 0, replies = 0;
    double begin = now_seconds(), last = begin, end = begin + seconds;
    for (int i = 0; i < connections && (!count || requests < count); i++, requests++) {
        streams[i].to_send = streams[i].to_receive = size;
        send_rest(epoll, &streams[i]);
    }
    struct epoll_event events[64];
    int ending = 0;
    while (replies < requests) {
        int ready = epoll_wait(epoll, events, 64, 10000);
        errno = ready < 0 ? errno : 0;
        if (ready <= 0) fail("no reply in 10 s");
        last = now_seconds();
        ending = count ? 0 : last >= end;
        for (int i = 0; i < ready; i++) {
            struct stream *stream = events[i].data.ptr;
            if (stream->to_send) {
                watch(epoll, EPOLL_CTL_MOD, stream->fd, EPOLLIN, stream);
                send_rest(epoll, stream);
            }
            if (!(events[i].events & ~(unsigned)EPOLLOUT) || !reply_whole(stream)) continue;
            replies++;
            if (ending || (count && requests >= count)) continue;
            requests++;
            stream->to_send = stream->to_receive = size;
            send_rest(epoll, stream);
        }
    }
    last = now_seconds();
    for (int i = 0; i < connections; i++) close(streams[i].fd);
    printf("{\"requests\": %llu, \"replies\": %llu, \"seconds\": %.6f, \"connections\": %d, \"size\": %zu}\n", requests,
           replies, last - begin, connections, size);
    return 0;
}
