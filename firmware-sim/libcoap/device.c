/*
 * A whole device on libcoap (4.3.1 or later): it registers over DTLS, observes
 * its commands, works on them one at a time, and reports until each report is
 * answered for good. docs/wire.md is what it does; where it says "never twice",
 * the number goes to the disk before the deed.
 *
 *   cc -o device device.c -lcoap-3-openssl       # or -lcoap-3-gnutls
 *   ./device 127.0.0.1 5684 pump-1 6b9f1c0a55d24e7790aa31c8be02f4d1 pump-1.last [COUNT]
 *
 * The key is in hexadecimal, as the server shows it when it makes one. Its deed is a line on standard output. After COUNT outcomes it ends; without,
 * it goes on for ever.
 */
#include <coap3/coap.h>

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIFETIME = 3600, LIST_MAX = 1152, DEPTH_MAX = 8, KNOWN_MAX = 8, KEY_MAX = 64, TRIES_MAX = 3, CBOR = 60 };
enum { RUNNING, SUCCESS, FAILURE, REJECTED, CANCELED };        /* report, key 1 */
enum { NO_CODE = 0, EXPIRED = 1, INTERRUPTED = 7 };            /* report, key 3 */
enum { REGISTER = 'r', REFRESH = 'f', OBSERVE = 'o', REPORT = 'p' }; /* tokens */

/* An entry of the open list. */
struct entry {
  uint32_t seq, left;
  bool cancel, fresh;
  char type[64];
};

/* What came of a command; seq 0: nothing yet. */
struct outcome {
  uint32_t seq;
  int status, code;
};

static struct {
  const char *name, *file;
  coap_session_t *session;
  uint32_t last;                     /* the greatest number that was stored */
  uint8_t list[LIST_MAX];            /* the newest, and when it came */
  size_t list_bytes;
  coap_tick_t listed, refreshed, again;
  struct outcome now;                /* what is being reported */
  struct outcome known[KNOWN_MAX];   /* what was, in turn */
  unsigned outcomes;                 /* that were answered for good */
  char location[64];
  bool lost;                         /* the session is */
} device;

static coap_tick_t ticks(void) {
  coap_tick_t t;
  coap_ticks(&t);
  return t;
}

/* --- the number that survives ------------------------------------------- */

static void load(void) {
  FILE *f = fopen(device.file, "r");
  if (f == NULL) return; /* a new device */
  if (fscanf(f, "%" SCNu32, &device.last) != 1) {
    fprintf(stderr, "%s: not a number; a device that lost it must not guess\n", device.file);
    exit(1);
  }
  fclose(f);
}

static void store(uint32_t seq) {
  char beside[4096];
  if (snprintf(beside, sizeof beside, "%s.new", device.file) >= (int)sizeof beside) exit(1);
  FILE *f = fopen(beside, "w");
  if (f == NULL || fprintf(f, "%" PRIu32 "\n", seq) < 0 || fflush(f) != 0 || fsync(fileno(f)) != 0 ||
      fclose(f) != 0 || rename(beside, device.file) != 0) {
    fprintf(stderr, "%s: %s; nothing was done\n", device.file, strerror(errno));
    exit(1);
  }
  device.last = seq;
}

/* --- CBOR: as much as a list needs --------------------------------------- */

struct reader {
  const uint8_t *at, *end;
};

/* head reads what an item begins with. Lengths are definite. */
static bool head(struct reader *r, unsigned *major, uint64_t *value) {
  if (r->at == r->end) return false;
  uint8_t b = *r->at++;
  *major = b >> 5;
  *value = b & 31;
  if (*value < 24) return true;
  if (*value > 27) return false;
  size_t n = (size_t)1 << (*value - 24);
  if ((size_t)(r->end - r->at) < n) return false;
  for (*value = 0; n > 0; n--) *value = *value << 8 | *r->at++;
  return true;
}

static bool skip(struct reader *r, int depth) {
  unsigned major;
  uint64_t n;
  if (depth > DEPTH_MAX || !head(r, &major, &n)) return false;
  switch (major) {
  case 2: case 3:
    if (n > (uint64_t)(r->end - r->at)) return false;
    r->at += n;
    return true;
  case 4: case 5:
    for (uint64_t i = 0; i < n << (major == 5); i++)
      if (!skip(r, depth + 1)) return false;
    return true;
  case 6:
    return skip(r, depth + 1);
  }
  return true; /* a number or a simple value */
}

/* number reads an unsigned one. */
static bool number(struct reader *r, uint32_t *v) {
  unsigned major;
  uint64_t n;
  if (!head(r, &major, &n) || major != 0 || n > UINT32_MAX) return false;
  *v = (uint32_t)n;
  return true;
}

