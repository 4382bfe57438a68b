/*
 * chatload - load generator for line- or frame-based TCP chat servers.
 *
 * One thread, one epoll set, no dependencies.  It has no built-in protocol: a
 * small profile says how a client logs in, what a chat message looks like and
 * how to answer pings.  Chat messages are recognised by a marker that this
 * program puts into the payload:
 *
 *     @L RRRRRRRR SSSSSSSS QQQQQQQQ TTTTTTTTTTTTTTTT ...pad... $
 *        run id   sender   sequence send time in ns          end
 *
 * (hex, without the spaces; at least MIN_SIZE bytes).  Only loopback
 * addresses are accepted as a target.  See README.md.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MARK_LEN 10                 /* "@L" + run id */
#define HEAD_LEN 42                 /* marker, sender, seq, time */
#define MIN_SIZE (HEAD_LEN + 1)     /* + end byte */
#define MAX_SIZE 60000
#define RXBUF (256 * 1024)
#define MAX_PART (128 * 1024)       /* longest incomplete line or frame */
#define MAX_STEPS 64
#define MAX_ALT 4
#define MAX_GROUPS 8
#define EVENTS 1024

enum { EXIT_OK = 0, EXIT_USAGE = 1, EXIT_LOGIN = 2, EXIT_INCOMPLETE = 3, EXIT_OVERTIME = 4 };

__attribute__((noreturn, format(printf, 2, 3)))
static void die(int code, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("chatload: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(code);
}

static void *xalloc(size_t n)
{
    void *p = calloc(1, n ? n : 1);
    if (!p) die(EXIT_USAGE, "out of memory");
    return p;
}

static inline uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + t.tv_nsec;
}

/* ---------------------------------------------------------------- hex -- */

static inline uint32_t hex8(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    v = (v & 0x0f0f0f0f0f0f0f0full) + 9 * ((v >> 6) & 0x0101010101010101ull);
    v = __builtin_bswap64(v);
    v = (v | v >> 4) & 0x00ff00ff00ff00ffull;
    v = (v | v >> 8) & 0x0000ffff0000ffffull;
    v = v | v >> 16;
    return (uint32_t)v;
}

static inline void put_hex(char *p, uint64_t v, int digits)
{
    static const char d[] = "0123456789abcdef";
    for (int i = digits - 1; i >= 0; i--, v >>= 4) p[i] = d[v & 15];
}

/* ---------------------------------------------------------- histogram -- */

#define HB 6
struct hist { uint64_t n, max, sum, b[64 << HB]; };

static inline void hist_add(struct hist *h, uint64_t v)
{
    unsigned i;
    if (v < (1u << HB)) i = v;
    else {
        unsigned e = 63 - __builtin_clzll(v);
        i = ((e - HB + 1) << HB) | ((v >> (e - HB)) & ((1u << HB) - 1));
    }
    h->b[i]++;
    h->n++;
    h->sum += v;
    if (v > h->max) h->max = v;
}

static double hist_ms(const struct hist *h, double q)   /* buckets are about 1.6 % wide */
{
    if (!h->n) return 0;
    uint64_t want = (uint64_t)(q * h->n + 0.9999999), seen = 0;
    for (unsigned i = 0; i < (64u << HB); i++) {
        seen += h->b[i];
        if (seen >= want && h->b[i]) {
            uint64_t v = i;
            if (i >= (1u << HB)) {
                unsigned e = (i >> HB) + HB - 1;
                v = (uint64_t)((1u << HB) | (i & ((1u << HB) - 1))) << (e - HB);
                v += (1ull << (e - HB)) / 2;
            }
            if (v > h->max) v = h->max;
            return v / 1e6;
        }
    }
    return h->max / 1e6;
}

/* ------------------------------------------------------------ profile -- */

struct str { char *p; size_t n; };
enum { S_SEND, S_WAIT, S_BARRIER };
struct step { int kind; bool first; int nalt; struct str alt[MAX_ALT]; };
enum { FLOW_ALL, FLOW_PEER, FLOW_ECHO, FLOW_ACK };
static const char *const flow_name[] = { "all", "peer", "echo", "ack" };

static struct step steps[MAX_STEPS];
static int nsteps;
static struct str pf_msg, pf_ping, pf_pong, pf_eol, pf_ack, pf_err, pf_fail[8];
static int nfail;
static bool pf_echo;
static int pf_flow = FLOW_ALL;
static int frame_len;               /* 0: delimiter; 2 or 4: length prefix */
static char delim = '\n';

static struct str unescape(const char *s, size_t n)
{
    if (n >= 2 && s[0] == '"' && s[n - 1] == '"') { s++; n -= 2; }
    struct str r = { xalloc(n + 1), 0 };
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (c == '\\' && i + 1 < n) {
            c = s[++i];
            switch (c) {
            case 'n': c = '\n'; break;
            case 'r': c = '\r'; break;
            case 't': c = '\t'; break;
            case '0': c = 0; break;
            case 'x':
                if (i + 2 < n) {
                    char h[3] = { s[i + 1], s[i + 2], 0 };
                    c = (char)strtol(h, NULL, 16);
                    i += 2;
                }
                break;
            }
        }
        r.p[r.n++] = c;
    }
    return r;
}

static void profile_line(char *l, const char *where, int no)
{
    size_t n = strlen(l);
    while (n && (l[n - 1] == '\n' || l[n - 1] == '\r')) l[--n] = 0;
    char *s = l;
    while (*s == ' ' || *s == '\t') s++;
    if (!*s || *s == '#') return;
    bool first = false;
    char key[32];
    for (;;) {
        size_t k = strcspn(s, " \t");
        if (k >= sizeof key) die(EXIT_USAGE, "%s:%d: bad keyword", where, no);
        memcpy(key, s, k);
        key[k] = 0;
        s += k;
        if (*s) s++;
        if (strcmp(key, "first")) break;
        first = true;
    }
    size_t vn = strlen(s);
    bool is_step = !strcmp(key, "send") || !strcmp(key, "wait") || !strcmp(key, "barrier");
    if (is_step) {
        if (nsteps == MAX_STEPS) die(EXIT_USAGE, "%s:%d: too many steps", where, no);
        struct step *st = &steps[nsteps++];
        st->first = first;
        st->kind = *key == 's' ? S_SEND : *key == 'w' ? S_WAIT : S_BARRIER;
        if (st->kind == S_SEND) { st->alt[0] = unescape(s, vn); st->nalt = 1; }
        else if (st->kind == S_WAIT) {
            char *e;
            while ((e = strstr(s, "||")) && st->nalt < MAX_ALT - 1) {
                st->alt[st->nalt++] = unescape(s, e - s);
                s = e + 2;
            }
            st->alt[st->nalt++] = unescape(s, strlen(s));
        }
        else if (first) die(EXIT_USAGE, "%s:%d: 'first' does not apply to a barrier", where, no);
        return;
    }
    if (first) die(EXIT_USAGE, "%s:%d: 'first' only applies to send and wait", where, no);
    struct str v = unescape(s, vn);
    v.p[v.n] = 0;
    if (!strcmp(key, "msg")) pf_msg = v;
    else if (!strcmp(key, "ping")) pf_ping = v;
    else if (!strcmp(key, "pong")) pf_pong = v;
    else if (!strcmp(key, "eol")) pf_eol = v;
    else if (!strcmp(key, "ack")) pf_ack = v;
    else if (!strcmp(key, "err")) pf_err = v;
    else if (!strcmp(key, "fail")) {
        if (nfail == 8) die(EXIT_USAGE, "%s:%d: too many fail lines", where, no);
        pf_fail[nfail++] = v;
    }
    else if (!strcmp(key, "delim")) delim = v.n ? v.p[0] : '\n';
    else if (!strcmp(key, "frame")) {
        if (!strcmp(v.p, "line")) frame_len = 0;
        else if (!strcmp(v.p, "len2be")) frame_len = 2;
        else if (!strcmp(v.p, "len4be")) frame_len = 4;
        else die(EXIT_USAGE, "%s:%d: frame must be line, len2be or len4be", where, no);
    }
    else if (!strcmp(key, "echo")) {
        if (strcmp(v.p, "yes") && strcmp(v.p, "no")) die(EXIT_USAGE, "%s:%d: echo must be yes or no", where, no);
        pf_echo = *v.p == 'y';
    }
    else if (!strcmp(key, "flow")) {
        int i;
        for (i = 0; i < 4; i++) if (!strcmp(v.p, flow_name[i])) break;
        if (i == 4) die(EXIT_USAGE, "%s:%d: flow must be all, peer, echo or ack", where, no);
        pf_flow = i;
    }
    else die(EXIT_USAGE, "%s:%d: unknown keyword '%s'", where, no, key);
}

