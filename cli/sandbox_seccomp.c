/*
 * sandbox_seccomp.c: which system calls there are for the worker.
 *
 * What is not on the list kills the process: a program that asks for what dsec never asks for is
 * not dsec any more, and its keeper starts a sound one. So the list has to hold all that the
 * libraries may call, in versions to come too: where the C library tries a new call first and falls
 * back to an older one, the new one is answered ENOSYS instead.
 */
#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "cli/sandbox_layers.h"
#include "lease/asan.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* clone(2) may make threads and children, but no namespaces. */
#define CLONE_NAMESPACES                                                                           \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |             \
	 CLONE_NEWPID | CLONE_NEWNET)

static const char *const allowed[] = {
	/* memory */
	"brk",
	"mmap",
	"munmap",
	"mremap",
	"mprotect",
	"madvise",
	"mlock",
	"mlock2",
	"munlock",
	"membarrier",
	"memfd_secret",
	/* threads and the process itself */
	"futex",
	"futex_waitv",
	"set_robust_list",
	"get_robust_list",
	"rseq",
	"set_tid_address",
	"sched_yield",
	"sched_getaffinity",
	"sched_getparam",
	"sched_getscheduler",
	"gettid",
	"getpid",
	"getppid",
	"getpgrp",
	"getpgid",
	"getsid",
	"getuid",
	"geteuid",
	"getgid",
	"getegid",
	"getresuid",
	"getresgid",
	"getgroups",
	"getpriority",
	"getrlimit",
	"getrusage",
	"times",
	"exit",
	"exit_group",
	"restart_syscall",
	"umask",
	"wait4",
	"waitid",
	/* signals; to itself alone, below */
	"rt_sigaction",
	"rt_sigprocmask",
	"rt_sigreturn",
	"rt_sigpending",
	"rt_sigtimedwait",
	"sigaltstack",
	"pause",
	/* descriptors */
	"read",
	"readv",
	"pread64",
	"preadv",
	"preadv2",
	"write",
	"writev",
	"pwrite64",
	"pwritev",
	"pwritev2",
	"close",
	"close_range",
	"lseek",
	"dup",
	"dup2",
	"dup3",
	"pipe",
	"pipe2",
	"fcntl",
	"flock",
	"fsync",
	"fdatasync",
	"ftruncate",
	"fallocate",
	"fadvise64",
	"sync_file_range",
	"sendfile",
	"poll",
	"ppoll",
	"select",
	"pselect6",
	"epoll_create",
	"epoll_create1",
	"epoll_ctl",
	"epoll_wait",
	"epoll_pwait",
	"epoll_pwait2",
	"eventfd2",
	"signalfd4",
	"timerfd_create",
	"timerfd_settime",
	"timerfd_gettime",
	"inotify_init1",
	"inotify_add_watch",
	"inotify_rm_watch",
	"pidfd_open",
	/* files; which, is Landlock's and the file system's affair */
	"open",
	"openat",
	"openat2",
	"creat",
	"stat",
	"lstat",
	"fstat",
	"newfstatat",
	"statx",
	"statfs",
	"fstatfs",
	"access",
	"faccessat",
	"faccessat2",
	"readlink",
	"readlinkat",
	"getdents64",
	"getcwd",
	"unlink",
	"unlinkat",
	"rename",
	"renameat",
	"renameat2",
	"mkdir",
	"mkdirat",
	"fchmod",
	"fgetxattr",
	"getxattr",
	"utimensat",
	"name_to_handle_at",
	/* the network */
	"connect",
	"bind",
	"listen",
	"accept",
	"accept4",
	"getsockname",
	"getpeername",
	"getsockopt",
	"setsockopt",
	"sendto",
	"sendmsg",
	"sendmmsg",
	"recvfrom",
	"recvmsg",
	"recvmmsg",
	"shutdown",
	/* time and what the machine is like */
	"clock_gettime",
	"clock_getres",
	"clock_nanosleep",
	"nanosleep",
	"gettimeofday",
	"time",
	"getrandom",
	"uname",
	"sysinfo",
	"getcpu",
};

/* Tried first by newer C libraries, which then do without. */
static const char *const absent[] = {"clone3",     "mseal",      "cachestat",
				     "futex_wake", "futex_wait", "map_shadow_stack"};

#ifdef HAVE_ASAN
/* At the end a thread of the leak checker traces all others. */
static const char *const of_sanitizers[] = {"ptrace",
					    "kill",
					    "tkill",
					    "prctl",
					    "process_vm_readv",
					    "personality",
					    "sched_setaffinity",
					    "setrlimit",
					    "prlimit64",
					    "arch_prctl",
					    "mincore",
					    "getdents"};
#endif

/* One rule; a call that this machine or library does not know needs none. */
static int rule(scmp_filter_ctx filter, uint32_t action, const char *name, unsigned n,
		const struct scmp_arg_cmp *arguments)
{
	int number = seccomp_syscall_resolve_name(name);

	return number < 0 ? 0 : seccomp_rule_add_array(filter, action, number, n, arguments);
}

static int rules(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = rule(filter, action, names[i], 0, NULL);
	return r;
}

/* Local sockets, the internet, and the list of addresses that getaddrinfo(3) asks the kernel for;
 * no packets, no Bluetooth, no tunnels. Another family is refused, not deadly: libraries try. */