/* type is a name, or a number that stands for one. */
static bool type(struct reader *r, char *to, size_t size) {
  unsigned major;
  uint64_t n;
  if (!head(r, &major, &n)) return false;
  if (major == 0) return snprintf(to, size, "%" PRIu64, n) > 0;
  if (major != 3 || n > (uint64_t)(r->end - r->at) || n >= size) return false;
  memcpy(to, r->at, n);
  to[n] = 0;
  r->at += n;
  return true;
}

static bool next_entry(struct reader *r, struct entry *e) {
  unsigned major;
  uint64_t pairs;
  uint32_t key;
  memset(e, 0, sizeof *e);
  if (!head(r, &major, &pairs) || major != 5) return false;
  for (; pairs > 0; pairs--) {
    bool ok;
    if (!number(r, &key)) return false;
    switch (key) {
    case 1: ok = number(r, &e->seq); break;
    case 2: ok = type(r, e->type, sizeof e->type); break;
    case 4: ok = number(r, &e->left); break;
    case 7: e->cancel = true; ok = skip(r, 0); break;
    case 8: e->fresh = true; ok = skip(r, 0); break;
    default: ok = skip(r, 0); /* params, or what a newer server says */
    }
    if (!ok) return false;
  }
  return e->seq > 0;
}

/* --- requests ------------------------------------------------------------- */

static void send_request(uint8_t kind, coap_pdu_code_t code, const char *path, const uint8_t *body, size_t bytes) {
  static uint16_t count;
  uint8_t token[3] = {kind, (uint8_t)(++count >> 8), (uint8_t)count}, buf[4];
  coap_pdu_t *pdu = coap_new_pdu(COAP_MESSAGE_CON, code, device.session);
  if (pdu == NULL || !coap_add_token(pdu, sizeof token, token)) abort();
  if (kind == OBSERVE) coap_add_option(pdu, COAP_OPTION_OBSERVE, 0, NULL);
  for (const char *p = path; *p != 0; p += strspn(p, "/")) {
    size_t n = strcspn(p, "/");
    coap_add_option(pdu, COAP_OPTION_URI_PATH, n, (const uint8_t *)p);
    p += n;
  }
  if (body != NULL)
    coap_add_option(pdu, COAP_OPTION_CONTENT_FORMAT, coap_encode_var_safe(buf, sizeof buf, CBOR), buf);
  if (kind == REGISTER) {
    char lifetime[16], last[16];
    snprintf(lifetime, sizeof lifetime, "lt=%d", LIFETIME);
    snprintf(last, sizeof last, "last=%" PRIu32, device.last);
    coap_add_option(pdu, COAP_OPTION_URI_QUERY, strlen(lifetime), (uint8_t *)lifetime);
    if (device.last > 0) coap_add_option(pdu, COAP_OPTION_URI_QUERY, strlen(last), (uint8_t *)last);
  }
  if (kind == OBSERVE)
    coap_add_option(pdu, COAP_OPTION_ACCEPT, coap_encode_var_safe(buf, sizeof buf, CBOR), buf);
  if (body != NULL) coap_add_data(pdu, bytes, body);
  if (coap_send(device.session, pdu) == COAP_INVALID_MID) device.lost = true;
}

static void observe(void) {
  char path[128];
  snprintf(path, sizeof path, "c/%s", device.name);
  send_request(OBSERVE, COAP_REQUEST_CODE_GET, path, NULL, 0);
}

static void report(int status, int code) {
  char path[160];
  uint8_t body[8] = {0xa1, 1, (uint8_t)status};
  size_t n = 3;
  snprintf(path, sizeof path, "c/%s/%" PRIu32, device.name, device.now.seq);
  if (code != NO_CODE) {
    body[0]++;
    body[n++] = 3;
    body[n++] = (uint8_t)code;
  }
  if (code == INTERRUPTED) { /* nobody knows how far it went */
    body[0]++;
    body[n++] = 6;
    body[n++] = 3;
  }
  device.again = 0;
  send_request(REPORT, COAP_REQUEST_CODE_POST, path, body, n);
}

static void tell(uint32_t seq, int status, int code) {
  device.now = (struct outcome){seq, status, code};
  report(status, code);
}

/* --- what to do ------------------------------------------------------------ */

static void act(const struct entry *e) {
  printf("act %" PRIu32 " %s\n", e->seq, e->type);
  fflush(stdout);
}

static bool remembered(uint32_t seq) {
  for (int i = 0; i < KNOWN_MAX; i++)
    if (device.known[i].seq == seq) return true;
  return false;
}

static bool expired(const struct entry *e) {
  return (ticks() - device.listed) / COAP_TICKS_PER_SECOND >= e->left;
}