static void profile_file(const char *path)
{
    FILE *f = fopen(path, "r");
    if (!f) die(EXIT_USAGE, "profile %s: %s", path, strerror(errno));
    char *l = NULL;
    size_t cap = 0;
    int no = 0;
    while (getline(&l, &cap, f) > 0) profile_line(l, path, ++no);
    free(l);
    fclose(f);
}

/* --------------------------------------------------------- the options -- */

enum { MODE_THROUGHPUT, MODE_PACED, MODE_IDLE };
static const char *const mode_name[] = { "throughput", "paced", "idle" };
enum { SPREAD_CLIENT, SPREAD_ROOM, SPREAD_SENDER };
static const char *const spread_name[] = { "client", "room", "sender" };
#define MAX_PORTS 16

static struct {
    const char *host, *label, *profile, *prefix;
    int ports[MAX_PORTS], nports, spread, mode, clients, rooms, senders, size, window, login_conc;
    double secs, rate, hold, login_timeout, stall, max_secs, linger;
    uint64_t msgs;
    int rx_us, dump, quickack, announce;
} o = {
    .host = "127.0.0.1", .label = "", .prefix = "", .clients = 100, .rooms = 1, .senders = 4,
    .size = 64, .window = 16, .login_conc = 32, .rate = 100, .hold = 2,
    .login_timeout = 60, .stall = 5, .max_secs = 180, .linger = 0.3,
};

/* ----------------------------------------------------------- the state -- */

enum { C_NEW, C_CONNECTING, C_LOGIN, C_BARRIER, C_READY, C_DEAD };

struct range { uint32_t a, b; };                /* missing [a, b) */
struct gaps { uint32_t n, cap; struct range r[]; };
struct pair { uint32_t next; struct gaps *gaps; };

struct conn {
    int fd, state, step;
    uint32_t idx, room;
    int32_t sender;                 /* its number as a sender, or -1 */
    uint32_t end_off;               /* distance of the last marker from its line's end */
    struct pair *pair;              /* one per sender in its room */
    uint64_t order;                 /* hash of what it received, in order */
    char *part, *out;
    uint32_t part_n, part_cap, out_n, out_off, out_cap;
    uint64_t t_connect;
    bool want_out;
};

struct sender {
    uint32_t conn, room, local, watcher;
    uint32_t sent, base, fan;       /* base: oldest message still in flight */
    uint64_t quota, acked;
    uint32_t *left;                 /* FLOW_ALL: deliveries still missing */
    uint64_t *stamp;                /* send time, for acks */
    char *msg;                      /* the message, complete except seq and time */
    uint32_t msg_n, seq_at, ts_at, nid, id_at[4];
    bool queued;
};

static struct conn *conns;
static struct sender *senders;
static uint32_t *ready_q, ready_n;              /* senders that may send */
static uint32_t ring_mask;
static int ep, tfd = -1;
static char mark[MARK_LEN + 1];
static uint32_t run_id;
static char rx[RXBUF + MAX_PART + 64];

static bool running, sending, ring_on;
static uint32_t n_ready, n_active, n_arrived, next_new, next_release;
static bool releasing;
static uint64_t last_rx, last_delivery, t_first_send, connect_max;
static volatile sig_atomic_t stop_sig;

static struct {
    uint64_t sent, expected, received, dup, ooo, corrupt, misrouted, self_echo;
    uint64_t disconnects, errors, other, acks, rx_bytes, rx_calls, tx_calls;
} st;
static struct hist lat, acklat, lag;

/* ------------------------------------------------------------ templates -- */

static size_t b64(char *d, const char *s, size_t n)
{
    static const char t[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t k = 0;
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint8_t)s[i] << 16;
        if (i + 1 < n) v |= (uint8_t)s[i + 1] << 8;
        if (i + 2 < n) v |= (uint8_t)s[i + 2];
        d[k++] = t[v >> 18];
        d[k++] = t[v >> 12 & 63];
        d[k++] = i + 1 < n ? t[v >> 6 & 63] : '=';
        d[k++] = i + 2 < n ? t[v & 63] : '=';
    }
    return k;
}

/* %c client, %C client with 5 digits, %r room, %R room with 5 digits, %x run id,
 * %P the --prefix, %b(...) base64 of what is in the parentheses, %% a percent
 * sign.  In a message: %p the payload, %n the sequence number as 8 hex digits. */
static size_t expand(char *d, size_t cap, struct str t, const struct conn *c, struct sender *s)
{
    size_t k = 0;
    for (size_t i = 0; i < t.n; i++) {
        if (k + 64 > cap) die(EXIT_USAGE, "template too long");
        if (t.p[i] != '%' || i + 1 >= t.n) { d[k++] = t.p[i]; continue; }
        switch (t.p[++i]) {
        case 'c': k += sprintf(d + k, "%u", c->idx); break;
        case 'C': k += sprintf(d + k, "%05u", c->idx); break;
        case 'r': k += sprintf(d + k, "%u", c->room); break;
        case 'R': k += sprintf(d + k, "%05u", c->room); break;
        case 'x': k += sprintf(d + k, "%08x", run_id); break;
        case 'P': k += sprintf(d + k, "%.32s", o.prefix); break;
        case '%': d[k++] = '%'; break;
        case 'b':
            if (i + 1 < t.n && t.p[i + 1] == '(') {
                char *e = memchr(t.p + i, ')', t.n - i), tmp[1024];
                if (!e) die(EXIT_USAGE, "template: %%b( without )");
                struct str in = { t.p + i + 2, e - (t.p + i + 2) };
                size_t m = expand(tmp, sizeof tmp, in, c, NULL);
                if (k + m * 2 + 64 > cap) die(EXIT_USAGE, "template too long");
                k += b64(d + k, tmp, m);
                i = e - t.p;
                break;
            }
            die(EXIT_USAGE, "template: %%b needs (");
        case 'p':
            if (s) {
                if (k + o.size + 64 > cap) die(EXIT_USAGE, "template too long");
                memcpy(d + k, mark, MARK_LEN);
                put_hex(d + k + 10, (uint32_t)(s - senders), 8);
                s->seq_at = k + 18;
                s->ts_at = k + 26;
                memset(d + k + HEAD_LEN, 'x', o.size - HEAD_LEN);
                d[k + o.size - 1] = '$';
                k += o.size;
                break;
            }
            die(EXIT_USAGE, "template: %%p is for msg only");
        case 'n':
            if (s) {
                if (s->nid == 4) die(EXIT_USAGE, "template: too many %%n");
                s->id_at[s->nid++] = k;
                memset(d + k, '0', 8);
                k += 8;
                break;
            }
            die(EXIT_USAGE, "template: %%n is for msg only");
        default: die(EXIT_USAGE, "template: unknown %%%c", t.p[i]);
        }
    }
    return k;
}

