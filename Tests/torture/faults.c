/* Stands between a program and the system (LD_PRELOAD): counts the calls that change a directory tree, and at one of them kills the
   process or has calls fail as a full, a broken or a read-only disk would.

     FAULTS_ROOT  the tree; other files are left alone
     FAULTS_LOG   a file outside of it: one line a call, number, name and path
     FAULTS_AT    the call at which it happens, from 1
     FAULTS_PLAIN set: no file without a name, no second link, no renaming that replaces nothing, as on FAT
     FAULTS_DO    kill    ends the process before the call; a write has written half
                  ENOSPC, EDQUOT  a write writes half, then nothing more can be written or made
                  EIO     this call and all later writes, truncations and fsyncs fail; "EIO1" this one alone
                  EROFS   from here on nothing can be changed at all

   Only the first process of a group is counted: those it starts inherit the variables, not the role. Calls that libc makes to itself
   are not seen. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[4096];
static size_t root_length;
static int log_descriptor = -1;
static long at;
static enum { nothing, kills, full, broken, broken_once, read_only } kind;
static int error_number;
static atomic_long count;
static int is_active, is_plain;

static int open_directly(const char *path, int flags, int mode) { return syscall(SYS_openat, AT_FDCWD, path, flags, mode); }

__attribute__((constructor)) static void begin(void) {
  const char *place = getenv("FAULTS_ROOT"), *log = getenv("FAULTS_LOG"), *number = getenv("FAULTS_AT"), *what = getenv("FAULTS_DO");
  if (!place || getenv("FAULTS_OWNER")) return;
  setenv("FAULTS_OWNER", "1", 1);
  if (!realpath(place, root)) return;
  root_length = strlen(root);
  if (log) log_descriptor = open_directly(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  at = number ? atol(number) : 0;
  is_plain = getenv("FAULTS_PLAIN") != NULL;
  if (!what) kind = nothing;
  else if (!strcmp(what, "kill")) kind = kills;
  else if (!strcmp(what, "ENOSPC")) kind = full, error_number = ENOSPC;
  else if (!strcmp(what, "EDQUOT")) kind = full, error_number = EDQUOT;
  else if (!strcmp(what, "EIO")) kind = broken, error_number = EIO;
  else if (!strcmp(what, "EIO1")) kind = broken_once, error_number = EIO;
  else if (!strcmp(what, "EROFS")) kind = read_only, error_number = EROFS;
  else abort();
  is_active = 1;
}

/* Of a name that need not be there: that of the directory that it is in. */
static int is_inside(int directory, const char *path, char found[8192]) {
  char link[64];
  if (path[0] == '/') {
    snprintf(found, 8192, "%s", path);
  } else {
    if (directory == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
    ssize_t length = syscall(SYS_readlink, link, found, 4095);
    if (length < 0) return 0;
    snprintf(found + length, 8192 - length, "/%s", path);
  }
  return !strncmp(found, root, root_length) && (found[root_length] == '/' || !found[root_length]);
}

static int is_inside_open(int descriptor, char found[8192]) {
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  ssize_t length = syscall(SYS_readlink, link, found, 4095);
  if (length < 0) return 0;
  found[length] = 0;
  return !strncmp(found, root, root_length) && (found[root_length] == '/' || !found[root_length]);
}

enum call { makes, writes, cuts, synchronizes, names, removes };

enum outcome { goes_on, fails, fails_after_half, dies };

/* What becomes of a call in the tree. */
static enum outcome decide(enum call call, const char *name, const char *path) {
  long number = atomic_fetch_add(&count, 1) + 1;
  if (log_descriptor >= 0) {
    char line[8400];
    int length = snprintf(line, sizeof line, "%ld %s %s\n", number, name, path + (strncmp(path, root, root_length) ? 0 : root_length));
    syscall(SYS_write, log_descriptor, line, (size_t)length);
  }
  if (!at || number < at) return goes_on;
  switch (kind) {
  case nothing: return goes_on;
  case kills: return dies;
  case full:
    if (call == writes) return number == at ? fails_after_half : fails;
    return call == makes ? fails : goes_on;
  case broken: return call == writes || call == cuts || call == synchronizes ? fails : goes_on;
  case broken_once: return number == at && (call == writes || call == cuts || call == synchronizes) ? fails : goes_on;
  case read_only: return call == synchronizes ? goes_on : fails;
  }
  return goes_on;
}

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

/* The call's outcome where it is one in the tree; the body follows where it goes on. */
#define GUARD(call, inside, path)                                                                                                     \
  if (is_active && (inside)) {                                                                                                        \
    enum outcome outcome = decide(call, __func__, path);                                                                              \
    if (outcome == dies) die();                                                                                                       \
    if (outcome == fails) {                                                                                                           \
      errno = error_number;                                                                                                           \
      return -1;                                                                                                                      \
    }                                                                                                                                 \
  }

/* A write of which half may be done. */
#define GUARD_WRITE(descriptor, bytes, half)                                                                                          \
  char found[8192];                                                                                                                   \
  if (is_active && is_inside_open(descriptor, found)) {                                                                               \
    enum outcome outcome = decide(writes, __func__, found);                                                                           \
    if (outcome == dies) {                                                                                                            \
      if ((bytes) > 1) (void)(half);                                                                                                  \
      die();                                                                                                                          \
    }                                                                                                                                 \
    if (outcome == fails_after_half && (bytes) > 1) return half;                                                                      \
    if (outcome != goes_on) {                                                                                                         \
      errno = error_number;                                                                                                           \
      return -1;                                                                                                                      \
    }                                                                                                                                 \
  }

ssize_t write(int descriptor, const void *bytes, size_t size) {
  GUARD_WRITE(descriptor, size, syscall(SYS_write, descriptor, bytes, size / 2))
  return syscall(SYS_write, descriptor, bytes, size);
}

ssize_t pwrite(int descriptor, const void *bytes, size_t size, off_t offset) {
  GUARD_WRITE(descriptor, size, syscall(SYS_pwrite64, descriptor, bytes, size / 2, offset))
  return syscall(SYS_pwrite64, descriptor, bytes, size, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t size, off64_t offset) {
  GUARD_WRITE(descriptor, size, syscall(SYS_pwrite64, descriptor, bytes, size / 2, offset))
  return syscall(SYS_pwrite64, descriptor, bytes, size, offset);
}

ssize_t writev(int descriptor, const struct iovec *pieces, int pieces_count) {
  size_t size = 0;
  for (int index = 0; index < pieces_count; index++) size += pieces[index].iov_len;
  GUARD_WRITE(descriptor, size, syscall(SYS_write, descriptor, pieces[0].iov_base, pieces[0].iov_len / 2))
  return syscall(SYS_writev, descriptor, pieces, pieces_count);
}

static int changes(int flags) { return flags & (O_CREAT | O_TRUNC) || (flags & O_TMPFILE) == O_TMPFILE; }

#define OPEN(directory, path, flags)                                                                                                  \
  int mode = 0;                                                                                                                       \
  if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {                                                                          \
    va_list rest;                                                                                                                     \
    va_start(rest, flags);                                                                                                            \
    mode = va_arg(rest, int);                                                                                                         \
    va_end(rest);                                                                                                                     \
  }                                                                                                                                   \
  char found[8192];                                                                                                                   \
  if (is_plain && (flags & O_TMPFILE) == O_TMPFILE && is_inside(directory, path, found)) {                                            \
    errno = EOPNOTSUPP;                                                                                                               \
    return -1;                                                                                                                        \
  }                                                                                                                                   \
  int is_new = changes(flags) && ((flags & O_TMPFILE) == O_TMPFILE || flags & O_TRUNC || syscall(SYS_faccessat, directory, path, F_OK)); \
  GUARD(makes, is_new && is_inside(directory, path, found), found)                                                                    \
  if (is_active && kind == read_only && at && atomic_load(&count) >= at && (flags & O_ACCMODE) != O_RDONLY                            \
      && is_inside(directory, path, found)) {                                                                                         \
    errno = EROFS;                                                                                                                    \
    return -1;                                                                                                                        \
  }                                                                                                                                   \
  return syscall(SYS_openat, directory, path, flags, mode);

int open(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags) }
int open64(const char *path, int flags, ...) { OPEN(AT_FDCWD, path, flags) }
int openat(int directory, const char *path, int flags, ...) { OPEN(directory, path, flags) }
int openat64(int directory, const char *path, int flags, ...) { OPEN(directory, path, flags) }

int mkstemp(char *template) {
  char found[8192];
  GUARD(makes, is_inside(AT_FDCWD, template, found), found)
  return REAL(mkstemp)(template);
}

int ftruncate(int descriptor, off_t length) {
  char found[8192];
  GUARD(cuts, is_inside_open(descriptor, found), found)
  return syscall(SYS_ftruncate, descriptor, length);
}

int ftruncate64(int descriptor, off64_t length) {
  char found[8192];
  GUARD(cuts, is_inside_open(descriptor, found), found)
  return syscall(SYS_ftruncate, descriptor, length);
}

int fsync(int descriptor) {
  char found[8192];
  GUARD(synchronizes, is_inside_open(descriptor, found), found)
  return syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
  char found[8192];
  GUARD(synchronizes, is_inside_open(descriptor, found), found)
  return syscall(SYS_fdatasync, descriptor);
}

int rename(const char *old, const char *new) {
  char found[8192];
  GUARD(names, is_inside(AT_FDCWD, new, found), found)
  return syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 0);
}

