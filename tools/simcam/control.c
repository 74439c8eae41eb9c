#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = {'S', 'I', 'M', 'C', 'T', 'R', 'L', '1'};

static struct control *map(int file, int flags) {
    void *memory = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, flags, file, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

struct control *control_open(const char *path) {
    if (!path) return map(-1, MAP_PRIVATE | MAP_ANONYMOUS);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return NULL;
    struct stat status;
    struct control *control = NULL;
    /* Only ever grown: another process may have it mapped. */
    if (fstat(file, &status) == 0 &&
        (status.st_size >= (off_t)sizeof(struct control) || ftruncate(file, sizeof(struct control)) == 0))
        control = map(file, MAP_SHARED);
    int error = errno;
    close(file);
    errno = error;
    if (!control) return NULL;
    if (status.st_size >= (off_t)sizeof MAGIC && memcmp(control->magic, MAGIC, sizeof MAGIC) != 0) {
        static const char ZERO[sizeof MAGIC];
        if (memcmp(control->magic, ZERO, sizeof MAGIC) != 0) {
            munmap(control, sizeof *control);
            errno = EINVAL; /* some other file: leave it alone */
            return NULL;
        }
    }
    memcpy(control->magic, MAGIC, sizeof MAGIC);
    return control;
}

void control_close(struct control *control) {
    if (control) munmap(control, sizeof *control);
}

int control_take(_Atomic uint32_t *count) {
    uint32_t left = atomic_load(count);
    while (left && !atomic_compare_exchange_weak(count, &left, left - 1)) continue;
    return left != 0;
}