/* -------------------------------------------------------------- output -- */

static void dead(struct conn *c, const char *why);

static void want_out(struct conn *c, bool on)
{
    if (c->want_out == on) return;
    c->want_out = on;
    struct epoll_event e = { .events = EPOLLIN | (on ? EPOLLOUT : 0), .data.ptr = c };
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void tx(struct conn *c, const char *p, size_t n)
{
    if (c->state == C_DEAD) return;
    if (c->out_n == c->out_off) {
        c->out_n = c->out_off = 0;
        st.tx_calls++;
        ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0) {
            if (errno != EAGAIN && errno != EINTR) { dead(c, strerror(errno)); return; }
            k = 0;
        }
        if ((size_t)k == n) return;
        p += k;
        n -= k;
    }
    if (c->out_n + n > c->out_cap) {
        c->out_cap = (c->out_n + n) * 2;
        if (!(c->out = realloc(c->out, c->out_cap))) die(EXIT_USAGE, "out of memory");
    }
    memcpy(c->out + c->out_n, p, n);
    c->out_n += n;
    want_out(c, true);
}

static void flush(struct conn *c)
{
    while (c->out_off < c->out_n) {
        st.tx_calls++;
        ssize_t k = send(c->fd, c->out + c->out_off, c->out_n - c->out_off, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (k < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            dead(c, strerror(errno));
            return;
        }
        c->out_off += k;
    }
    c->out_n = c->out_off = 0;
    want_out(c, false);
}

/* adds the framing to a body of n bytes that starts at d + 4; returns the start
 * of the framed message */
static char *framed(char *d, size_t *n)
{
    char *b = d + 4;
    size_t k = *n;
    if (frame_len) {
        for (int i = 0; i < frame_len; i++) b[-1 - i] = (char)(k >> (8 * i));
        *n = k + frame_len;
        return b - frame_len;
    }
    memcpy(b + k, pf_eol.p, pf_eol.n);
    *n = k + pf_eol.n;
    return b;
}

static void tx_body(struct conn *c, struct str t)
{
    static char d[MAX_SIZE + 8192];
    size_t n = expand(d + 4, sizeof d - 4096, t, c, NULL);
    char *p = framed(d, &n);
    tx(c, p, n);
}

/* --------------------------------------------------------------- login -- */

static void run_script(struct conn *c)
{
    while (c->state == C_LOGIN) {
        if (c->step == nsteps) {
            c->state = C_READY;
            n_ready++;
            n_active--;
            return;
        }
        struct step *s = &steps[c->step];
        if (s->first && c->idx >= (uint32_t)o.rooms) { c->step++; continue; }
        if (s->kind == S_WAIT) return;
        c->step++;
        if (s->kind == S_SEND) tx_body(c, s->alt[0]);
        else {
            c->state = C_BARRIER;
            n_active--;
            n_arrived++;
        }
    }
}

static void start_conn(struct conn *c, const struct sockaddr_in *to)
{
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die(EXIT_LOGIN, "socket: %s", strerror(errno));
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->t_connect = now_ns();
    c->state = C_CONNECTING;
    n_active++;
    struct epoll_event e = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };
    c->want_out = true;
    if (connect(c->fd, (const struct sockaddr *)to, sizeof *to) && errno != EINPROGRESS)
        die(EXIT_LOGIN, "client %u: connect: %s", c->idx, strerror(errno));
    if (epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e)) die(EXIT_LOGIN, "epoll_ctl: %s", strerror(errno));
}

static void connected(struct conn *c)
{
    int err = 0;
    socklen_t n = sizeof err;
    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &n);
    if (err) die(EXIT_LOGIN, "client %u: connect: %s", c->idx, strerror(err));
    uint64_t d = now_ns() - c->t_connect;
    if (d > connect_max) connect_max = d;
    c->state = C_LOGIN;
    want_out(c, false);
    run_script(c);
}

static void show(const char *what, const struct conn *c, const char *l, size_t n)
{
    fprintf(stderr, "chatload: %s: client %u: %.*s\n", what, c->idx, (int)(n > 400 ? 400 : n), l);
}

static void dead(struct conn *c, const char *why)
{
    if (c->state == C_DEAD) return;
    int was = c->state;
    c->state = C_DEAD;
    close(c->fd);
    if (!running) die(EXIT_LOGIN, "client %u: connection lost during login (%s, step %d): %s", c->idx, was == C_READY ? "logged in" : "not logged in", c->step, why);
    if (st.disconnects++ < 3) fprintf(stderr, "chatload: client %u: disconnected: %s\n", c->idx, why);
    n_ready--;
}

/* ---------------------------------------------------------- deliveries -- */

static void gap_add(struct pair *p, uint32_t a, uint32_t b)
{
    if (!p->gaps || p->gaps->n == p->gaps->cap) {
        uint32_t cap = p->gaps ? p->gaps->cap * 2 : 8, n = p->gaps ? p->gaps->n : 0;
        p->gaps = realloc(p->gaps, sizeof *p->gaps + cap * sizeof(struct range));
        if (!p->gaps) die(EXIT_USAGE, "out of memory");
        p->gaps->cap = cap;
        p->gaps->n = n;
    }
    p->gaps->r[p->gaps->n++] = (struct range){ a, b };
}

static bool gap_take(struct pair *p, uint32_t q)        /* was it missing? */
{
    if (!p->gaps) return false;
    for (uint32_t i = p->gaps->n; i-- > 0;) {
        struct range *r = &p->gaps->r[i];
        if (q < r->a || q >= r->b) continue;
        uint32_t b = r->b;
        if (q == r->a && q + 1 == b) *r = p->gaps->r[--p->gaps->n];
        else if (q == r->a) r->a++;
        else if (q + 1 == b) r->b--;
        else { r->b = q; gap_add(p, q + 1, b); }
        return true;
    }
    return false;
}

static inline void wake(struct sender *s)
{
    if (s->queued) return;
    s->queued = true;
    ready_q[ready_n++] = s - senders;
}

