/* The load generator's inner loop, and the echo that shows that it is not the bottleneck. Compiled by tests/bench/native.py where there is a compiler.
 *
 *   load echo                                       an echo: prints its port, runs until it is ended
 *   load flood PACKETS PORT PORTS EXPECTED KEPT KEEP_EVERY WINDOW COUNT SECONDS
 *   load pace  PACKETS PORT PORTS EXPECTED KEPT KEEP_EVERY RATE SECONDS
 *
 * PACKETS holds requests, each behind its length (uint16); request n has identifier n % 256. They go out in order over PORTS source ports, 256 to
 * each in turn, so an identifier is under way once per port. Every answer's code and identifier are checked here, every KEEP_EVERYth is written to
 * KEPT (request number uint32, length uint16, octets) for the caller to check its authenticators. A request unanswered for a second is sent again;
 * its identifier is not used any more on that port afterwards, for two answers may come, but on a further one. Prints one line of JSON. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 256
#define BATCH 32
#define ROOM 4096
#define MOST_LINES 4096
#define FREE (-1)
#define BURNT (-2)
#define OVERDUE 1.0
#define LOOK 0.5
#define GIVE_UP 30.0

struct line { int fd; long slot[SLOTS]; double sent_at[SLOTS]; char repeated[SLOTS]; struct line *next; };
struct request { uint8_t *data; uint16_t size; };

static struct request *requests;
static long packets, sent, answered, again, strange, keep_every;
static struct line *lines[MOST_LINES]; /* the first of each port, then those that follow one */
static struct pollfd polls[MOST_LINES];
static int ports, opened, expected, server_port;
static float *latency;
static long latency_room;
static FILE *kept;
static uint8_t room[BATCH][ROOM];

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void die(const char *what) { perror(what); exit(1); }

static void read_packets(const char *path) {
    FILE *file = fopen(path, "rb");
    uint16_t size;
    long room_for = 0;
    if (!file) die(path);
    while (fread(&size, 2, 1, file) == 1) {
        if (packets == room_for) {
            room_for = room_for ? room_for * 2 : 4096;
            if (!(requests = realloc(requests, room_for * sizeof *requests))) die("memory");
        }
        requests[packets].size = size;
        if (!(requests[packets].data = malloc(size)) || fread(requests[packets].data, 1, size, file) != size) die("packets");
        packets++;
    }
    fclose(file);
}

static int udp(uint16_t port, int connected) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0), octets = 1 << 20;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
    if (fd < 0 || (connected ? connect(fd, (void *)&to, sizeof to) : bind(fd, (void *)&to, sizeof to))) die("socket");
    return fd;
}

static struct line *open_line(void) {
    struct line *line = calloc(1, sizeof *line);
    if (!line || opened == MOST_LINES) die("lines");
    line->fd = udp(server_port, 1);
    for (int slot = 0; slot < SLOTS; slot++) line->slot[slot] = FREE;
    polls[opened] = (struct pollfd){line->fd, POLLIN, 0};
    return lines[opened++] = line;
}

/* The line whose identifier a request may use, or waits for. */
static struct line *line_of(long number) {
    struct line *line = lines[number / SLOTS % ports];
    while (line->slot[number % SLOTS] == BURNT) {
        if (!line->next) line->next = open_line();
        line = line->next;
    }
    return line;
}

/* Send requests [number, until) as far as their identifiers are free, at most one batch of one line. Returns how many. */
static int put(long number, long until, double at, double step) {
    struct line *line = line_of(number);
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    int count = 0, done = 0;
    while (count < BATCH && number + count < until && (number + count) / SLOTS == number / SLOTS) {
        int slot = (number + count) % SLOTS;
        if (line->slot[slot] != FREE) break;
        struct request *request = &requests[(number + count) % packets];
        parts[count] = (struct iovec){request->data, request->size};
        messages[count].msg_hdr = (struct msghdr){.msg_iov = &parts[count], .msg_iovlen = 1};
        line->slot[slot] = number + count;
        line->sent_at[slot] = at + count * step;
        count++;
    }
    while (done < count) {
        int sent_now = sendmmsg(line->fd, messages + done, count - done, 0);
        if (sent_now <= 0) break; /* they become overdue */
        done += sent_now;
    }
    sent += count;
    return count;
}

