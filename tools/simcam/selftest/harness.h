/* What the self-test's parts share: one camera of the library, and what to do with it. */
#ifndef SELFTEST_HARNESS_H
#define SELFTEST_HARNESS_H

#include "../simcam.h"

enum { WIDTH = 64, HEIGHT = 32, IMAGES = 3, BUFFERS = 4, WAIT_MS = 20000 };

extern char folder[]; /* for this run's files */
extern int checks;

/* Says where and why, and ends the test, when `truth` is not true. */
void check_failed(const char *file, int line, const char *truth) __attribute__((noreturn));
#define CHECK(truth) (checks++, (truth) ? (void)0 : check_failed(__FILE__, __LINE__, #truth))
#define GOOD(call) CHECK((call) == GC_ERR_SUCCESS)
#define BAD(code, call) CHECK((call) == (code))

extern TL_HANDLE tl;
extern IF_HANDLE interface;
extern DEV_HANDLE dev;
extern PORT_HANDLE port;
extern DS_HANDLE ds;
extern EVENT_HANDLE event;
extern uint8_t *memory[BUFFERS];
extern BUFFER_HANDLE buffers[BUFFERS];
extern int nothing; /* its address is a handle of nothing */

const char *file_in_folder(const char *name); /* good until the next call */
void write_file(const char *name, const void *bytes, size_t size);

/* Three images in a file, named by the environment; this is what their stack of rows holds. */
void use_stack(void);
uint8_t pixel(uint64_t row, size_t x);

/* Library, system and interface; then SIM0001 with its stream and event, at a high line rate. GCCloseLib ends
 * all. */
void open_library(void);
void open_stream(void);

GC_ERROR try_set(enum reg reg, union value value);
void set(enum reg reg, int64_t value);
void set_real(enum reg reg, double value);
int64_t get(enum reg reg);

/* Announce and queue all buffers and start; stop, and revoke them. */
void begin(void);
void end(void);
size_t payload(void);

BUFFER_HANDLE next(void); /* waits for a filled buffer */
bool nothing_comes(void);
uint64_t info(BUFFER_HANDLE buffer, int32_t cmd);
const uint8_t *base(BUFFER_HANDLE buffer);

void test_before_the_library_is_open(void);
void test_information(void);
void test_wrong_handles_and_arguments(void);
void test_one_consumer(void);
void test_ports(void);
void test_frames(void);
void test_formats(void);
void test_buffers_and_queues(void);
void test_events(void);
void test_waits_end(void);
void test_triggers_and_counts(void);
void test_spoilt_frames(void);
void test_unplugged(void);
void test_feed(void);
void test_folder(void);

#endif