static inline void delivery(struct conn *c, const char *m, size_t avail, uint64_t now)
{
    if (avail < (size_t)o.size || m[o.size - 1] != '$') { st.corrupt++; return; }
    uint32_t sn = hex8(m + 10), q = hex8(m + 18);
    uint64_t ts = (uint64_t)hex8(m + 26) << 32 | hex8(m + 34);
    if (sn >= (uint32_t)o.senders || q >= senders[sn].sent || ts > now) { st.corrupt++; return; }
    struct sender *s = &senders[sn];
    if (s->room != c->room) { st.misrouted++; return; }
    if (c->sender == (int32_t)sn && !pf_echo) { st.self_echo++; return; }
    struct pair *p = &c->pair[s->local];
    if (__builtin_expect(q == p->next, 1)) p->next++;
    else if (q > p->next) { gap_add(p, p->next, q); p->next = q + 1; }
    else if (gap_take(p, q)) st.ooo++;
    else { st.dup++; return; }
    st.received++;
    last_delivery = now;
    c->order = c->order * 0x9e3779b97f4a7c15ull + ((uint64_t)sn << 32 | q) + 1;
    hist_add(&lat, now - ts);
    if (!ring_on) return;
    switch (pf_flow) {
    case FLOW_ALL:
        if (--s->left[q & ring_mask] == 0 && q == s->base) {
            do s->base++; while (s->base < s->sent && s->left[s->base & ring_mask] == 0);
            wake(s);
        }
        break;
    case FLOW_PEER:
        if (c->idx == s->watcher && q + 1 > s->base) { s->base = q + 1; wake(s); }
        break;
    case FLOW_ECHO:
        if (c->sender == (int32_t)sn && q + 1 > s->base) { s->base = q + 1; wake(s); }
        break;
    }
}

static bool has(const char *l, size_t n, struct str x) { return x.n && memmem(l, n, x.p, x.n); }

static void other_line(struct conn *c, const char *l, size_t n, uint64_t now)
{
    while (n && (l[n - 1] == '\r' || l[n - 1] == '\n')) n--;
    if (o.dump > 0) { o.dump--; show("line", c, l, n); }
    if (pf_ping.n && n >= pf_ping.n && !memcmp(l, pf_ping.p, pf_ping.n)) {
        char d[4096];
        size_t k = 4, rest = n - pf_ping.n;
        if (rest > 2048 || pf_pong.n > 1024) return;
        for (size_t i = 0; i < pf_pong.n; i++) {
            if (pf_pong.p[i] == '%' && i + 1 < pf_pong.n && pf_pong.p[i + 1] == 's') {
                memcpy(d + k, l + pf_ping.n, rest);
                k += rest;
                rest = 0;
                i++;
            } else d[k++] = pf_pong.p[i];
        }
        k -= 4;
        char *p = framed(d, &k);
        tx(c, p, k);
        return;
    }
    if (c->state == C_READY) {
        if (pf_ack.n && c->sender >= 0 && running && has(l, n, pf_ack)) {
            struct sender *s = &senders[c->sender];
            if (s->acked >= s->sent) { st.errors++; return; }
            hist_add(&acklat, now - s->stamp[s->acked & ring_mask]);
            s->acked++;
            st.acks++;
            last_delivery = now;
            if (ring_on && pf_flow == FLOW_ACK) { s->base = s->acked; wake(s); }
            return;
        }
        st.other++;
        if (has(l, n, pf_err) && st.errors++ < 3) show("error line", c, l, n);
        return;
    }
    for (int i = 0; i < nfail; i++)
        if (has(l, n, pf_fail[i])) { show("login refused", c, l, n); exit(EXIT_LOGIN); }
    if (c->state != C_LOGIN || c->step >= nsteps || steps[c->step].kind != S_WAIT) return;
    struct step *s = &steps[c->step];
    for (int i = 0; i < s->nalt; i++) {
        struct str x = s->alt[i];
        char d[MAX_SIZE + 8192];
        if (memchr(x.p, '%', x.n)) {
            x.n = expand(d, sizeof d, x, c, NULL);
            x.p = d;
        }
        if (!has(l, n, x)) continue;
        c->step++;
        run_script(c);
        return;
    }
}

static inline void line(struct conn *c, const char *l, size_t n, uint64_t now)
{
    uint32_t e = c->end_off;
    if (e <= n && !memcmp(l + n - e, mark, MARK_LEN)) { delivery(c, l + n - e, e, now); return; }
    const char *m = memmem(l, n, mark, MARK_LEN);
    if (m) {
        c->end_off = n - (m - l);
        delivery(c, m, c->end_off, now);
        return;
    }
    other_line(c, l, n, now);
}

static void readable(struct conn *c)
{
    char *b = rx;
    if (c->part_n) memcpy(b, c->part, c->part_n);
    ssize_t k = recv(c->fd, b + c->part_n, RXBUF, MSG_DONTWAIT);
    if (k <= 0) {
        if (k < 0 && (errno == EAGAIN || errno == EINTR)) return;
        dead(c, k ? strerror(errno) : "closed by the server");
        return;
    }
    if (o.quickack) {               /* the kernel resets it: set it each time */
        int one = 1;
        setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
    }
    uint64_t now = now_ns();
    last_rx = now;
    st.rx_bytes += k;
    st.rx_calls++;
    char *p = b, *end = b + c->part_n + k;
    if (!frame_len) {
        char *nl = memchr(b + c->part_n, delim, k);
        while (nl) {
            line(c, p, nl - p, now);
            p = nl + 1;
            if (p == end || c->state == C_DEAD) break;
            nl = memchr(p, delim, end - p);
        }
    } else {
        while (end - p >= frame_len) {
            uint32_t n = 0;
            for (int i = 0; i < frame_len; i++) n = n << 8 | (uint8_t)p[i];
            if (n > MAX_PART - 8) { dead(c, "frame too long"); return; }
            if ((size_t)(end - p) < frame_len + (size_t)n) break;
            line(c, p + frame_len, n, now);
            p += frame_len + n;
            if (c->state == C_DEAD) break;
        }
    }
    if (c->state == C_DEAD) return;
    size_t left = end - p;
    if (left > MAX_PART) { dead(c, "line too long"); return; }
    if (left > c->part_cap) {
        free(c->part);
        c->part_cap = left < 512 ? 512 : left * 2;
        c->part = xalloc(c->part_cap);
    }
    if (left) memcpy(c->part, p, left);
    c->part_n = left;
}