static void take(struct line *line) {
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){room[i], ROOM};
        messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    int count;
    do {
        count = recvmmsg(line->fd, messages, BATCH, MSG_DONTWAIT, NULL);
        double at = now();
        for (int i = 0; i < count; i++) {
            uint16_t size = messages[i].msg_len;
            int slot = size > 1 ? room[i][1] : 0;
            long number = line->slot[slot];
            if (size < 20 || number < 0 || room[i][0] != expected) {
                strange++;
                continue;
            }
            if (answered < latency_room) latency[answered] = at - line->sent_at[slot];
            answered++;
            line->slot[slot] = line->repeated[slot] ? BURNT : FREE;
            if (number % keep_every == 0) {
                uint32_t which = number;
                fwrite(&which, 4, 1, kept);
                fwrite(&size, 2, 1, kept);
                fwrite(room[i], 1, size, kept);
            }
        }
    } while (count == BATCH);
}

static void drain(double seconds) {
    struct timespec t = {(time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9)};
    if (ppoll(polls, opened, &t, NULL) > 0)
        for (int i = 0; i < opened; i++)
            if (polls[i].revents) take(lines[i]);
}

static void repeat(double at) {
    static double look_at;
    if (at < look_at) return;
    look_at = at + LOOK;
    for (int i = 0; i < opened; i++)
        for (int slot = 0; slot < SLOTS; slot++) {
            long number = lines[i]->slot[slot];
            if (number >= 0 && at - lines[i]->sent_at[slot] > OVERDUE) {
                struct request *request = &requests[number % packets];
                lines[i]->repeated[slot] = 1;
                again++;
                if (send(lines[i]->fd, request->data, request->size, 0) < 0 && errno != ECONNREFUSED) return;
            }
        }
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void echo(void) {
    int fd = udp(0, 0);
    struct sockaddr_in own, from[BATCH];
    socklen_t size = sizeof own;
    getsockname(fd, (void *)&own, &size);
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    for (;;) { /* one call for each packet, as a server without batches does */
        size = sizeof from[0];
        ssize_t octets = recvfrom(fd, room[0], ROOM, 0, (void *)&from[0], &size);
        if (octets > 0) sendto(fd, room[0], octets, 0, (void *)&from[0], size);
    }
}

int main(int argc, char **argv) {
    prctl(PR_SET_PDEATHSIG, 15);
    if (argc == 2 && !strcmp(argv[1], "echo")) echo();
    if (argc < 10) return 2;
    int paced = !strcmp(argv[1], "pace");
    read_packets(argv[2]);
    ports = atoi(argv[4]);
    expected = atoi(argv[5]);
    if (!(kept = fopen(argv[6], "wb"))) die(argv[6]);
    keep_every = atol(argv[7]);
    long window = paced ? 0 : atol(argv[8]);
    double rate = paced ? atof(argv[8]) : 0, seconds = atof(argv[paced ? 9 : 10]);
    long count = paced ? (long)(rate * seconds) : atol(argv[9]);
    latency_room = count;
    latency = malloc(sizeof *latency * (count + 1));
    server_port = atoi(argv[3]);
    if (!packets || !latency) die("memory");
    for (int i = 0; i < ports; i++) open_line();
    prctl(PR_SET_TIMERSLACK, 1000);
    double started = now(), at = started;
    long number = 0;
    while (at - started < seconds + GIVE_UP) {
        int more = number < count && (paced || at - started < seconds);
        long until = count;
        if (more && paced) until = (long)((at - started) * rate) + 1 < count ? (long)((at - started) * rate) + 1 : count;
        while (more && number < until) {
            long room_left = paced ? until : number + window - (sent - answered);
            int done = room_left > number ? put(number, room_left < until ? room_left : until, paced ? started + number / rate : at, paced ? 1 / rate : 0) : 0;
            if (!done) break;
            number += done;
        }
        if (!more && answered >= sent) break;
        double wait = 0.05;
        if (paced && number < count && number >= until) wait = started + number / rate - now();
        drain(wait < 0 ? 0 : wait > 0.05 ? 0.05 : wait);
        at = now();
        repeat(at);
    }
    double took = at - started;
    long known = answered < latency_room ? answered : latency_room;
    qsort(latency, known, sizeof *latency, by_value);
    fclose(kept);
    printf("{\"sent\": %ld, \"answered\": %ld, \"repeated\": %ld, \"strange\": %ld, \"seconds\": %.6f, \"per_second\": %.3f, \"p50_us\": %.0f, \"p99_us\": %.0f}\n",
           sent, answered, again, strange, took, answered / took, known ? latency[known / 2] * 1e6 : 0, known ? latency[known * 99 / 100] * 1e6 : 0);
    return 0;
}
