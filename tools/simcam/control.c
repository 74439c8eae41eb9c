#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char MAGIC[8] = {'S', 'I', 'M', 'C', 'T', 'R', 'L', '1'};

static struct control *map(int file, int flags) {
    void *memory = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, flags, file, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

/* Fits, or is new: then it becomes long enough. A file that is something else is left alone. */
static bool prepare(int file) {
    static const char ZERO[sizeof MAGIC];
    struct stat status;
    char magic[sizeof MAGIC] = {0};
    if (fstat(file, &status) != 0 || pread(file, magic, sizeof magic, 0) < 0) return false;
    if (memcmp(magic, MAGIC, sizeof magic) != 0 && memcmp(magic, ZERO, sizeof magic) != 0) {
        errno = EINVAL;
        return false;
    }
    /* Only ever grown: another process may have it mapped. */
    return status.st_size >= (off_t)sizeof(struct control) || ftruncate(file, sizeof(struct control)) == 0;
}

struct control *control_open(const char *path) {
    if (!path) return map(-1, MAP_PRIVATE | MAP_ANONYMOUS);
    int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return NULL;
    struct control *control = prepare(file) ? map(file, MAP_SHARED) : NULL;
    int error = errno;
    close(file);
    errno = error;
    if (control) memcpy(control->magic, MAGIC, sizeof MAGIC);
    return control;
}

void control_close(struct control *control) {
    if (control) munmap(control, sizeof *control);
}

bool control_take(_Atomic uint32_t *count) {
    uint32_t left = atomic_load(count);
    while (left && !atomic_compare_exchange_weak(count, &left, left - 1)) continue;
    return left != 0;
}