static void poll_once(int ms)
{
    static struct epoll_event ev[EVENTS];
    static uint64_t last;
    if (running && o.rx_us) {       /* let bytes accumulate: fewer, larger reads */
        uint64_t t = last + o.rx_us * 1000ull, n = now_ns();
        if (n < t) {
            struct timespec ts = { t / 1000000000u, t % 1000000000u };
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
        }
        last = now_ns();
    }
    int n = epoll_wait(ep, ev, EVENTS, ms);
    for (int i = 0; i < n; i++) {
        struct conn *c = ev[i].data.ptr;
        if (!c || c->state == C_DEAD) continue;         /* !c: the timer */
        if (c->state == C_CONNECTING) {
            if (ev[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)) connected(c);
            continue;
        }
        if (ev[i].events & EPOLLOUT) flush(c);
        if (c->state != C_DEAD && ev[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) readable(c);
    }
}

/* ------------------------------------------------------------- sending -- */

static inline void stamp_msg(struct sender *s, char *m, uint64_t ts)
{
    memcpy(m, s->msg, s->msg_n);
    put_hex(m + s->seq_at, s->sent, 8);
    put_hex(m + s->ts_at, ts, 16);
    for (uint32_t i = 0; i < s->nid; i++) put_hex(m + s->id_at[i], s->sent, 8);
    if (s->left) s->left[s->sent & ring_mask] = s->fan;
    if (s->stamp) s->stamp[s->sent & ring_mask] = ts;
    s->sent++;
    st.sent++;
    st.expected += s->fan;
}

static void pump(void)
{
    static char b[256 * 1024];
    for (uint32_t i = 0; i < ready_n; i++) {
        struct sender *s = &senders[ready_q[i]];
        s->queued = false;
        struct conn *c = &conns[s->conn];
        if (!sending || c->state == C_DEAD) continue;
        size_t k = 0;
        uint64_t ts = now_ns();
        while (s->sent < s->quota && s->sent - s->base < (uint32_t)o.window) {
            if (k + s->msg_n > sizeof b) { tx(c, b, k); k = 0; }
            stamp_msg(s, b + k, ts);
            k += s->msg_n;
        }
        if (k) tx(c, b, k);
    }
    ready_n = 0;
}

static void make_senders(void)
{
    uint32_t *in_room = xalloc(o.rooms * sizeof *in_room), *members = xalloc(o.rooms * sizeof *members);
    senders = xalloc(o.senders * sizeof *senders);
    ready_q = xalloc(o.senders * sizeof *ready_q);
    for (int i = 0; i < o.clients; i++) members[conns[i].room]++;
    uint32_t ring = 1;
    while (ring < (uint32_t)o.window) ring *= 2;
    if (o.mode == MODE_PACED && pf_ack.n) ring = 1 << 16;
    ring_mask = ring - 1;
    for (int i = 0; i < o.senders; i++) {
        struct sender *s = &senders[i];
        s->conn = i;
        s->room = conns[i].room;
        s->local = in_room[s->room]++;
        s->fan = members[s->room] - !pf_echo;
        s->quota = o.msgs ? o.msgs / o.senders + ((uint64_t)i < o.msgs % o.senders) : UINT32_MAX;
        s->watcher = i + o.rooms < o.clients ? (uint32_t)(i + o.rooms) : s->room;
        conns[i].sender = i;
        if (o.mode == MODE_THROUGHPUT && pf_flow == FLOW_ALL) s->left = xalloc(ring * sizeof *s->left);
        if (pf_ack.n) s->stamp = xalloc(ring * sizeof *s->stamp);
        if (!s->fan) die(EXIT_USAGE, "sender %d is alone in its room and receives no echo", i);
        char *d = xalloc(MAX_SIZE + 8192);
        size_t n = expand(d + 4, MAX_SIZE + 4096, pf_msg, &conns[i], s);
        if (!s->ts_at) die(EXIT_USAGE, "the msg template has no %%p");
        char *p = framed(d, &n);
        uint32_t shift = d + 4 - p;
        s->msg = p;
        s->msg_n = n;
        s->seq_at += shift;
        s->ts_at += shift;
        for (uint32_t k = 0; k < s->nid; k++) s->id_at[k] += shift;
    }
    for (int i = 0; i < o.clients; i++)
        conns[i].pair = xalloc(in_room[conns[i].room] * sizeof(struct pair));
    free(in_room);
    free(members);
}

/* ------------------------------------- resource usage of the servers -- */

struct usage { double user, sys; uint64_t rss_kb, pss_kb; int procs; };
static struct { const char *name; int pid; struct usage u0, u1; } grp[MAX_GROUPS];
static int ngrp;

static bool read_stat(int pid, int *ppid, double *user, double *sys)
{
    char path[64], b[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t n = fread(b, 1, sizeof b - 1, f);
    fclose(f);
    b[n] = 0;
    char *p = strrchr(b, ')');
    unsigned long u, s;
    long cu, cs;
    if (!p || sscanf(p + 2, "%*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld", ppid, &u, &s, &cu, &cs) != 5)
        return false;
    double hz = sysconf(_SC_CLK_TCK);
    *user = (u + cu) / hz;
    *sys = (s + cs) / hz;
    return true;
}

static uint64_t kb_of(int pid, const char *file, const char *key)
{
    char path[64], l[256];
    uint64_t v = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    FILE *f = fopen(path, "r");
    if (!f) return 0;
    while (fgets(l, sizeof l, f))
        if (!strncmp(l, key, strlen(key))) { v = strtoull(l + strlen(key), NULL, 10); break; }
    fclose(f);
    return v;
}

/* a process and all its descendants, with the CPU time of reaped children */
static struct usage usage_of(int root)
{
    static int pid[65536], ppid[65536];
    static double us[65536], sy[65536];
    struct usage r = { 0 };
    int n = 0;
    DIR *d = opendir("/proc");
    if (!d) return r;
    struct dirent *e;
    while ((e = readdir(d)) && n < 65536)
        if (isdigit((unsigned char)e->d_name[0]) &&
            read_stat(pid[n] = atoi(e->d_name), &ppid[n], &us[n], &sy[n])) n++;
    closedir(d);
    for (int i = 0; i < n; i++) {
        int p = pid[i], hops = 0;
        while (p != root && p > 1 && hops++ < 64) {
            int k;
            for (k = 0; k < n; k++) if (pid[k] == p) break;
            p = k < n ? ppid[k] : 0;
        }
        if (p != root) continue;
        r.procs++;
        r.user += us[i];
        r.sys += sy[i];
        r.rss_kb += kb_of(pid[i], "status", "VmRSS:");
        r.pss_kb += kb_of(pid[i], "smaps_rollup", "Pss:");
    }
    return r;
}

static void host_times(double *busy, double *steal)
{
    unsigned long long v[8] = { 0 };
    FILE *f = fopen("/proc/stat", "r");
    *busy = *steal = 0;
    if (!f) return;
    if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) == 8) {
        double hz = sysconf(_SC_CLK_TCK);
        *busy = (v[0] + v[1] + v[2] + v[5] + v[6]) / hz;
        *steal = v[7] / hz;
    }
    fclose(f);
}

static void self_cpu(double *user, double *sys)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    *user = r.ru_utime.tv_sec + r.ru_utime.tv_usec / 1e6;
    *sys = r.ru_stime.tv_sec + r.ru_stime.tv_usec / 1e6;
}

/* ---------------------------------------------------------------- main -- */

static void on_stop(int sig) { (void)sig; stop_sig = 1; }

static void on_alarm(int sig)
{
    (void)sig;
    static const char m[] = "chatload: time limit exceeded, giving up\n";
    ssize_t r = write(2, m, sizeof m - 1);
    (void)r;
    _exit(EXIT_OVERTIME);
}