/* consider decides on one entry, and answers whether a report is on the way. */
static bool consider(const struct entry *e) {
  if (e->seq <= device.last) {
    if (remembered(e->seq)) return false; /* the list is older than the answer */
    tell(e->seq, FAILURE, INTERRUPTED);   /* power went between the number and the report */
    return true;
  }
  store(e->seq);
  if (e->cancel) tell(e->seq, CANCELED, NO_CODE);
  else if (expired(e)) tell(e->seq, REJECTED, EXPIRED);
  else if (e->fresh) tell(e->seq, RUNNING, NO_CODE); /* the answer says whether it may begin */
  else {
    act(e);
    tell(e->seq, SUCCESS, NO_CODE);
  }
  return true;
}

/* walk reads the newest list up to the entry of a number; without one, up to
 * the first that something was to be done about. */
static bool walk(uint32_t seq, struct entry *found) {
  struct reader r = {device.list, device.list + device.list_bytes};
  unsigned major;
  uint64_t n;
  if (device.list_bytes == 0) return false;
  if (!head(&r, &major, &n) || major != 4) goto bad;
  for (; n > 0; n--) {
    if (!next_entry(&r, found)) goto bad;
    if (seq == 0 ? consider(found) : found->seq == seq) return true;
  }
  return false;
bad:
  fprintf(stderr, "a list that is none\n");
  device.list_bytes = 0;
  return false;
}

static void work(void) {
  struct entry e;
  if (device.now.seq == 0) {
    walk(0, &e);
  } else if (device.again != 0 && ticks() >= device.again) {
    report(device.now.status, device.now.code);
  }
}

/* allowed begins what asked whether it is still wanted. */
static void allowed(void) {
  struct entry e;
  if (walk(device.now.seq, &e) && !e.cancel && !expired(&e)) {
    act(&e);
    tell(e.seq, SUCCESS, NO_CODE);
  } else {
    tell(device.now.seq, CANCELED, NO_CODE);
  }
}

static void settled(coap_pdu_code_t code) {
  if (device.now.status == RUNNING) {
    if (code == COAP_RESPONSE_CODE(204)) allowed();
    else tell(device.now.seq, REJECTED, EXPIRED);
    return;
  }
  device.known[device.outcomes++ % KNOWN_MAX] = device.now;
  device.now.seq = 0;
}

/* --- answers ---------------------------------------------------------------- */

static uint32_t option(const coap_pdu_t *pdu, coap_option_num_t which, uint32_t otherwise) {
  coap_opt_iterator_t i;
  coap_opt_t *o = coap_check_option(pdu, which, &i);
  return o == NULL ? otherwise : coap_decode_var_bytes(coap_opt_value(o), coap_opt_length(o));
}

static void registered(const coap_pdu_t *pdu) {
  coap_opt_iterator_t i;
  coap_opt_filter_t only;
  coap_opt_t *o;
  size_t n = 0;
  coap_option_filter_clear(&only);
  coap_option_filter_set(&only, COAP_OPTION_LOCATION_PATH);
  coap_option_iterator_init(pdu, &i, &only);
  while ((o = coap_option_next(&i)) != NULL && n + coap_opt_length(o) + 2 < sizeof device.location)
    n += (size_t)snprintf(device.location + n, sizeof device.location - n, "%s%.*s", n > 0 ? "/" : "",
                          (int)coap_opt_length(o), (const char *)coap_opt_value(o));
  device.refreshed = ticks();
  observe();
}

static void listed(const coap_pdu_t *pdu) {
  size_t bytes, offset, total;
  const uint8_t *data;
  if (!coap_get_data_large(pdu, &bytes, &data, &offset, &total) || offset != 0 || bytes > LIST_MAX) return;
  memcpy(device.list, data, bytes);
  device.list_bytes = bytes;
  device.listed = ticks();
}

static coap_response_t answered(coap_session_t *session, const coap_pdu_t *sent, const coap_pdu_t *pdu, const coap_mid_t mid) {
  coap_bin_const_t token = coap_pdu_get_token(pdu);
  coap_pdu_code_t code = coap_pdu_get_code(pdu);
  bool good = COAP_RESPONSE_CLASS(code) == 2;
  (void)session, (void)sent, (void)mid;
  if (token.length != 3) return COAP_RESPONSE_FAIL;
  if (code == COAP_RESPONSE_CODE(429) || code == COAP_RESPONSE_CODE(503)) {
    device.again = ticks() + option(pdu, COAP_OPTION_MAXAGE, 60) * COAP_TICKS_PER_SECOND;
    if (token.s[0] != REPORT) device.lost = true; /* begin again */
  } else if (token.s[0] == REPORT) {
    settled(code);
  } else if (!good) {
    fprintf(stderr, "refused: %d.%02d\n", COAP_RESPONSE_CLASS(code), code & 31);
    device.lost = true;
  } else if (token.s[0] == REGISTER) {
    registered(pdu);
  } else if (token.s[0] == OBSERVE) {
    listed(pdu);
  }
  return COAP_RESPONSE_OK;
}