int renameat2(int old_directory, const char *old, int new_directory, const char *new, unsigned int flags) {
  char found[8192];
  if (is_plain && flags && is_inside(new_directory, new, found)) {
    errno = EINVAL;
    return -1;
  }
  GUARD(names, is_inside(new_directory, new, found), found)
  return syscall(SYS_renameat2, old_directory, old, new_directory, new, flags);
}

int link(const char *old, const char *new) {
  char found[8192];
  if (is_plain && is_inside(AT_FDCWD, new, found)) {
    errno = EPERM;
    return -1;
  }
  GUARD(makes, is_inside(AT_FDCWD, new, found), found)
  return syscall(SYS_linkat, AT_FDCWD, old, AT_FDCWD, new, 0);
}

int linkat(int old_directory, const char *old, int new_directory, const char *new, int flags) {
  char found[8192];
  if (is_plain && is_inside(new_directory, new, found)) {
    errno = EPERM;
    return -1;
  }
  GUARD(makes, is_inside(new_directory, new, found), found)
  return syscall(SYS_linkat, old_directory, old, new_directory, new, flags);
}

int unlink(const char *path) {
  char found[8192];
  GUARD(removes, is_inside(AT_FDCWD, path, found) && !syscall(SYS_faccessat, AT_FDCWD, path, F_OK), found)
  return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int directory, const char *path, int flags) {
  char found[8192];
  GUARD(removes, is_inside(directory, path, found), found)
  return syscall(SYS_unlinkat, directory, path, flags);
}

int rmdir(const char *path) {
  char found[8192];
  GUARD(removes, is_inside(AT_FDCWD, path, found), found)
  return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdir(const char *path, mode_t mode) {
  char found[8192];
  GUARD(makes, is_inside(AT_FDCWD, path, found) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK), found)
  return syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