static void help(void)
{
    puts("chatload --port P --profile FILE [--mode throughput|paced|idle] [options]\n"
         "  --host A           loopback IPv4 address (127.0.0.1)\n"
         "  --port P1,P2,...   several servers that work together share the clients\n"
         "  --spread HOW       between those ports: client (the members of each room in turn), room (each room has one\n"
         "                     port), sender (who sends has the first port, all others have the last) (client)\n"
         "  -e LINE            an additional profile line, after those of the file (may be repeated)\n"
         "  --clients N        connections (100)      --rooms R    rooms, with clients spread evenly (1)\n"
         "  --senders S        how many of them send (4)  --size B payload bytes (64, at least 43)\n"
         "  --window W         throughput: messages in flight per sender (16)\n"
         "  --msgs M | --secs T  total messages, or seconds to send for (5)\n"
         "  --rate X           paced: messages/s in total (100)\n"
         "  --hold S           idle: seconds to hold the connections (2)\n"
         "  --login-conc N     concurrent logins (32)\n"
         "  --login-timeout S  seconds for all logins together (60)\n"
         "  --stall S          give up after this many seconds without progress (5)\n"
         "  --linger S         seconds to wait for late duplicates (0.3)\n"
         "  --max-secs S       hard limit for the whole run, in seconds (180)\n"
         "  --rx-us U          throughput: at most one round of reads every U microseconds (0: off)\n"
         "  --quickack 0|1     1: no delayed ACKs, which would slow down a server without TCP_NODELAY (0)\n"
         "  --pid NAME=PID     report CPU and memory of this process tree (may be repeated)\n"
         "  --dump N           print the first N lines that contain no message\n"
         "  --label TEXT       copied into the JSON line\n"
         "  --prefix TEXT      the value of %P; gives several runs on one server different names\n"
         "  --announce 1       print \"ready\" on a line before the JSON line, once all clients are logged in (0)\n"
         "exit: 0 complete and in order, 1 usage, 2 login failed, 3 lost/duplicated/reordered/cut off, 4 time limit exceeded");
    exit(EXIT_OK);
}

static double num(const char *s, double lo, double hi, const char *what)
{
    char *e;
    double v = strtod(s, &e);
    if (*e || e == s || !(v >= lo && v <= hi)) die(EXIT_USAGE, "%s: %s is not in the range %g..%g", what, s, lo, hi);
    return v;
}

static void options(int argc, char **argv)
{
    int extra = 0;
    for (int i = 1; i < argc; i++) {
        const char *k = argv[i];
        if (!strcmp(k, "--help") || !strcmp(k, "-h")) help();
        if (i + 1 >= argc) die(EXIT_USAGE, "%s needs a value (try --help)", k);
        char *v = argv[++i];
        if (!strcmp(k, "--host")) o.host = v;
        else if (!strcmp(k, "--port"))
            for (char *p = strtok(v, ","); p; p = strtok(NULL, ",")) {
                if (o.nports == MAX_PORTS) die(EXIT_USAGE, "--port: at most %d", MAX_PORTS);
                o.ports[o.nports++] = num(p, 1, 65535, k);
            }
        else if (!strcmp(k, "--spread")) {
            for (o.spread = 0; o.spread < 3; o.spread++) if (!strcmp(v, spread_name[o.spread])) break;
            if (o.spread == 3) die(EXIT_USAGE, "--spread: client, room or sender");
        }
        else if (!strcmp(k, "--profile")) { o.profile = v; profile_file(v); }
        else if (!strcmp(k, "-e")) { char *c = strdup(v); profile_line(c, "-e", ++extra); free(c); }
        else if (!strcmp(k, "--mode")) {
            for (o.mode = 0; o.mode < 3; o.mode++) if (!strcmp(v, mode_name[o.mode])) break;
            if (o.mode == 3) die(EXIT_USAGE, "--mode: throughput, paced or idle");
        }
        else if (!strcmp(k, "--clients")) o.clients = num(v, 1, 1000000, k);
        else if (!strcmp(k, "--rooms")) o.rooms = num(v, 1, 1000000, k);
        else if (!strcmp(k, "--senders")) o.senders = num(v, 1, 1000000, k);
        else if (!strcmp(k, "--size")) o.size = num(v, MIN_SIZE, MAX_SIZE, k);
        else if (!strcmp(k, "--window")) o.window = num(v, 1, 65536, k);
        else if (!strcmp(k, "--msgs")) o.msgs = num(v, 1, 4e9, k);
        else if (!strcmp(k, "--secs")) o.secs = num(v, 0.01, 3600, k);
        else if (!strcmp(k, "--rate")) o.rate = num(v, 0.01, 1e7, k);
        else if (!strcmp(k, "--hold")) o.hold = num(v, 0, 3600, k);
        else if (!strcmp(k, "--login-conc")) o.login_conc = num(v, 1, 100000, k);
        else if (!strcmp(k, "--login-timeout")) o.login_timeout = num(v, 1, 3600, k);
        else if (!strcmp(k, "--stall")) o.stall = num(v, 0.1, 600, k);
        else if (!strcmp(k, "--linger")) o.linger = num(v, 0, 60, k);
        else if (!strcmp(k, "--max-secs")) o.max_secs = num(v, 1, 7200, k);
        else if (!strcmp(k, "--rx-us")) o.rx_us = num(v, 0, 1000000, k);
        else if (!strcmp(k, "--quickack")) o.quickack = num(v, 0, 1, k);
        else if (!strcmp(k, "--dump")) o.dump = num(v, 0, 1e9, k);
        else if (!strcmp(k, "--label")) o.label = v;
        else if (!strcmp(k, "--prefix")) o.prefix = v;
        else if (!strcmp(k, "--announce")) o.announce = num(v, 0, 1, k);
        else if (!strcmp(k, "--pid")) {
            char *e = strchr(v, '=');
            if (!e || ngrp == MAX_GROUPS) die(EXIT_USAGE, "--pid NAME=PID, %d at most", MAX_GROUPS);
            *e = 0;
            grp[ngrp].name = v;
            grp[ngrp++].pid = num(e + 1, 1, 1e9, k);
        }
        else die(EXIT_USAGE, "unknown option %s (try --help)", k);
    }
    if (!o.nports) die(EXIT_USAGE, "--port is missing (try --help)");
    if (!nsteps && !pf_msg.n) die(EXIT_USAGE, "no profile (try --help)");
    for (const char *p = o.label; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < 32) die(EXIT_USAGE, "--label: plain text only");
    if (!pf_eol.p) pf_eol = unescape("\\r\\n", 4);
    if (o.rooms > o.clients) die(EXIT_USAGE, "more rooms than clients");
    if (o.mode == MODE_IDLE) o.senders = 0;
    else {
        if (!pf_msg.n) die(EXIT_USAGE, "the profile has no msg");
        if (o.senders > o.clients) die(EXIT_USAGE, "more senders than clients");
        if (pf_flow == FLOW_ECHO && !pf_echo) die(EXIT_USAGE, "flow echo needs echo yes");
        if (pf_flow == FLOW_ACK && !pf_ack.n) die(EXIT_USAGE, "flow ack needs ack");
        if (!o.secs && !o.msgs) o.secs = 5;
    }
}

static int port_of(uint32_t client)
{
    uint32_t rooms = o.rooms, n = o.nports;
    if (o.spread == SPREAD_ROOM) return o.ports[client % rooms % n];
    if (o.spread == SPREAD_SENDER) return o.ports[client < (uint32_t)o.senders ? 0 : n - 1];
    return o.ports[client / rooms % n];
}

static void print_lat(const char *name, const struct hist *h)
{
    printf("\"%s\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f,\"mean\":%.3f},", name,
           hist_ms(h, .5), hist_ms(h, .9), hist_ms(h, .99), h->max / 1e6, h->n ? h->sum / 1e6 / h->n : 0);
}