static void unanswered(coap_session_t *session, const coap_pdu_t *sent, const coap_nack_reason_t why, const coap_mid_t mid) {
  (void)session, (void)sent, (void)mid;
  if (why == COAP_NACK_ICMP_ISSUE) return; /* the server may be back before the next repeat */
  fprintf(stderr, "no answer (%d)\n", (int)why);
  device.lost = true;
}

static int happened(coap_session_t *session, const coap_event_t event) {
  (void)session;
  if (event == COAP_EVENT_DTLS_CLOSED || event == COAP_EVENT_DTLS_ERROR) device.lost = true;
  return 0;
}

/* --- one session ------------------------------------------------------------- */

static bool resolve(const char *host, const char *port, coap_address_t *to) {
  struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found;
  int err = getaddrinfo(host, port, &hints, &found);
  if (err != 0) {
    fprintf(stderr, "%s: %s\n", host, gai_strerror(err));
    return false;
  }
  coap_address_init(to);
  to->size = found->ai_addrlen;
  memcpy(&to->addr, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return true;
}

/* unhex reads a key; 0 bytes: it is none. */
static coap_bin_const_t unhex(const char *text) {
  static uint8_t key[KEY_MAX];
  size_t n = 0;
  for (; n < KEY_MAX && isxdigit((unsigned char)text[0]) && isxdigit((unsigned char)text[1]); n++, text += 2)
    sscanf(text, "%2hhx", &key[n]);
  return (coap_bin_const_t){*text == 0 ? n : 0, key};
}

/* serve is one session: until it is lost, or until count outcomes are told. */
static bool serve(coap_context_t *context, const coap_address_t *to, coap_bin_const_t key, unsigned count) {
  coap_dtls_cpsk_t psk = {.version = COAP_DTLS_CPSK_SETUP_VERSION};
  psk.psk_info.identity = (coap_bin_const_t){strlen(device.name), (const uint8_t *)device.name};
  psk.psk_info.key = key;
  device.lost = false;
  device.location[0] = 0;
  device.list_bytes = 0;
  device.session = coap_new_client_session_psk2(context, NULL, to, COAP_PROTO_DTLS, &psk);
  if (device.session == NULL) return false;
  send_request(REGISTER, COAP_REQUEST_CODE_POST, "rd", NULL, 0);
  if (device.now.seq != 0) report(device.now.status, device.now.code); /* which the former session did not see off */
  while (!device.lost && (count == 0 || device.outcomes < count)) {
    if (coap_io_process(context, 200) < 0) break;
    if (device.location[0] == 0) continue;
    work();
    if (ticks() - device.refreshed > LIFETIME / 2 * COAP_TICKS_PER_SECOND) {
      device.refreshed = ticks();
      send_request(REFRESH, COAP_REQUEST_CODE_POST, device.location, NULL, 0);
      observe();
    }
  }
  coap_session_release(device.session);
  return device.location[0] != 0;
}

int main(int argc, char **argv) {
  coap_address_t to;
  if (argc < 6 || argc > 7) {
    fprintf(stderr, "usage: %s HOST PORT NAME KEY FILE [COUNT]\n", argv[0]);
    return 2;
  }
  unsigned count = argc == 7 ? (unsigned)strtoul(argv[6], NULL, 10) : 0;
  device.name = argv[3];
  device.file = argv[5];
  coap_bin_const_t key = unhex(argv[4]);
  if (key.length == 0) {
    fprintf(stderr, "KEY: 1 to %d bytes in hexadecimal\n", KEY_MAX);
    return 2;
  }
  load();
  coap_startup();
  coap_context_t *context = coap_new_context(NULL);
  if (context == NULL || !resolve(argv[1], argv[2], &to)) return 1;
  coap_context_set_block_mode(context, COAP_BLOCK_USE_LIBCOAP | COAP_BLOCK_SINGLE_BODY);
  coap_register_response_handler(context, answered);
  coap_register_nack_handler(context, unanswered);
  coap_register_event_handler(context, happened);
  for (unsigned failed = 0; failed < TRIES_MAX && (count == 0 || device.outcomes < count);) {
    if (serve(context, &to, key, count)) failed = 0;
    else failed++;
    if (device.lost && failed < TRIES_MAX) sleep(1U << failed);
  }
  coap_free_context(context);
  coap_cleanup();
  if (count == 0 || device.outcomes < count) {
    fprintf(stderr, "gave up\n");
    return 1;
  }
  return 0;
}