static int socket_rules(scmp_filter_ctx filter)
{
	static const int families[] = {AF_UNIX, AF_INET, AF_INET6};
	int r = 0;

	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]) && r == 0; i++) {
		const struct scmp_arg_cmp family = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]);
		r = rule(filter, SCMP_ACT_ALLOW, "socket", 1, &family);
	}
	if (r == 0) {
		const struct scmp_arg_cmp route[] = {
			SCMP_A0(SCMP_CMP_EQ, AF_NETLINK),
			SCMP_A2(SCMP_CMP_EQ, 0), /* NETLINK_ROUTE */
		};
		r = rule(filter, SCMP_ACT_ALLOW, "socket", 2, route);
	}
	if (r == 0) {
		const struct scmp_arg_cmp local = SCMP_A0(SCMP_CMP_EQ, AF_UNIX);
		r = rule(filter, SCMP_ACT_ALLOW, "socketpair", 1, &local);
	}
	return r;
}

#ifndef HAVE_ASAN
/* Names for threads and memory, and looks at itself, as libcap has when a module of the user
 * database brings it. */
static int prctl_rules(scmp_filter_ctx filter)
{
	static const scmp_datum_t known[] = {
		PR_SET_NAME,     PR_GET_NAME,    PR_SET_VMA,          PR_GET_DUMPABLE,
		PR_CAPBSET_READ, PR_GET_SECCOMP, PR_GET_NO_NEW_PRIVS, PR_GET_SECUREBITS,
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]) && r == 0; i++) {
		const struct scmp_arg_cmp option = SCMP_A0(SCMP_CMP_EQ, known[i]);
		r = rule(filter, SCMP_ACT_ALLOW, "prctl", 1, &option);
	}
	if (r == 0) {
		const struct scmp_arg_cmp look = SCMP_A2(SCMP_CMP_EQ, 0); /* it sets nothing */
		r = rule(filter, SCMP_ACT_ALLOW, "prlimit64", 1, &look);
	}
	return r;
}
#else
static int prctl_rules(scmp_filter_ctx filter)
{
	return 0; /* of_sanitizers has them */
}
#endif

static int process_rules(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp no_namespace = SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NAMESPACES, 0),
				  own = SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
	int r = rule(filter, SCMP_ACT_ALLOW, "clone", 1, &no_namespace);

	if (r == 0)
		r = rule(filter, SCMP_ACT_ALLOW, "tgkill", 1, &own);
	return r == 0 ? prctl_rules(filter) : r;
}

/* What the resolver and stdio ask; any other is answered as by a file that is no terminal. */
static int ioctl_rules(scmp_filter_ctx filter)
{
	static const scmp_datum_t known[] = {FIONREAD, FIONBIO, FIOCLEX};
	int r = 0;

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]) && r == 0; i++) {
		const struct scmp_arg_cmp request = SCMP_A1(SCMP_CMP_EQ, known[i]);
		r = rule(filter, SCMP_ACT_ALLOW, "ioctl", 1, &request);
	}
	return r;
}

/* Refused, not deadly. libseccomp cannot say "all but": a rule for each is what it takes. */
static int refused_rules(scmp_filter_ctx filter)
{
	const struct scmp_arg_cmp terminal = SCMP_A1(SCMP_CMP_EQ, TCGETS),
				  packet = SCMP_A0(SCMP_CMP_EQ, AF_PACKET),
				  vsock = SCMP_A0(SCMP_CMP_EQ, AF_VSOCK);
	int r = rule(filter, SCMP_ACT_ERRNO(ENOTTY), "ioctl", 1, &terminal);

	/* Who has a child that hangs leaves it to itself. */
#ifndef HAVE_ASAN
	const struct scmp_arg_cmp end = SCMP_A1(SCMP_CMP_EQ, SIGKILL);
	if (r == 0)
		r = rule(filter, SCMP_ACT_ERRNO(EPERM), "kill", 1, &end);
#endif
	if (r == 0)
		r = rule(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &packet);
	if (r == 0)
		r = rule(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), "socket", 1, &vsock);
	return r;
}

static int fill(scmp_filter_ctx filter)
{
	int r = rules(filter, SCMP_ACT_ALLOW, allowed, sizeof(allowed) / sizeof(allowed[0]));

	if (r == 0)
		r = rules(filter, SCMP_ACT_ERRNO(ENOSYS), absent,
			  sizeof(absent) / sizeof(absent[0]));
#ifdef HAVE_ASAN
	if (r == 0)
		r = rules(filter, SCMP_ACT_ALLOW, of_sanitizers,
			  sizeof(of_sanitizers) / sizeof(of_sanitizers[0]));
#endif
	if (r == 0)
		r = socket_rules(filter);
	if (r == 0)
		r = process_rules(filter);
	if (r == 0)
		r = ioctl_rules(filter);
	return r == 0 ? refused_rules(filter) : r;
}

static bool kernel_has_it(void)
{
	uint32_t action = SECCOMP_RET_KILL_PROCESS;

	return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

int sandbox_seccomp(bool *ret_on, struct dsec_error *err)
{
	*ret_on = false;
	if (!kernel_has_it())
		return 0;

	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int r = filter ? 0 : -ENOMEM;
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	/* A tree instead of a list: each request on /dev/fuse is two calls. */
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = fill(filter);
	if (r == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	if (r < 0)
		return dsec_error_set(err, DSEC_ERROR_FAULT, "seccomp: %s", strerror(-r));
	*ret_on = true;
	return 0;
}