int main(int argc, char **argv)
{
    options(argc, argv);
    struct sockaddr_in to = { .sin_family = AF_INET };
    if (inet_pton(AF_INET, o.host, &to.sin_addr) != 1 || ntohl(to.sin_addr.s_addr) >> 24 != 127)
        die(EXIT_USAGE, "%s is not a loopback address (127.x.y.z)", o.host);

    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    if (rl.rlim_cur < (rlim_t)o.clients + 32) {
        rl.rlim_cur = o.clients + 32;
        if (rl.rlim_max < rl.rlim_cur) rl.rlim_max = rl.rlim_cur;
        if (setrlimit(RLIMIT_NOFILE, &rl)) die(EXIT_USAGE, "cannot open %d files", o.clients + 32);
    }
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, on_stop);
    signal(SIGTERM, on_stop);
    signal(SIGALRM, on_alarm);
    alarm((unsigned)o.max_secs + 15);

    struct timespec rt;
    clock_gettime(CLOCK_REALTIME, &rt);
    run_id = (uint32_t)(rt.tv_nsec ^ (rt.tv_sec << 20) ^ ((uint64_t)getpid() << 12));
    sprintf(mark, "@L%08x", run_id);

    conns = xalloc(o.clients * sizeof *conns);
    for (int i = 0; i < o.clients; i++)
        conns[i] = (struct conn){ .fd = -1, .idx = i, .room = i % o.rooms, .sender = -1, .end_off = UINT32_MAX };
    if (o.mode != MODE_IDLE) make_senders();
    if ((ep = epoll_create1(EPOLL_CLOEXEC)) < 0) die(EXIT_USAGE, "epoll: %s", strerror(errno));

    double u0, s0, u1, s1, h0, h1, st0, st1;
    struct usage login0[MAX_GROUPS];
    for (int i = 0; i < ngrp; i++) {
        login0[i] = usage_of(grp[i].pid);
        if (!login0[i].procs) die(EXIT_USAGE, "--pid %s=%d: no such process", grp[i].name, grp[i].pid);
    }

    /* log in */
    double hl, stl;
    host_times(&hl, &stl);
    uint64_t t_begin = now_ns(), t_hard = t_begin + (uint64_t)(o.max_secs * 1e9), t;
    uint64_t t_login = t_begin + (uint64_t)(o.login_timeout * 1e9);
    while (n_ready < (uint32_t)o.clients) {
        while (n_active < (uint32_t)o.login_conc && next_new < (uint32_t)o.clients) {
            to.sin_port = htons(port_of(next_new));
            start_conn(&conns[next_new++], &to);
        }
        if (!releasing && n_arrived == (uint32_t)o.clients) { releasing = true; next_release = 0; n_arrived = 0; }
        while (releasing && n_active < (uint32_t)o.login_conc) {
            if (next_release == (uint32_t)o.clients) { releasing = false; break; }
            struct conn *c = &conns[next_release++];
            c->state = C_LOGIN;
            n_active++;
            run_script(c);
        }
        if (n_ready == (uint32_t)o.clients) break;
        poll_once(releasing || (n_arrived == (uint32_t)o.clients) ? 0 : 50);
        if ((t = now_ns()) > t_login || t > t_hard || stop_sig) {
            for (int i = 0; i < o.clients; i++)
                if (conns[i].state == C_CONNECTING || conns[i].state == C_LOGIN)
                    die(EXIT_LOGIN, "login: %u of %d ready after %.1f s; client %d hangs at step %d",
                        n_ready, o.clients, (t - t_begin) / 1e9, i, conns[i].step);
            die(EXIT_LOGIN, "login: %u of %d ready after %.1f s", n_ready, o.clients, (t - t_begin) / 1e9);
        }
    }
    double login_s = (now_ns() - t_begin) / 1e9, ul, sl;
    self_cpu(&ul, &sl);

    /* wait for the other clients' joins: until 0.3 s of silence, at most 20 s */
    uint64_t t_settle = now_ns() + 20000000000ull;
    last_rx = now_ns();
    while ((t = now_ns()) - last_rx < 300000000u && t < t_settle && t < t_hard && !stop_sig) poll_once(50);
    double settle_s = (now_ns() - t_begin) / 1e9 - login_s;

    for (int i = 0; i < ngrp; i++) grp[i].u0 = usage_of(grp[i].pid);
    memset(&st, 0, sizeof st);
    self_cpu(&u0, &s0);
    host_times(&h0, &st0);
    double login_other = h0 - hl - u0 - s0;
    for (int i = 0; i < ngrp; i++) login_other -= grp[i].u0.user + grp[i].u0.sys - login0[i].user - login0[i].sys;
    if (o.announce) { puts("ready"); fflush(stdout); }
    running = true;
    bool stalled = false, cut = false;
    uint64_t t0 = now_ns();
    t_first_send = last_delivery = t0;

    if (o.mode == MODE_IDLE) {
        uint64_t end = t0 + (uint64_t)(o.hold * 1e9);
        while ((t = now_ns()) < end && t < t_hard && !stop_sig) poll_once(50);
        last_delivery = now_ns();
    } else if (o.mode == MODE_THROUGHPUT) {
        uint64_t end = o.secs ? t0 + (uint64_t)(o.secs * 1e9) : UINT64_MAX;
        uint64_t stall = (uint64_t)(o.stall * 1e9);
        sending = ring_on = true;
        for (int i = 0; i < o.senders; i++) wake(&senders[i]);
        for (;;) {
            if (ready_n) pump();
            poll_once(ready_n ? 0 : 20);
            t = now_ns();
            if (sending && (t >= end || stop_sig || st.disconnects)) sending = false;
            bool all_sent = !sending || (o.msgs && st.sent >= o.msgs);
            if (all_sent && st.received == st.expected && (pf_flow != FLOW_ACK || st.acks == st.sent)) break;
            if (t > last_delivery && t - last_delivery > stall) { stalled = true; break; }
            if (t > t_hard) { cut = true; break; }
        }
    } else {
        uint64_t total = o.msgs ? o.msgs : (uint64_t)(o.secs * o.rate), k = 0, stall = (uint64_t)(o.stall * 1e9);
        static char b[MAX_SIZE + 8192];
        tfd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
        if (tfd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, tfd, &e)) die(EXIT_USAGE, "timerfd: %s", strerror(errno));
        t_first_send = t0 = now_ns() + 1000000;
        sending = true;
        for (;;) {
            uint64_t due = t0 + (uint64_t)(k * 1e9 / o.rate);
            t = now_ns();
            while (k < total && due <= t && sending) {
                struct sender *s = &senders[k % o.senders];
                hist_add(&lag, t - due);
                stamp_msg(s, b, due);       /* stamped with its due time: no coordinated omission */
                tx(&conns[s->conn], b, s->msg_n);
                due = t0 + (uint64_t)(++k * 1e9 / o.rate);
                t = now_ns();
            }
            bool all_sent = k >= total || !sending;
            if (all_sent && st.received == st.expected) break;
            if (stop_sig) sending = false;
            if (all_sent && t > last_delivery && t - last_delivery > stall && t > due && t - due > stall) { stalled = true; break; }
            if (t > t_hard) { cut = true; break; }
            struct itimerspec it = { .it_value = { due / 1000000000u, due % 1000000000u } };
            if (all_sent) it.it_value = (struct timespec){ 0, 0 };
            timerfd_settime(tfd, TFD_TIMER_ABSTIME, &it, NULL);
            poll_once(50);
        }
    }
    uint64_t t_end = last_delivery > t_first_send ? last_delivery : now_ns();
    double secs = (t_end - t_first_send) / 1e9;
    self_cpu(&u1, &s1);
    sending = false;

    /* wait for late duplicates, and for what the server still does for these messages */
    t = now_ns() + (uint64_t)(o.linger * 1e9);
    while (o.mode != MODE_IDLE && now_ns() < t) poll_once(20);
    host_times(&h1, &st1);
    for (int i = 0; i < ngrp; i++) grp[i].u1 = usage_of(grp[i].pid);

    /* a second, independent count of missing messages */
    uint64_t missing = 0, rooms_same = 0, rooms_checked = 0;
    for (int i = 0; i < o.clients && o.mode != MODE_IDLE; i++) {
        struct conn *c = &conns[i];
        for (int j = 0; j < o.senders; j++) {
            struct sender *s = &senders[j];
            if (s->room != c->room || (c->sender == j && !pf_echo)) continue;
            struct pair *p = &c->pair[s->local];
            missing += s->sent - p->next;
            for (uint32_t g = 0; p->gaps && g < p->gaps->n; g++) missing += p->gaps->r[g].b - p->gaps->r[g].a;
        }
    }
    uint64_t lost = st.expected - st.received;
    if (missing != lost) die(EXIT_INCOMPLETE, "internal: %llu missing but %llu lost", (unsigned long long)missing, (unsigned long long)lost);
    for (int r = 0; r < o.rooms && o.mode != MODE_IDLE; r++) {      /* did all members see the same order? */
        uint64_t h = 0;
        int n = 0;
        bool same = true;
        for (int i = r; i < o.clients; i += o.rooms) {
            if (conns[i].sender >= 0 && !pf_echo) continue;
            if (n++ == 0) h = conns[i].order;
            else same &= conns[i].order == h;
        }
        if (n > 1) { rooms_checked++; rooms_same += same; }
    }

    bool ok = !lost && !st.dup && !st.ooo && !st.corrupt && !st.misrouted && !st.self_echo &&
              !st.disconnects && !st.errors && !stalled && !cut && !stop_sig;
    double gen = u1 + s1 - u0 - s0, srv = 0;
    for (int i = 0; i < ngrp; i++) srv += grp[i].u1.user + grp[i].u1.sys - grp[i].u0.user - grp[i].u0.sys;
    printf("{\"label\":\"%s\",\"mode\":\"%s\",\"clients\":%d,\"rooms\":%d,\"senders\":%d,\"size\":%d,", o.label,
           mode_name[o.mode], o.clients, o.rooms, o.senders, o.size);
    if (o.mode == MODE_THROUGHPUT) printf("\"window\":%d,\"flow\":\"%s\",\"rx_us\":%d,", o.window, flow_name[pf_flow], o.rx_us);
    if (o.mode == MODE_PACED) printf("\"rate\":%g,", o.rate);
    printf("\"quickack\":%d,", o.quickack);
    printf("\"ok\":%s,\"stalled\":%s,\"cut_off\":%s,", ok ? "true" : "false", stalled ? "true" : "false",
           cut || stop_sig ? "true" : "false");
    printf("\"login_s\":%.3f,\"logins_per_s\":%.0f,\"login_conc\":%d,\"connect_max_ms\":%.1f,\"settle_s\":%.2f,", login_s,
           o.clients / login_s, o.login_conc, connect_max / 1e6, settle_s);
    if (o.mode != MODE_IDLE) {
        printf("\"sent\":%llu,\"expected\":%llu,\"received\":%llu,\"lost\":%llu,\"duplicated\":%llu,\"out_of_order\":%llu,"
               "\"corrupt\":%llu,\"misrouted\":%llu,\"self_echo\":%llu,\"errors\":%llu,\"acks\":%llu,",
               (unsigned long long)st.sent, (unsigned long long)st.expected, (unsigned long long)st.received,
               (unsigned long long)lost, (unsigned long long)st.dup, (unsigned long long)st.ooo,
               (unsigned long long)st.corrupt, (unsigned long long)st.misrouted, (unsigned long long)st.self_echo,
               (unsigned long long)st.errors, (unsigned long long)st.acks);
        printf("\"rooms_one_order\":%llu,\"rooms_order_checked\":%llu,\"seconds\":%.3f,\"msgs_per_s\":%.1f,\"deliveries_per_s\":%.0f,",
               (unsigned long long)rooms_same, (unsigned long long)rooms_checked, secs, st.sent / secs, st.received / secs);
        print_lat("lat_ms", &lat);
        if (st.acks) print_lat("ack_ms", &acklat);
        if (o.mode == MODE_PACED) print_lat("send_lag_ms", &lag);
    }
    printf("\"disconnects\":%llu,\"other_lines\":%llu,\"gen_cpu_s\":%.3f,\"gen_user_s\":%.3f,\"gen_sys_s\":%.3f,\"gen_busy\":%.3f,",
           (unsigned long long)st.disconnects, (unsigned long long)st.other, gen, u1 - u0, s1 - s0, secs > 0 ? gen / secs : 0);
    if (st.received) printf("\"gen_us_per_delivery\":%.3f,\"rx_bytes\":%llu,\"rx_calls\":%llu,\"tx_calls\":%llu,", gen * 1e6 / st.received,
                            (unsigned long long)st.rx_bytes, (unsigned long long)st.rx_calls, (unsigned long long)st.tx_calls);
    printf("\"gen_total_cpu_s\":%.3f,\"server\":{", u1 + s1);
    for (int i = 0; i < ngrp; i++) {
        struct usage *a = &grp[i].u0, *b = &grp[i].u1, *l = &login0[i];
        double u = b->user - a->user, s = b->sys - a->sys;
        printf("%s\"%s\":{\"procs\":%d,\"cpu_s\":%.2f,\"user_s\":%.2f,\"sys_s\":%.2f,", i ? "," : "", grp[i].name, b->procs, u + s, u, s);
        if (st.received) printf("\"cpu_s_per_million\":%.3f,", (u + s) * 1e6 / st.received);
        printf("\"login_cpu_s\":%.2f,\"rss_before_kb\":%llu,\"rss_kb\":%llu,\"pss_before_kb\":%llu,\"pss_kb\":%llu,\"rss_kb_per_client\":%.2f}",
               a->user + a->sys - l->user - l->sys, (unsigned long long)l->rss_kb, (unsigned long long)b->rss_kb,
               (unsigned long long)l->pss_kb, (unsigned long long)b->pss_kb,
               ((double)b->rss_kb - (double)l->rss_kb) / o.clients);
    }
    printf("},\"gen_login_cpu_s\":%.3f,\"host\":{\"busy_s\":%.2f,\"other_s\":%.2f,\"steal_s\":%.2f,\"login_other_s\":%.2f}}\n",
           ul + sl, h1 - h0, h1 - h0 - gen - srv > 0 ? h1 - h0 - gen - srv : 0, st1 - st0, login_other > 0 ? login_other : 0);
    fflush(stdout);
    return ok ? EXIT_OK : EXIT_INCOMPLETE;
}
